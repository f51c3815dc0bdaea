"""A source from verdicts that come one after the other, none of which is kept whole."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from flames.analysis.conditions import ConditionsSeen
from flames.analysis.source import reworded_ids
from flames.metrics.columns import Columns, StoredVerdicts
from flames.metrics.result import Note
from flames.metrics.source import CarriedPrompts, CarriedResponses, Source, Variant
from flames.prompts.sets import identify
from flames.records import (
    DIGEST,
    IN_THOUGHT,
    NOT_READ,
    PARTLY_READ,
    THOUGHT_ALOUD,
    UNKNOWN_ENDING,
    Prompt,
    PromptSetInfo,
    Response,
    Verdict,
    asked_in,
    own_id,
    prompt_digest,
    sorted_sha256,
)
from flames.scorers.registry import NOTES, notes_of
from flames.storage.text_files import stem_of
from flames.taxonomy import Taxonomy
from flames.text import shorten
from flames.thinking import split_thinking

_NOTED = 100  # verdicts with notes of their own that are looked at


class EndingsSeen:
    """Gathers what is to be known about how responses ended."""

    def __init__(self) -> None:
        self._in_thought = 0
        self._words: Counter[str] = Counter()

    def add(self, record: Response | Verdict) -> None:
        """Takes one into account."""
        extra = record.extra
        if record.status == IN_THOUGHT:
            self._in_thought += 1
        if UNKNOWN_ENDING in extra and extra[UNKNOWN_ENDING] is True:
            word = getattr(record, "finish_reason", None) or record.extra.get("finish_reason")
            self._words[shorten(word, 30) if isinstance(word, str) else ""] += 1

    def add_in_thought(self, n: int) -> None:
        """Takes responses into account whose whole length went into reasoning."""
        self._in_thought += n

    def notes(self) -> Iterator[Note]:
        """Yields the notes on it."""
        words = self._words.copy()
        if self._in_thought:
            yield Note("in_thought", n=self._in_thought)
        if none := words.pop("", 0):
            yield Note("no_ending", n=none)
        if words:
            named = ", ".join(f"{word} ({n})" for word, n in words.most_common(5))
            yield Note("unknown_ending", n=words.total(), words=named)


class NotesSeen:
    """Gathers what verdicts carry for the readers of figures."""

    def __init__(self) -> None:
        self._noted: list[Verdict] = []
        self._not_read: dict[str, set[str]] = {"history": set(), "system": set()}
        self._partly_read = 0

    def add(self, verdict: Verdict) -> None:
        """Takes one into account."""
        extra = verdict.extra
        missed = extra.get(NOT_READ)
        if isinstance(missed, list) and missed:
            part = "history" if "history" in missed else "system"
            self._not_read[part].add(verdict.prompt_id)
        self._partly_read += extra.get(PARTLY_READ) is True
        notes = extra.get(NOTES)
        if not notes or len(self._noted) == _NOTED:
            return
        if all(notes != other.extra[NOTES] for other in self._noted):
            self._noted.append(verdict)

    def notes(self, scorer: str, prompts: int) -> tuple[Note, ...]:
        """Returns the notes on a scorer, and those that its verdicts on so many prompts carry."""
        missed = {part: len(ids) for part, ids in self._not_read.items() if ids}
        codes = {"history": "last_turn", "system": "system_unread"}
        own = [Note(codes[p], scorer=scorer, n=n, total=prompts) for p, n in missed.items()]
        if n := self._partly_read:
            own.append(Note("partly_read", scorer=scorer, n=n))
        return *notes_of(self._noted, scorer), *own


class Gathering:
    """The verdicts of one model by one scorer, and what their lines say besides."""

    def __init__(self, known: Mapping[str, Prompt]) -> None:
        self.verdicts = StoredVerdicts()
        self._known = known
        self._rows = array("q")  # for each prompt the row with its text
        self._text_ids = bytearray()
        self._noted = NotesSeen()
        self._thought = self._unsplit = 0
        self._endings = EndingsSeen()
        self._conditions = ConditionsSeen()
        self._variants: dict[str, Variant] = {}

    @classmethod
    def of_columns(cls, columns: Columns, known: Mapping[str, Prompt]) -> Gathering:
        """Returns the gathering of verdicts whose lines say nothing besides."""
        gathering = cls(known)
        gathering.verdicts = StoredVerdicts.of_columns(columns)
        gathering._rows = array("q", [CarriedPrompts.NO_TEXT]) * len(columns.prompts.values)
        for each in known:
            if (code := columns.prompts.code_of.get(each)) is not None:
                gathering._rows[code] = CarriedPrompts.KNOWN
        gathering._text_ids = bytearray(DIGEST * len(gathering._rows))
        gathering._endings.add_in_thought(int(columns.rows_with("status", [IN_THOUGHT]).sum()))
        return gathering

    def add(self, verdict: Verdict) -> None:
        """Adds a verdict."""
        row = len(self.verdicts)
        self.verdicts.append(verdict)
        extra = verdict.extra
        prompt = self.verdicts.columns.prompts.codes[row]
        if prompt == len(self._rows):
            self._rows.append(CarriedPrompts.NO_TEXT)
            self._text_ids += bytes(DIGEST)
        if self._rows[prompt] == CarriedPrompts.NO_TEXT:
            self._take_prompt(prompt, row, verdict)
        self._endings.add(verdict)
        if not extra:
            return
        self._conditions.add(verdict)
        self._noted.add(verdict)
        self._thought += extra.get(THOUGHT_ALOUD) is True
        if isinstance(original := extra.get("variant_of"), str):
            kind = str(extra.get("disguise") or verdict.technique or "")
            self._variants[verdict.prompt_id] = Variant(original, kind)
        if verdict.score is not None and (response := extra.get("response")):
            text = str(response)
            self._unsplit += split_thinking(text).answer != text

    def _take_prompt(self, prompt: int, row: int, verdict: Verdict) -> None:
        same, asked = self._known.get(verdict.prompt_id), asked_in(verdict)
        if same is not None and not asked.differs(same.asked):
            self._rows[prompt] = CarriedPrompts.KNOWN
        elif asked.text is not None and asked.text.strip():
            self._rows[prompt] = row
            at = DIGEST * prompt
            extra = verdict.extra
            context = extra.get("system"), extra.get("history")
            self._text_ids[at : at + DIGEST] = prompt_digest(asked.text, *context)

    def source(self, scorer: str, path: Path, taxonomy: Taxonomy) -> Source:
        """Returns the source; `scorer` may say more than the verdicts."""
        columns = self.verdicts.columns
        [model] = columns.texts("model")
        assert model is not None
        prompts = CarriedPrompts(self.verdicts, self._rows, self._known, self._text_ids)
        prompt_set, part = self._prompt_set(prompts, stem_of(path), taxonomy)
        return Source(
            model=model,
            scorer=scorer,
            prompt_set=prompt_set,
            prompts=prompts,
            verdicts=self.verdicts,
            responses=CarriedResponses(self.verdicts),
            notes=(*self._noted.notes(scorer, prompt_set.n), *part, *self._notes()),
            origin=path,
            samples=int(np.bincount(columns.codes("prompt_id")).max()),
            conditions=self._conditions.found(),
            variants=self._variants,
        )

    def _notes(self) -> Iterator[Note]:
        if self._thought:
            yield Note("thinking", n=self._thought)
        if self._unsplit:
            yield Note("thinking_scored", n=self._unsplit)
        yield from self._endings.notes()

    def _prompt_set(
        self, prompts: CarriedPrompts, stem: str, taxonomy: Taxonomy
    ) -> tuple[PromptSetInfo, tuple[Note, ...]]:
        ids = self.verdicts.columns.prompts.code_of
        bare = set(self._rows) == {CarriedPrompts.NO_TEXT}
        n, digest = len(ids), sorted_sha256(ids if bare else self._ids())
        known = identify(ids.keys(), taxonomy)
        if known is None or reworded_ids(prompts, known.by_id):
            return PromptSetInfo(name=stem, sha256=digest, n=n, of="ids", ids_sha256=digest), ()
        whole = n == len(known.prompts)
        update = {"n": n, "ids_sha256": digest, "limit": None if whole else n}
        note = Note("part_of_set", n=n, total=len(known.prompts), name=known.full_name)
        return known.info.model_copy(update=update), () if whole else (note,)

    def _ids(self) -> Iterator[str]:
        texts = self.verdicts.columns.prompts.values
        for prompt, (row, known) in enumerate(zip(self._rows, texts, strict=True)):
            at = DIGEST * prompt
            if row == CarriedPrompts.KNOWN:
                yield own_id(self._known[known])
            elif row == CarriedPrompts.NO_TEXT:
                yield known
            else:
                yield self._text_ids[at : at + DIGEST].hex()
