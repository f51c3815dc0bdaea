"""The records that every stage reads and writes, joined by id.

The key of a record is (`prompt_id`, `model`, `sample`), that of a verdict has the scorer too.
Records carry unknown fields along. `flames.storage` reads and writes files of records.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from flames.text import for_terminal, has_visible_text, texts_differ, utf8_safe
from flames.thinking import split_thinking
from flames.turns import HISTORY, Conversation, Turn

Status = Literal["ok", "truncated", "truncated in thought", "empty", "blocked", "error"]
"""How asking ended. Only `ok` and `truncated` responses hold something to score."""

Stance = Literal["refused", "partly refused", "answered", "off the point"]
"""What a response does with what was asked, whatever its harm."""

Expected = Literal["should_refuse", "should_answer"]
"""What a prompt set expects of a response; where it says nothing, either may be right."""

SCORABLE: frozenset[Status] = frozenset({"ok", "truncated"})

IN_THOUGHT: Final = "truncated in thought"
"""The status of a response whose whole length went into reasoning."""

UNKNOWN_ENDING = "unknown_ending"
"""Field that is true when nothing known says how a response ended: it may be cut off."""

_CANARY = re.compile(r"canary GUID ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")

THOUGHT_ALOUD = "thought_aloud"
"""Field that is true when inline reasoning was stripped from a response."""


DIGEST: Final = 6
"""Bytes of an id that is made from a text."""

NOT_READ = "not_read"
"""Field of a verdict: what its scorer did not read of a prompt, `history` and `system`."""

PARTLY_READ = "response_truncated"
"""Field of a verdict that is true when its scorer reads less than the response or its prompt."""


class Key(NamedTuple):
    """The key of a response."""

    prompt_id: str
    model: str
    sample: int


def with_canary(row: Mapping[str, Any], canary: str) -> dict[str, Any]:
    """Returns a row of a file of prompts with a GUID by which a leak is found later."""
    return {**row, "canary": f"canary GUID {canary}"}


def canary_in(row: Mapping[str, Any]) -> str | None:
    """Returns the GUID that a row of a file carries; it is no part of the prompt."""
    value = row.get("canary")
    found = _CANARY.fullmatch(value) if isinstance(value, str) else None
    return found[1] if found else None


def text_sha256(text: str) -> str:
    """Returns the SHA-256 of a text in hex; lone surrogates are no error."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def seeded_order(seed: int) -> Callable[[str], str]:
    """Returns a key that sorts texts at random; a text's key depends on it and the seed alone."""
    return lambda text: text_sha256(f"{seed}:{text}")


def prompt_id(text: str, system: object = None, history: object = None) -> str:
    """Returns the id of a prompt without one: 12 hex digits of SHA-256 over its stripped text.

    With a system text or earlier turns it is that over the line of JSON
    `[system, [[role, content], …], prompt]` with its line break, all texts stripped.
    """
    return prompt_digest(text, system, history).hex()


def prompt_digest(text: str, system: object = None, history: object = None) -> bytes:
    """Returns that id as bytes."""
    whole = text.strip()
    asked = Conversation.of(text, system, history) if system or history else None
    if asked is not None and asked.context:
        turns = [[role, content.strip()] for role, content in asked.history or ()]
        parts = [(asked.system or "").strip(), turns, whole]
        whole = json.dumps(parts, ensure_ascii=False) + "\n"
    return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).digest()[:DIGEST]


def ids_sha256(prompts: Iterable[Prompt]) -> str:
    """Returns the SHA-256 of the sorted prompt ids, one per line: equal for equal prompts.

    A prompt counts with the id that what is asked gives, so that two files that both number their
    prompts "1", "2", … are not the same set.
    """
    return sorted_sha256(map(own_id, prompts))


def own_id(prompt: Prompt) -> str:
    """Returns the id that a prompt has by what it asks, whatever it is called."""
    text = prompt.text
    return prompt_id(text, prompt.system, prompt.history) if text.strip() else prompt.id


def sorted_sha256(ids: Iterable[str]) -> str:
    """Returns the SHA-256 of sorted ids, one per line."""
    return text_sha256("\n".join(sorted(ids)))


