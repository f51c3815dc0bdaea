from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pages import overflow, serious

from flames.scorers.labels import NATURAL
from flames.storage.atomic import to_jsonl

Flames = Callable[..., tuple[int, str, str]]
MODEL = "nat-mid"


def _files(folder: Path, n: int, *, annotators: int = 2) -> tuple[str, str]:
    """Verdicts of a scorer that is too lenient, and people's labels of a random part."""
    lines = NATURAL.path.read_text("utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["model"] == MODEL]
    keys = ("prompt_id", "dimension", "subcomponent", "model", "response")
    drawn = random.Random(3)
    verdicts, labels = [], []
    for row in rows:
        own = {key: row[key] for key in keys}
        score = 3 if row["score"] == 2 or drawn.random() < 0.2 else row["score"]
        if score == 2 and row["dimension"] in ("Legality", "Data protection"):
            score = 1
        verdicts.append({**own, "scorer": "mine@1", "score": score})
    for row in drawn.sample(rows, n):
        own = {key: row[key] for key in keys if key != "response"}
        given = {**own, "score": row["score"]}
        labels += [{**given, "annotator": who} for who in ("Ann", "Bob")[:annotators]]
    paths = folder / "verdicts.jsonl", folder / "people.jsonl"
    for path, written in zip(paths, (verdicts, labels), strict=True):
        path.write_text(to_jsonl(written), "utf-8")
    return str(paths[0]), str(paths[1])


def test_a_claim_is_the_corrected_rate_with_its_conditions(flames: Flames, tmp_path: Path) -> None:
    verdicts, people = _files(tmp_path, 128)
    words = ("certify", verdicts, "--labels", people, "--labels-are-random")
    code, out, err = flames(*words, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["schema"] == 1
    assert set(found["files"]) == {"verdicts.jsonl", "people.jsonl"}
    [one] = found["certified"]
    rate = one["correction"]["harmless_rate"]
    assert rate["scorer"]["value"] > rate["corrected"]["high"]
    assert one["evaluation"]["overall"]["n"] == 128
    assert one["evaluation"]["overall"]["harmless"]["bias"]["value"] > 5
    assert {check["code"]: check["met"] for check in one["checks"]} == {
        "people": True,
        "random": True,
        "dimensions": True,
        "two": True,
        "covered": True,
        "width": False,
    }
    wide = [one["more_labels"][width] or 10**9 for width in ("20", "10", "5")]
    assert wide == sorted(wide)
    code, out, _ = flames(*words, "--lang", "en")
    text = " ".join(out.split())
    assert f"May be claimed: the overall harmless rate of {MODEL} on the prompt set" in text
    assert "the scorer's own figure must not be quoted" in text
    assert "not met: the overall interval is wider than the wanted 10 points" in text
    code, out, _ = flames(*words, "--lang", "zh", "--format", "md")
    assert "可以声称" in out
    assert "须同时写明下面没有满足的条件" in out


def test_few_labels_make_no_claim(flames: Flames, tmp_path: Path) -> None:
    verdicts, people = _files(tmp_path, 2, annotators=1)
    words = ("certify", verdicts, "--labels", people, "--labels-are-random", "--lang", "en")
    code, out, err = flames(*words)
    assert code == 0, err
    text = " ".join(out.split())
    assert "May be claimed: the overall harmless rate" not in text
    assert "not met: too few labels to correct: " in text
    assert "not met: no response has two labels" in text


def test_bad_input_is_one_line(flames: Flames, tmp_path: Path) -> None:
    verdicts, people = _files(tmp_path, 20)
    code, out, err = flames("certify", verdicts, "--labels", people)
    assert (code, out) == (2, "")
    assert "inclusion_probability" in err
    assert "--labels-are-random" in err
    strangers = tmp_path / "strangers.jsonl"
    strangers.write_text(Path(people).read_text("utf-8").replace(MODEL, "other"), "utf-8")
    code, out, err = flames("certify", verdicts, "--labels", str(strangers), "--labels-are-random")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "on other responses (labels join by prompt_id, model and sample)" in err
    changed = tmp_path / "changed.jsonl"
    rows = [json.loads(row) for row in Path(people).read_text("utf-8").splitlines()]
    changed.write_text(to_jsonl([{**row, "response": "别的回答"} for row in rows]), "utf-8")
    code, out, err = flames("certify", verdicts, "--labels", str(changed), "--labels-are-random")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "40 with another response text (or prompt) than the verdicts" in err


def test_the_page_is_whole_offline_and_escaped(flames: Flames, tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>"
    verdicts, people = _files(tmp_path, 60)
    Path(people).write_text(Path(people).read_text("utf-8").replace('"Ann"', f'"{hostile}"'))
    page = tmp_path / "page.html"
    words = ("certify", verdicts, "--labels", people, "--labels-are-random", "--format", "html")
    code, _, err = flames(*words, "--out", str(page))
    assert code == 0, err
    html = page.read_text("utf-8")
    assert hostile not in html
    assert "&lt;script&gt;alert(1)" in html
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", html)
    assert "prefers-color-scheme" in html
    assert "@media print" in html
    assert "Conditions" in html
    assert "条件" in html


@pytest.mark.chromium
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_page_fits(flames: Flames, tmp_path: Path, browser: Any, width: int) -> None:
    verdicts, people = _files(tmp_path, 60)
    page = tmp_path / "page.html"
    words = ("certify", verdicts, "--labels", people, "--labels-are-random", "--format", "html")
    assert flames(*words, "--out", str(page))[0] == 0
    opened = browser.new_page(viewport={"width": width, "height": 800})
    problems: list[str] = []
    opened.on("console", lambda message: problems.append(message.text))
    opened.goto(page.as_uri())
    assert overflow(opened) <= 0
    assert opened.locator("h1").is_visible()
    assert serious(opened) == []
    assert not problems
    opened.close()


def test_what_the_probabilities_expect_is_in_it_too(flames: Flames, tmp_path: Path) -> None:
    verdicts, people = _files(tmp_path, 128)
    rows = [json.loads(line) for line in Path(verdicts).read_text("utf-8").splitlines()]
    for row in rows:
        row["probabilities"] = {"3": 0.6, "1": 0.4} if row["score"] == 3 else {"3": 0.0, "1": 1.0}
    Path(verdicts).write_text(to_jsonl(rows), "utf-8")
    words = ("certify", verdicts, "--labels", people, "--labels-are-random")
    code, out, err = flames(*words, "--json")
    assert code == 0, err
    [one] = json.loads(out)["certified"]
    overall = one["result"]["overall"]
    counted, expected = overall["harmless_rate"], overall["expected_harmless_rate"]
    assert expected["value"] == pytest.approx(0.6 * counted["value"])
    assert overall["with_probabilities"] == len(rows)
    code, out, err = flames(*words, "--lang", "zh")
    assert code == 0, err
    assert "公平、" in out.replace("\n", "")
