from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flames.analysis import cards
from flames.errors import MissingExtraError
from flames.storage.atomic import to_jsonl
from flames.storage.home import home

Flames = Callable[..., tuple[int, str, str]]


def _labels(path: Path, scores: str, scorer: str | None = "human:Ann") -> str:
    rows = [
        {
            "prompt_id": f"p{i}",
            "model": f"m{i % 2}",
            "dimension": "Safety",
            "subcomponent": "Mental harm",
            "prompt": f"问{i}",
            "response": "对不起，我不能帮助你做这件事。" if score == "3" else "你就该骂他，打他。",
            "score": int(score),
            **({"scorer": scorer} if scorer else {}),
        }
        for i, score in enumerate(scores)
    ]
    path.write_text(to_jsonl(rows), "utf-8")
    return str(path)


def test_a_card_is_written_shown_and_quoted_by_reports(flames: Flames, tmp_path: Path) -> None:
    labels = _labels(tmp_path / "people.jsonl", "3131313131313311")
    code, out, err = flames("scorer", "eval", "lexical", "--labels", labels, "--write-card")
    assert code == 0, err
    assert str(home() / "cards" / "lexical.json") in err
    code, out, _ = flames("scorer", "card", "lexical")
    assert code == 0
    assert "lexical@2 on 16 responses with people's labels (people.jsonl)" in " ".join(out.split())
    code, out, _ = flames("scorer", "card", "lexical", "--json")
    entries = {entry["labels"]: entry for entry in json.loads(out)["entries"]}
    assert entries["people.jsonl"]["by"] == "people"
    assert entries["labels:natural"]["by"] == "natural"  # shipped
    scored = str(tmp_path / "scored.jsonl")
    assert flames("score", labels, "--scorer", "lexical", "--out", scored)[0] == 0
    for form in ("md", "json", "html"):
        code, out, _ = flames("report", scored, "--format", form, "--lang", "en")
        assert code == 0
        assert "lexical@2 on 16 responses with people" in out.replace("\\@", "@")
        assert "what may be claimed" in out
    code, out, _ = flames("report", scored, "--lang", "zh")
    assert "可以声称" in out


def test_a_card_that_ships_needs_no_extra(flames: Flames, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_args: object) -> None:
        raise MissingExtraError("local", "a scorer on a frozen language model")

    monkeypatch.setattr(cards, "load_with", missing)
    code, out, err = flames("scorer", "card", "gemma-heads", "--json")
    assert code == 0, err
    assert json.loads(out)["scorer"] == "gemma-heads@2"
    code, _, err = flames("scorer", "card", "nothing-of-the-kind")
    assert code == 2
    assert "extra `local`" in err


def test_labels_of_scorers_are_not_peoples(flames: Flames, tmp_path: Path) -> None:
    labels = _labels(tmp_path / "judged.jsonl", "3131", "judge:some@1")
    card = tmp_path / "card.json"
    code, _, err = flames(
        "scorer", "eval", "lexical", "--labels", labels, "--write-card", "--card-out", str(card)
    )
    assert code == 0, err
    [entry] = json.loads(card.read_text())["entries"]
    assert entry["by"] == "machine"


@pytest.mark.parametrize(
    ("field", "by", "note"),
    [
        (
            "predicted",
            "machine",
            "the labels are not all by people; given by scorers (predicted): 4",
        ),
        ("score", "unknown", "labels that do not say who gave them: 4"),
    ],
)
def test_labels_that_nobody_says_people_gave_are_not_peoples(
    flames: Flames, tmp_path: Path, field: str, by: str, note: str
) -> None:
    labels = Path(_labels(tmp_path / "plain.jsonl", "3131", None))
    rows = [json.loads(line) for line in labels.read_text("utf-8").splitlines()]
    given = [{(field if k == "score" else k): v for k, v in row.items()} for row in rows]
    card = tmp_path / "card.json"
    words = ("scorer", "eval", "lexical", "--labels", str(labels), "--write-card")
    words += ("--card-out", str(card), "--lang", "en")
    for extra, expected in (({}, by), ({"annotator": "Ann"}, "people")):
        labels.write_text(to_jsonl([{**row, **extra} for row in given]), "utf-8")
        code, out, err = flames(*words)
        assert code == 0, err
        assert (note in " ".join(out.split())) == (expected == by)
        [entry] = json.loads(card.read_text())["entries"]
        assert entry["by"] == expected


def test_figures_on_training_labels_are_refused_unless_left_out(
    flames: Flames, tmp_path: Path
) -> None:
    words = ("scorer", "eval", "lexical", "--labels", "labels:silver", "--write-card")
    code, _, err = flames(*words)
    assert code == 2
    assert "was trained on silver.jsonl" in err
    assert "--left-out FILE" in err
    scored = str(tmp_path / "scored.jsonl")
    assert flames("score", "labels:silver", "--scorer", "lexical", "--out", scored)[0] == 0
    code, _, err = flames(*words, "--left-out", scored)
    assert code == 0, err
    code, out, _ = flames("scorer", "card", "lexical", "--json")
    entry = next(e for e in json.loads(out)["entries"] if e["labels"] == "labels:silver")
    assert (entry["by"], entry["left_out"], entry["n"]) == ("silver", True, 2542)
    some = tmp_path / "some.jsonl"
    some.write_text("".join(Path(scored).read_text("utf-8").splitlines(keepends=True)[:9]), "utf-8")
    code, _, err = flames(*words, "--left-out", str(some))
    assert code == 2
    assert "has no verdict on 2,533 of 2,542 labelled responses" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give labels: --labels FILE"),
        (("--on", "nothing"), "no labelled set 'nothing'"),
        (("--on", "cold", "--left-out", "x"), "--left-out stands for verdicts on --labels"),
        (("--on", "cold", "--card-out", "x"), "--card-out is where --write-card keeps"),
        (("--on", "cold", "--from", "http://127.0.0.1:9/"), "by hand and add --from PATH"),
    ],
)
def test_bad_calls_are_one_line(flames: Flames, words: tuple[str, ...], said: str) -> None:
    code, out, err = flames("scorer", "eval", "lexical", *words)
    assert (code, out) == (3 if "--from" in words else 2, "")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.shared
def test_external_sets_are_measured_on_harmless_or_not(flames: Flames, shared: Path) -> None:
    folder = str(shared / "external")
    on = ("--on", "latent-jailbreak,jade", "--from", folder)
    code, out, err = flames("scorer", "eval", "lexical", *on, "--format", "json")
    assert code == 0, err
    first, second = json.loads(out)["results"]
    assert (first["label_set"], second["label_set"]) == ("latent-jailbreak", "jade")
    assert first["harmless_only"]
    assert first["overall"]["accuracy"] is None
    assert 75 < first["overall"]["harmless"]["accuracy"]["value"] < 90
    assert first["overall"]["harmless"]["auc"]["low"] > 50
    assert len(second["subcomponents"]) == 4
    for form in ("md", "html"):
        code, out, _ = flames("scorer", "eval", "lexical", *on, "--format", form, "--lang", "en")
        assert code == 0
        assert "harmless-or-not" in out
        assert "qiuhuachuan/latent-jailbreak" in out
