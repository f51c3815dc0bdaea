"""The records that every stage reads and writes, joined by id.

A record is known by its key (`prompt_id`, `model`, `sample`), a verdict by its scorer too.
Unknown fields are carried along. `flames.storage` reads and writes files of records.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from flames.text import has_visible_text, split_opening, texts_differ

Status = Literal["ok", "truncated", "empty", "blocked", "error"]
"""How asking ended. Only `ok` and `truncated` responses hold something to score."""

SCORABLE: frozenset[Status] = frozenset({"ok", "truncated"})

THOUGHT_ALOUD = "thought_aloud"
"""Under this name a response, and a verdict on it, says true where its thinking was read as part
of its text and taken out of it."""


class Key(NamedTuple):
    """What a response is known by."""

    prompt_id: str
    model: str
    sample: int


def prompt_id(text: str) -> str:
    """The id of a prompt that has none: 12 hex digits of SHA-256 over its stripped text."""
    return hashlib.sha256(text.strip().encode("utf-8", "surrogatepass")).hexdigest()[:12]


def ids_sha256(prompts: Mapping[str, str | None]) -> str:
    """SHA-256 over prompts' sorted ids, one a line: the same for the same prompts.

    A prompt whose text is known counts with the id that its text gives, so that two files that
    both number their prompts "1", "2", … are not taken for one set.

    Args:
        prompts: Texts by id; None where a text is not known.
    """
    ids = (prompt_id(text) if text and text.strip() else own for own, text in prompts.items())
    return hashlib.sha256("\n".join(sorted(ids)).encode("utf-8", "surrogatepass")).hexdigest()


class Frozen(BaseModel):
    """Base of everything that is computed or read once and never changed."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)


class Record(BaseModel):
    """Base of the records: frozen, validated, carrying unknown fields along."""

    model_config = ConfigDict(
        frozen=True, extra="allow", populate_by_name=True, protected_namespaces=(), strict=True
    )

    def to_dict(self) -> dict[str, Any]:
        """The record as it stands in a file: file field names, absent fields left out."""
        return self.model_dump(by_alias=True, exclude_none=True)

    def to_line(self) -> str:
        """The record as one line of JSON, without the line break."""
        return dump_line(self.to_dict())

    @property
    def extra(self) -> dict[str, Any]:
        """The fields that the record carries along without knowing them."""
        return self.__pydantic_extra__ or {}


def dump_line(data: Any) -> str:
    """JSON on one line; text that UTF-8 cannot hold (lone surrogates) is written as escapes."""
    line = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))
    return line if _encodable(line) else json.dumps(data, allow_nan=False)


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


class Prompt(Record):
    """What is asked. The text stands in the file field `prompt`."""

    id: Annotated[str, Field(min_length=1)]
    dimension: str
    subcomponent: str | None = None
    technique: str | None = None
    text: Annotated[str, Field(alias="prompt", min_length=1)]
    source: str | None = None


class Response(Record):
    """What a model answered, or how it did not.

    `dimension`, `subcomponent`, `technique` and `prompt` repeat the prompt's, so that a file of
    responses can be scored alone. `reasoning` is kept apart and never scored. `latency_s` is
    in seconds, `created` an ISO 8601 time in UTC, `sampling` the parameters that were sent.
    """

    prompt_id: Annotated[str, Field(min_length=1)]
    model: Annotated[str, Field(min_length=1)]
    sample: Annotated[int, Field(ge=0)] = 0
    dimension: str | None = None
    subcomponent: str | None = None
    technique: str | None = None
    prompt: str | None = None
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
    def key(self) -> Key:
        """Prompt, model and sample."""
        return Key(self.prompt_id, self.model, self.sample)

    @property
    def scorable(self) -> bool:
        """Whether there is text that a scorer may judge."""
        return self.status in SCORABLE and has_visible_text(self.response)


