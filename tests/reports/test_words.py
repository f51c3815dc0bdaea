"""The words: notes are sentences in both languages, chosen by a code; others stay as they are."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from flames.metrics.result import Note
from flames.scorers.registry import scorer_notes


@pytest.mark.parametrize(
    "scorer", ["lexical@2", "gemma-heads@2", "labels:silver@1", "judge:x@1", "guard:x@1"]
)
def test_the_notes_of_our_scorers_are_told_in_chinese(scorer: str) -> None:
    for note in map(Note.read, scorer_notes(scorer)):
        assert note.words.en == str(note)
        assert note.words.zh != str(note)


def test_numbers_and_names_stay_in_a_note() -> None:
    note = Note("part_of_set", n=1207, total=2000, name="set {0} <b>")
    assert str(note) == "1,207 of the 2,000 prompts of set {0} <b>"
    assert note.words.zh == "提示集 set {0} <b> 共 2,000 条提示，此处为其中 1,207 条"
    assert Note.text("anything else {0}").words.zh == "anything else {0}"
    with pytest.raises(KeyError):
        Note("no_such_note")
    with pytest.raises(KeyError):
        Note("part_of_set", n=1)


def test_a_note_is_written_with_its_sentence_and_read_again() -> None:
    kept = TypeAdapter(tuple[Note, ...])
    notes = (Note("outside_set", n=3, name="open"), Note.text("mine"))
    written = kept.dump_python(notes)
    assert written[0] == {
        "code": "outside_set",
        "n": 3,
        "name": "open",
        "text": "verdicts left out because their prompt is not in open: 3",
    }
    assert kept.validate_python(written) == notes
    assert len({*notes, *kept.validate_json(kept.dump_json(notes))}) == 2


@pytest.mark.parametrize(
    "value",
    [
        "a sentence",
        {"text": "a sentence"},
        {"code": "of a later version", "n": 1, "text": "a sentence"},
        {"code": "outside_set", "n": "three", "name": "open", "text": "a sentence"},
        {"code": "outside_set", "text": "a sentence"},
        {"code": 7, "text": "a sentence"},
    ],
)
def test_a_note_without_words_here_keeps_its_sentence(value: Any) -> None:
    assert Note.read(value) == Note.text("a sentence")


@pytest.mark.parametrize("value", [7, None, {}, {"code": "silver"}, ["a"]])
def test_what_is_no_note_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="a sentence, or an object"):
        Note.read(value)