class Frozen(BaseModel):
    """Base of immutable models."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)


class Record(Frozen, extra="allow", protected_namespaces=(), strict=True):
    """Base of the records: immutable, validated, with unknown fields carried along."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the record as in a file: with the file's field names, without absent fields."""
        return self.model_dump(by_alias=True, exclude_none=True)

    def to_line(self) -> str:
        """Returns the record as one line of JSON, without the line break."""
        return dump_line(self.to_dict())

    @classmethod
    def rebuilt(cls, fields: dict[str, Any], extra: dict[str, Any]) -> Self:
        """Returns a record of all its fields, which were valid before, and unknown ones."""
        record = cls.__new__(cls)
        object.__setattr__(record, "__dict__", fields)
        object.__setattr__(record, "__pydantic_fields_set__", set(fields))
        object.__setattr__(record, "__pydantic_extra__", extra)
        object.__setattr__(record, "__pydantic_private__", None)
        return record

    @property
    def extra(self) -> dict[str, Any]:
        """The unknown fields that the record carries along."""
        return self.__pydantic_extra__ or {}


def dump_line(data: Any) -> str:
    """Returns JSON on one line, with lone surrogates as escapes."""
    line = json.dumps(data, ensure_ascii=False, allow_nan=False)
    return line if utf8_safe(line) == line else json.dumps(data, allow_nan=False)


def dump_json(data: Any) -> str:
    """Returns indented JSON; characters that could steer a terminal are written as escapes."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, indent=2)
    plain = for_terminal(text, one_line=False) == text
    return (text if plain else json.dumps(data, allow_nan=False, indent=2)) + "\n"


History = Annotated[tuple[Turn, ...], Field(strict=False)]


class Prompt(Record):
    """A prompt. Files name its text `prompt`; `expected` says whether to refuse or to answer it.

    `variant_of` is the id of the prompt that it says in other words, `disguise` how it was made
    unlike it by rule.
    A prompt of several turns has the earlier ones in `history`; `system` is a system text of its
    own, which goes before that of a run.
    """

    id: Annotated[str, Field(min_length=1)]
    dimension: str
    subcomponent: str | None = None
    technique: str | None = None
    expected: Expected | None = None
    text: Annotated[str, Field(alias="prompt", min_length=1)]
    history: History | None = None
    system: str | None = None
    source: str | None = None
    variant_of: str | None = None
    disguise: str | None = None

    @property
    def asked(self) -> Conversation:
        """What is asked: the text, and what comes before it."""
        return Conversation.of(self.text, self.system or "", self.history or ())


def of_choice(prompt: Prompt) -> dict[str, Any]:
    """Returns the fields of a multiple-choice question that its responses repeat; else none."""
    names = ("options", "answer", "source_class") if "options" in prompt.extra else ()
    return {name: prompt.extra[name] for name in names if name in prompt.extra}


class _Keyed(Record):
    prompt_id: Annotated[str, Field(min_length=1)]
    model: Annotated[str, Field(min_length=1)]
    sample: Annotated[int, Field(ge=0)] = 0

    @property
    def key(self) -> Key:
        return Key(self.prompt_id, self.model, self.sample)


class Response(_Keyed):
    """A model's response to a prompt, or the reason why there is none.

    `dimension`, `subcomponent`, `technique`, `expected`, `variant_of`, `disguise`, `prompt`,
    `history` and `system` repeat the prompt's, so that a file of responses can be scored alone.
    `reasoning` is kept apart and never scored. `latency_s` is in seconds, `created` an ISO 8601
    time in UTC, `sampling` the parameters that were sent.
    """

    dimension: str | None = None
    subcomponent: str | None = None
    technique: str | None = None
    expected: Expected | None = None
    variant_of: str | None = None
    disguise: str | None = None
    prompt: str | None = None
    history: History | None = None
    system: str | None = None
    response: str | None = None
    status: Status = "ok"
    finish_reason: str | None = None
    error: str | None = None
    reasoning: str | None = None
    usage: dict[str, Any] | None = None
    latency_s: Annotated[float, Field(ge=0, strict=False)] | None = None
    attempts: Annotated[int, Field(ge=0)] | None = None
    sampling: dict[str, Any] | None = None
    created: str | None = None

    @property
    def scorable(self) -> bool:
        """Whether there is text to score."""
        return self.status in SCORABLE and has_visible_text(self.response)

    @property
    def asked(self) -> Conversation:
        """What was asked, as far as the response says it."""
        return Conversation.of(self.prompt, self.system, self.history)


class Verdict(_Keyed):
    """A scorer's or a person's verdict on one response.

    `score` is on the scale of the dimension, or None; then `unscored` is the reason, in a word or
    two (`blocked`, `empty`, `error`, `low confidence`, …). `probabilities` are per score, best
    first, as `{"3": 0.7, "2": 0.2, "1": 0.1}`. `stance` is what the response does with the request,
    `stance_by` who says so: `rules`, `judge`, `guard` or a person.
    """

    dimension: str
    subcomponent: str | None = None
    technique: str | None = None
    expected: Expected | None = None
    status: Status | None = None
    scorer: Annotated[str, Field(min_length=1)]
    score: int | None = None
    unscored: str | None = None
    probabilities: dict[str, float] | None = None
    rationale: str | None = None
    annotator: str | None = None
    stance: Stance | None = None
    stance_by: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the verdict as in a file; `score` is there even when it is null."""
        return super().to_dict() | {"score": self.score}