class Verdict(Record):
    """What a scorer, or a person, said of one response.

    `score` is on the scale of the dimension, or None; then `unscored` says why, in a word or
    two that are counted (`blocked`, `empty`, `error`, `low confidence`, …). `probabilities` are
    per score, best first, as `{"3": 0.7, "2": 0.2, "1": 0.1}`.
    """

    prompt_id: Annotated[str, Field(min_length=1)]
    model: Annotated[str, Field(min_length=1)]
    sample: Annotated[int, Field(ge=0)] = 0
    dimension: str
    subcomponent: str | None = None
    technique: str | None = None
    status: Status | None = None
    scorer: Annotated[str, Field(min_length=1)]
    score: int | None = None
    unscored: str | None = None
    probabilities: dict[str, float] | None = None
    rationale: str | None = None
    annotator: str | None = None

    @property
    def key(self) -> Key:
        """Prompt, model and sample."""
        return Key(self.prompt_id, self.model, self.sample)

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a file; `score` is there even when it is null."""
        data = super().to_dict()
        data.setdefault("score", None)  # an unscored response is said, not left out
        return data


class PromptSetInfo(Frozen):
    """What prompts a number was computed on.

    `sha256` is of the set's file (`of` = `file`), or, where no file is known, of the sorted
    prompt ids, one a line (`of` = `ids`); a prompt whose text is known counts with the id that
    its text gives. `ids_sha256` is always the latter: two results with the same one are about
    the same prompts. `n` counts the prompts that were to be asked; a sample that `--limit` drew
    says so in `limit` and `seed`.
    """

    name: str
    sha256: str
    n: int
    of: Literal["file", "ids"] = "file"
    ids_sha256: str | None = None
    limit: int | None = None
    seed: int | None = None


AnyRecord = TypeVar("AnyRecord", Prompt, Response, Verdict)


def verdict_for(
    response: Response,
    *,
    scorer: str,
    dimension: str,
    score: int | None = None,
    unscored: str | None = None,
    probabilities: dict[str, float] | None = None,
    rationale: str | None = None,
    **extra: Any,
) -> Verdict:
    """A verdict on `response`, with the fields that measuring needs taken from it.

    Raises:
        ValueError: Neither a score nor a reason was given, or both were.
    """
    if (score is None) == (unscored is None):
        raise ValueError("a verdict has either a score or the reason why there is none")
    return Verdict(
        prompt_id=response.prompt_id,
        model=response.model,
        sample=response.sample,
        dimension=dimension,
        subcomponent=response.subcomponent,
        technique=response.technique,
        status=response.status,
        scorer=scorer,
        score=score,
        unscored=unscored,
        probabilities=probabilities,
        rationale=rationale,
        **extra,
    )


def unasked_verdict(prompt: Prompt, key: Key, scorer: str) -> Verdict:
    """What stands in the place of a verdict on a prompt that was not asked."""
    return Verdict(
        prompt_id=key.prompt_id,
        model=key.model,
        sample=key.sample,
        dimension=prompt.dimension,
        subcomponent=prompt.subcomponent,
        technique=prompt.technique,
        scorer=scorer,
        unscored="not asked",
    )


def response_of(verdict: Verdict, *, status: Status | None = None, **fields: Any) -> Response:
    """The response that a verdict is on, so far as the verdict tells; nothing is checked again.

    Args:
        verdict: What was said of it.
        status: How asking ended; as the verdict has it unless given.
        fields: What the verdict itself does not hold (`prompt`, `response`, …).
    """
    return Response.model_construct(
        prompt_id=verdict.prompt_id,
        model=verdict.model,
        sample=verdict.sample,
        dimension=verdict.dimension,
        subcomponent=verdict.subcomponent,
        technique=verdict.technique,
        status=status or verdict.status or "ok",
        **fields,
    )


def is_on_other_text(verdict: Verdict, prompt: str | None, response: str | None) -> bool:
    """Whether a verdict carries another prompt or response than what goes by its key here.

    Texts that either side does not know, and thinking before an answer, make no difference.
    """
    asked, answered = (verdict.extra.get(name) for name in ("prompt", "response"))
    return texts_differ(asked if isinstance(asked, str) else None, prompt) or texts_differ(
        split_opening(answered)[0] if isinstance(answered, str) else None,
        split_opening(response or "")[0],
    )


def carry(response: Response, verdict: Verdict) -> dict[str, Any]:
    """The verdict's line for a file of responses: the response's fields and the verdict's.

    A field of the input that the verdict also has and that says something else (an older
    `score`, say) is kept as `input_<field>`.
    """
    line = response.to_dict()
    for name, value in verdict.to_dict().items():
        if name in line and line[name] != value:
            line[f"input_{name}"] = line[name]
        line[name] = value
    for name in ("unscored", "probabilities", "rationale", "annotator", "predicted"):
        if name in response.extra and getattr(verdict, name, None) is None:
            line[f"input_{name}"] = line.pop(name)
    return line
