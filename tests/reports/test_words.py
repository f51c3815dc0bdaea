"""The words: notes that Flames writes are known in Chinese, others are left alone."""

from __future__ import annotations

import pytest

from flames.reports.view import note_text
from flames.scorers.registry import scorer_notes


@pytest.mark.parametrize(
    "scorer", ["lexical@1", "lexical-plus@1", "labels:silver@1", "judge:x@1", "guard:x@1"]
)
def test_the_notes_of_our_scorers_are_told_in_chinese(scorer: str) -> None:
    for note in scorer_notes(scorer):
        assert note_text(note).en == note
        assert note_text(note).zh != note


def test_numbers_and_names_stay_in_a_note() -> None:
    text = note_text("1,207 of the 2,000 prompts of set {0} <b>")
    assert text.zh == "提示集 set {0} <b> 共 2,000 条提示，此处为其中 1,207 条"
    assert note_text("anything else {0}").zh == "anything else {0}"