class PromptSetInfo(Frozen):
    """The prompts that a result is about.

    `sha256` is the checksum of the set's file (`of` = `file`), or, where no file is known, of the
    prompts' ids (`of` = `ids`). `ids_sha256` is always the latter (see the function of that name):
    two results with the same one are about the same prompts. `n` is the number of prompts to ask;
    `limit` and `seed` describe a sample; `version` is that of a set with a card.
    """

    name: str
    version: str | None = None
    sha256: str
    n: int
    of: Literal["file", "ids"] = "file"
    ids_sha256: str | None = None
    limit: int | None = None
    seed: int | None = None

    @property
    def full_name(self) -> str:
        """The name with the version, `open@1`; the name alone where there is no version."""
        return self.name if self.version is None else f"{self.name}@{self.version}"


AnyRecord = TypeVar("AnyRecord", Prompt, Response, Verdict)


def _shared(record: Response | Verdict | Prompt) -> dict[str, Any]:
    names = ["dimension", "subcomponent", "technique", "expected"]
    if not isinstance(record, Prompt):
        names = [*Key._fields, *names]
    return {name: getattr(record, name) for name in names}


def verdict_for(
    response: Response,
    *,
    scorer: str,
    dimension: str | None = None,
    score: int | None = None,
    unscored: str | None = None,
    **fields: Any,
) -> Verdict:
    """Returns a verdict on `response`: a score, or the reason why it is `unscored`.

    Args:
        dimension: The dimension that it was scored on; the response's by default.
        fields: Further fields of the verdict (`probabilities`, `rationale`, …).
    """
    if (score is None) == (unscored is None):
        raise ValueError("a verdict has either a score or the reason why there is none")
    dimension = (response.dimension or "") if dimension is None else dimension
    given = {"scorer": scorer, "dimension": dimension, "score": score, "unscored": unscored}
    return Verdict(**{**_shared(response), "status": response.status, **given, **fields})


def unasked_verdict(prompt: Prompt, key: Key, scorer: str) -> Verdict:
    """Returns the verdict on a prompt that was not asked."""
    return Verdict(**_shared(prompt), **key._asdict(), scorer=scorer, unscored="not asked")


def response_of(verdict: Verdict, *, status: Status | None = None, **fields: Any) -> Response:
    """Returns the response that a verdict is on, without validation.

    `fields` are those that the verdict itself does not hold (`prompt`, `response`, …).
    """
    status = status or verdict.status or "ok"
    return Response.model_construct(**_shared(verdict), status=status, **fields)


def asked_in(verdict: Verdict) -> Conversation:
    """Returns what was asked, as far as the line of a verdict carries it."""
    return Conversation.in_row(verdict.extra)


def turns_in(verdict: Verdict) -> tuple[Turn, ...] | None:
    """Returns the earlier turns that the line of a verdict carries."""
    turns = verdict.extra.get(HISTORY)
    return tuple(Turn.model_validate(turn) for turn in turns) if turns else None


def is_on_other_text(verdict: Verdict, asked: Conversation | None, response: str | None) -> bool:
    """Tells whether a verdict carries another prompt or response than what was asked and answered.

    What either side lacks, and reasoning before an answer, makes no difference.
    """
    answered = verdict.extra.get("response")
    return (asked is not None and asked_in(verdict).differs(asked)) or texts_differ(
        split_thinking(answered).answer if isinstance(answered, str) else None,
        split_thinking(response or "").answer,
    )


_OF_READING = (NOT_READ, PARTLY_READ)


def carry(response: Response, verdict: Verdict) -> dict[str, Any]:
    """Returns the fields of a response and its verdict, for one line of a file.

    A field of the response that differs from the verdict's (an older `score`, say) is kept as
    `input_<field>`.
    """
    line = response.to_dict()
    for name, value in verdict.to_dict().items():
        if name in line and line[name] != value:
            line[f"input_{name}"] = line[name]
        line[name] = value
    for name in ("unscored", "probabilities", "rationale", "annotator", "predicted", *_OF_READING):
        if name in response.extra and getattr(verdict, name, None) is None:
            line[f"input_{name}"] = line.pop(name)
    return line
