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

NO_CLAIM = "Nothing may be claimed about nat-mid:"


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


def _given(path: str, *dropped: str, **more: Any) -> str:
    """The labels of a file, one of each response, given by somebody else."""
    lines = Path(path).read_text("utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["annotator"] == "Ann"]
    dropped = (*dropped, "annotator")
    own = [{k: v for k, v in row.items() if k not in dropped} | more for row in rows]
    if "score" in dropped:
        own = [{**row, "predicted": old["score"]} for row, old in zip(own, rows, strict=True)]
    changed = Path(path).with_name("given.jsonl")
    changed.write_text(to_jsonl(own), "utf-8")
    return str(changed)


@pytest.mark.parametrize(
    ("dropped", "more", "by", "condition", "claim"),
    [
        (
            ["score"], {}, "machine",
            "labels were given by scorers, not by people: predicted",
            f"{NO_CLAIM} not all of the labels are by people.",
        ),
        (
            [], {"scorer": "lexical@2"}, "machine",
            "labels were given by scorers, not by people: lexical@2",
            f"{NO_CLAIM} not all of the labels are by people.",
        ),
        (
            [], {"scorer": NATURAL.id}, "machine",
            f"labels were given by scorers, not by people: {NATURAL.id}",
            f"{NO_CLAIM} not all of the labels are by people.",
        ),
        (
            [], {}, "unknown",
            "the file does not say who gave the labels: name the annotator of each",
            f"{NO_CLAIM} the file does not say that people gave the labels.",
        ),
        (
            [], {"scorer": "somebody@1"}, "unknown",
            "the file does not say who gave the labels: name the annotator of each",
            f"{NO_CLAIM} the file does not say that people gave the labels.",
        ),
    ],
)  # fmt: skip
def test_nothing_is_claimed_from_labels_that_are_not_peoples(
    flames: Flames,
    tmp_path: Path,
    dropped: list[str],
    more: dict[str, Any],
    by: str,
    condition: str,
    claim: str,
) -> None:
    verdicts, people = _files(tmp_path, 128)
    words = ("certify", verdicts, "--labels", _given(people, *dropped, **more))
    words += ("--labels-are-random",)
    code, out, err = flames(*words, "--json")
    assert code == 0, err
    [one] = json.loads(out)["certified"]
    assert one["labels_by"] == by
    assert [c["met"] for c in one["checks"] if c["code"] == "people"] == [False]
    text = " ".join(flames(*words, "--lang", "en")[1].split())
    assert "Not certified: nat-mid" in text
    assert f"not met: {condition}" in text
    assert claim in text
    html = flames(*words, "--format", "html")[1]
    assert claim in html
    for false in ("May be claimed", "people's labels", "Humans only", "annotators:"):
        assert false not in text
        assert false not in html
    zh = flames(*words, "--lang", "zh", "--format", "md")[1]
    assert "未核定：nat-mid" in zh
    assert "不能就 nat-mid 声称任何结果" in zh.replace("\\", "")
    for false in ("可以声称", "人工标签核定", "仅人工", "标注员"):
        assert false not in zh


@pytest.mark.parametrize(
    "more", [{"scorer": "human:Ann"}, {"votes": {"Ann": 3, "Bob": 1}}, {"annotator": "Ann"}]
)
def test_labels_that_name_people_are_peoples(
    flames: Flames, tmp_path: Path, more: dict[str, Any]
) -> None:
    verdicts, people = _files(tmp_path, 60)
    words = ("certify", verdicts, "--labels", _given(people, **more), "--labels-are-random")
    text = " ".join(flames(*words, "--lang", "en")[1].split())
    assert "Certified with people's labels: nat-mid" in text
    raters = "Ann, Bob" if "votes" in more else next(iter(more.values()))
    assert f"met: the labels are by people, as the file says: {raters}" in text


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
