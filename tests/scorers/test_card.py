from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flames.errors import InputError
from flames.metrics.result import Estimate
from flames.records import Verdict
from flames.scorers.card import (
    CardEntry,
    ScorerCard,
    bundled_card_path,
    card_notes,
    find_card,
    own_card_path,
    read_card,
)
from flames.scorers.labels import NATURAL
from flames.scorers.registry import NOTES, load_scorer, notes_of
from flames.storage.atomic import write_atomic
from flames.storage.checksums import file_sha256


def _estimate(value: float) -> Estimate:
    return Estimate(value=value, low=value - 1, high=value + 1, method="m")


def _entry(labels: str = "labels:natural", by: Any = "natural", **changes: Any) -> CardEntry:
    levels = by not in ("outside", "partly", "design")
    given: dict[str, Any] = {
        "files": {},
        "n": 1056,
        "scored": 1056,
        "prompts": 696,
        "models": 8,
        "accuracy": _estimate(71.2) if levels else None,
        "harmless": _estimate(81.4),
        "bias": _estimate(1.23),
    }
    return CardEntry(labels=labels, by=by, **{**given, **changes})


def _keep(card: ScorerCard) -> None:
    write_atomic(own_card_path(card.scorer), card.to_json())


def _verdict(scorer: str, **extra: Any) -> Verdict:
    fields = {"prompt_id": "a", "model": "m", "dimension": "Safety", "score": 3}
    return Verdict(scorer=scorer, **fields, **extra)


def test_a_report_is_told_the_line_of_the_card_and_what_may_be_claimed() -> None:
    _keep(ScorerCard(scorer="mine@2", entries=(_entry(),)))
    line, claim = notes_of([_verdict("mine@2")], "mine@2")
    assert str(line) == (
        "mine@2 on 1,056 naturally written responses (labels:natural, not human): right on 71 % of "
        "levels and 81 % of harmless-or-not, harmless rate +1.2 points; not measured on people's "
        "labels"
    )
    assert "81%，无害率偏差 +1.2 个百分点；未在人工标签上测过" in line.words.zh
    assert "not “so many per cent harmless”" in str(claim)


def test_figures_of_another_version_are_not_shown() -> None:
    _keep(ScorerCard(scorer="mine@2", entries=(_entry(),)))
    line, claim = notes_of([_verdict("mine@3")], "mine@3")
    assert "another version, mine@2, whose figures do not count" in str(line)
    assert "71" not in str(line)
    assert claim.code == "claim.none"


def test_a_scorer_without_a_card_says_so_and_labels_need_none() -> None:
    assert [note.code for note in card_notes("judge:some/model@x")] == ["card.none", "claim.none"]
    assert card_notes("labels:people@12345678") == ()
    assert card_notes("human:Ann") == ()


def test_peoples_labels_come_first_and_outside_ones_are_named() -> None:
    outside = _entry("latent-jailbreak", "outside", harmless=_estimate(75.0))
    card = ScorerCard(scorer="s@1", entries=(outside, _entry()))
    line, claim = card.notes()
    assert str(line).endswith(
        "on people's labels only for safe or unsafe (latent-jailbreak): right on 75 %"
    )
    assert claim.code == "claim.compare"
    people = card.with_entries((_entry("annotated.jsonl", "people", scored=300),))
    line, claim = people.notes()
    assert str(line).startswith("s@1 on 300 responses with people's labels (annotated.jsonl)")
    assert claim.code == "claim.people"


@pytest.mark.parametrize(
    "by", ["people", "outside", "natural", "silver", "machine", "unknown", "partly", "design"]
)
@pytest.mark.parametrize("outside", [False, True])
def test_every_kind_of_labels_has_its_sentence(by: str, outside: bool) -> None:
    entries = (_entry("x", by), *([_entry("y", "outside")] if outside else []))
    notes = ScorerCard(scorer="s@1", entries=entries).notes()
    assert all(note.words.zh and note.words.en for note in notes)


def test_entries_on_the_same_labels_are_replaced() -> None:
    card = ScorerCard(scorer="s@1", entries=(_entry(), _entry("other")))
    again = card.with_entries((_entry(n=3),))
    assert [(entry.labels, entry.n) for entry in again.entries] == [
        ("labels:natural", 3),
        ("other", 1056),
    ]
    assert ScorerCard.model_validate_json(again.to_json()) == again


def test_a_users_own_figures_are_added_to_the_shipped_ones() -> None:
    shipped = find_card("lexical@2")
    assert shipped is not None
    _keep(ScorerCard(scorer="lexical@2", entries=(_entry("mine.jsonl", "people"),)))
    both = find_card("lexical@2")
    assert both is not None
    assert {entry.labels for entry in both.entries} == {
        "mine.jsonl",
        *(entry.labels for entry in shipped.entries),
    }


def test_verdicts_bring_the_card_of_a_scorer_that_is_not_here() -> None:
    notes = ScorerCard(scorer="far@1", entries=(_entry(),)).notes()
    brought = [note.to_dict() for note in notes]
    found = notes_of([_verdict("far@1", **{NOTES: brought})], "far@1")
    assert found == notes
    # the card of a part is no card of the whole
    found = notes_of([_verdict("cascade:far>x@1", **{NOTES: brought})], "cascade:far>x@1")
    assert found[0].code == "card.none"


def test_a_broken_card_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text('{"scorer": 1')
    with pytest.raises(InputError, match="is no card of a scorer"):
        read_card(tmp_path / "card.json")
    assert read_card(tmp_path / "none.json") is None


@pytest.mark.parametrize("name", ["lexical", "gemma-heads"])
def test_shipped_cards_are_of_the_shipped_scorers_and_labels(name: str) -> None:
    if name == "gemma-heads":
        for module in ("safetensors", "onnxruntime"):
            pytest.importorskip(module, reason="needs the extra local")
    scorer_id = load_scorer(name).info.id
    card = read_card(bundled_card_path(scorer_id))
    assert card is not None
    assert card.scorer == scorer_id
    natural = next(entry for entry in card.entries if entry.by == "natural")
    assert natural.files == {"natural.jsonl": file_sha256(NATURAL.path)}
