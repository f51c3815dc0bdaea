"""Typed records from the rows of a file.

The fields of a row, put into the shape that records have.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from pydantic import ValidationError

from flames.errors import InputError
from flames.finish_reasons import status_of
from flames.options import Opt
from flames.records import (
    SCORABLE,
    THOUGHT_ALOUD,
    AnyRecord,
    Prompt,
    Response,
    Status,
    Verdict,
    prompt_id,
)
from flames.storage.rows import parse_mapping, read_rows, stem_of
from flames.taxonomy import Dimension, Taxonomy, default_taxonomy, load_taxonomy
from flames.text import has_visible_text, normalize_text, shorten, split_opening, texts_differ


@dataclass(frozen=True)
class TaxonomyOptions:
    """The taxonomy that the user wants."""

    taxonomy: Annotated[
        Path | None, Opt("Taxonomy file (JSON); Flames' own taxonomy unless given.", metavar="FILE")
    ] = None


@dataclass(frozen=True)
class FileOptions(TaxonomyOptions):
    """How the user wants files to be read; `RecordOptions` for files with records of models."""

    mapping: Annotated[
        Mapping[str, str],
        Opt(
            "Column names of the file, where they differ: prompt=问题,response=回答.",
            flag="--map",
            metavar="FIELD=COLUMN,…",
            parse=parse_mapping,
        ),
    ] = field(default_factory=dict)
    encoding: Annotated[
        str | None, Opt("Encoding of text files; UTF-8 unless given.", metavar="NAME")
    ] = None

    def read_options(self) -> ReadOptions:
        """Loads the taxonomy and returns how files are read."""
        return ReadOptions(load_taxonomy(self.taxonomy), self.mapping, self.encoding)


@dataclass(frozen=True)
class RecordOptions(FileOptions):
    """How the user wants files of responses or verdicts to be read."""

    model: Annotated[
        str | None,
        Opt(
            "Model of records that name none; the file's name without suffix unless given.",
            metavar="NAME",
        ),
    ] = None

    def read_options(self) -> ReadOptions:
        """Loads the taxonomy and returns how files are read."""
        return replace(super().read_options(), model=self.model)


@dataclass(frozen=True)
class ReadOptions:
    """How a file's rows become records.

    Args:
        taxonomy: What dimensions, subcomponents and scores are looked up in.
        mapping: Our field name → the file's.
        encoding: Of the text; UTF-8 unless given.
        model: The model of rows that name none; the file's stem unless given.
        prompts: Known prompts by id; rows that lack dimension or text take them from here.
        anonymous: Accept verdicts without `prompt_id` and `prompt`, known by their line alone.
        placed: Refuse responses without a dimension, which cannot be scored.
        numbered: Rows that repeat a prompt and a model and name no sample are further samples
            of it, told apart by their response, not mistakes.
    """

    taxonomy: Taxonomy = field(default_factory=default_taxonomy)
    mapping: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    model: str | None = None
    prompts: Mapping[str, Prompt] = field(default_factory=dict)
    anonymous: bool = False
    placed: bool = False
    numbered: bool = False

    def named(self, path: str | os.PathLike[str]) -> ReadOptions:
        """The options with `model` settled for that file."""
        return self if self.model else replace(self, model=stem_of(path))


def read_prompts(
    path: str | os.PathLike[str],
    options: ReadOptions | None = None,
    *,
    on_error: Callable[[InputError], None] | None = None,
) -> Iterator[Prompt]:
    """Yields the prompts of a file in its order.

    Args:
        path: The file.
        options: How its rows are read.
        on_error: Told of each row that cannot be used, which is then passed over; without it
            the first one is raised.

    Raises:
        InputError: A row cannot be used, or repeats an id (and so, mostly, a text).
    """
    return _read(path, options, _prompt, lambda prompt: prompt.id, "prompt", on_error)


def read_responses(
    path: str | os.PathLike[str], options: ReadOptions | None = None
) -> Iterator[Response]:
    """Yields the responses of a file in its order, the released scorer's input included.

    A missing `prompt_id` is the hash of `prompt`. A missing `status` follows from `finish_reason`
    and the response (see `flames.finish_reasons.status_of`). Thinking at the start of a response
    (`<think>…</think>`) is moved to `reasoning`, and `thought_aloud` is set.

    Raises:
        InputError: A row cannot be used, repeats a key, or has another prompt under a known id.
    """
    return _read(path, options, _response, lambda record: record.key, "prompt, model and sample")


def read_verdicts(
    path: str | os.PathLike[str], options: ReadOptions | None = None
) -> Iterator[Verdict]:
    """Yields the verdicts of a file in its order: ours, labels, or the released scorer's output.

    The score stands in `score`, or else in `predicted`. A row without one, or on a blank,
    blocked or failed response, is unscored.

    Raises:
        InputError: A row cannot be used, repeats a key with the same scorer and annotator, or
            has another prompt under a known id.
    """
    return _read(
        path,
        options,
        _verdict,
        lambda record: (*record.key, record.scorer, record.annotator),
        "prompt, model, sample and scorer",
    )


def _read(
    path: str | os.PathLike[str],
    options: ReadOptions | None,
    build: Callable[[dict[str, Any], int, ReadOptions], AnyRecord],
    key: Callable[[AnyRecord], object],
    what: str,
    on_error: Callable[[InputError], None] | None = None,
) -> Iterator[AnyRecord]:
    options = (options or ReadOptions()).named(path)
    seen: dict[bytes, int] = {}
    texts: dict[bytes, tuple[bytes, int]] = {}
    samples = _Samples()
    for line, fields in read_rows(path, mapping=options.mapping, encoding=options.encoding):
        try:
            record = _build(build, fields, line, options)
            if options.numbered and "sample" not in fields:
                record = samples.number(record, key)
            _one_text(record, line, texts)
            earlier = seen.setdefault(_digest(key(record)), line)
            if earlier != line:
                if isinstance(record, Prompt) and "id" in fields:
                    raise InputError(f"same id {shorten(record.id)!r} as line {earlier}")
                raise InputError(f"same {what} as line {earlier}")
        except InputError as error:
            if on_error is None:
                raise error.at(path, line) from None
            on_error(error.at(path, line))
        else:
            yield record


def _one_text(record: AnyRecord, line: int, texts: dict[bytes, tuple[bytes, int]]) -> None:
    """Refuses a prompt id that stood for another text on an earlier line."""
    text = getattr(record, "prompt", None)
    if isinstance(record, Prompt) or not isinstance(text, str) or not text.strip():
        return
    own = _digest(normalize_text(text))
    known, earlier = texts.setdefault(_digest(record.prompt_id), (own, line))
    if known != own:
        raise InputError(
            f"{shorten(record.prompt_id)} has another `prompt` than on line {earlier}; give it "
            "an id of its own, or none to be known by its text",
            field="prompt_id",
        )


def _digest(value: object) -> bytes:
    return blake2b(repr(value).encode("utf-8", "replace"), digest_size=12).digest()


class _Samples:
    """Numbers the samples of rows that name none, by their response."""

    def __init__(self) -> None:
        self._known: dict[bytes, int] = {}
        self._next: dict[bytes, int] = {}
        self._taken: set[bytes] = set()

    def number(self, record: AnyRecord, key: Callable[[AnyRecord], object]) -> AnyRecord:
        if isinstance(record, Prompt):
            return record
        response = getattr(record, "response", None)
        asked = _digest((record.prompt_id, record.model))
        same = _digest((record.prompt_id, record.model, response))
        sample = self._known.get(same)
        if sample is None or _digest((key(record), sample)) in self._taken:
            sample = self._known[same] = self._next.get(asked, 0)
            self._next[asked] = sample + 1
        self._taken.add(_digest((key(record), sample)))
        return record.model_copy(update={"sample": sample}) if sample else record


def _build(
    build: Callable[[dict[str, Any], int, ReadOptions], AnyRecord],
    fields: dict[str, Any],
    line: int,
    options: ReadOptions,
) -> AnyRecord:
    try:
        return build(fields, line, options)
    except ValidationError as error:
        raise plain_error(error) from None


def _prompt(raw: dict[str, Any], line: int, options: ReadOptions) -> Prompt:
    fields = cleaned(raw)
    text = fields.get("prompt")
    if not isinstance(text, str) or not text.strip():
        there = "" if "prompt" in raw else f" ({_there(raw, 'prompt')})"
        raise InputError(f"must hold the prompt's text{there}", field="prompt")
    fields.setdefault("id", prompt_id(text))
    place(fields, options.taxonomy, required=True)
    return Prompt.model_validate(fields)


def _identify(fields: dict[str, Any], line: int, options: ReadOptions) -> None:
    text = fields.get("prompt")
    if "prompt_id" not in fields:
        if text is not None and text.strip():
            fields["prompt_id"] = prompt_id(text)
        elif options.anonymous:
            fields["prompt_id"] = f"line-{line}"
        else:
            raise InputError(
                f"needs `prompt`, or the `prompt_id` of a known prompt; {_there(fields, 'prompt')}"
            )
    fields.setdefault("model", options.model)
    fields["sample"] = whole(fields, "sample") or 0
    known = options.prompts.get(fields["prompt_id"])
    if known is not None and not texts_differ(text, known.text):
        fields.setdefault("dimension", known.dimension)
        if not (text or "").strip():
            fields["prompt"] = known.text
        if name_of(fields["dimension"], options.taxonomy) == known.dimension:
            for name in ("subcomponent", "technique"):
                if (value := getattr(known, name)) is not None:
                    fields.setdefault(name, value)


def _there(fields: Mapping[str, Any], missing: str) -> str:
    """What stands there instead of a field, and how to say that it is the field."""
    names = ", ".join(shorten(str(name), 30) for name in islice(fields, 12))
    return f"there are {names or 'no fields'}; --map {missing}=NAME says which one it is"


def _response(raw: dict[str, Any], line: int, options: ReadOptions) -> Response:
    fields = cleaned(raw)
    _identify(fields, line, options)
    if options.placed and "dimension" not in fields:
        raise InputError(
            "is missing and the prompt is none of a known set; --prompts SET|PATH names it",
            field="dimension",
        )
    place(fields, options.taxonomy, required=False)
    if "response" not in raw and "status" not in fields:
        raise InputError(f"is missing; {_there(raw, 'response')}", field="response")
    take_thinking_out(fields)
    fields["status"] = fields.get("status") or _status_of(fields)
    for name in ("attempts", "usage", "sampling", "latency_s"):
        if fields.get(name) == "":
            del fields[name]
    if "attempts" in fields:
        fields["attempts"] = whole(fields, "attempts")
    return Response.model_validate(fields)


def _verdict(raw: dict[str, Any], line: int, options: ReadOptions) -> Verdict:
    fields = cleaned(raw)
    _identify(fields, line, options)
    dimension = place(fields, options.taxonomy, required=True)
    assert dimension is not None
    source = "predicted" if "predicted" in raw and "score" not in fields else "score"
    if not {"score", "predicted", "unscored", "scorer"} & raw.keys():
        raise InputError(
            "has neither `score` nor `predicted`; responses are scored by `flames score` first "
            f"({_there(raw, 'score')})"
        )
    if isinstance(text := fields.get(source), str):
        fields[source] = options.taxonomy.score_named(text) or text
    score = whole(fields, source)
    if score is not None and score not in dimension.scale:
        scale = " or ".join(map(str, dimension.scale))
        message = f"must be {scale} in {dimension.name}, got {score}"
        raise InputError(message, field=source)
    reason = fields.get("unscored")
    if score is not None and isinstance(reason, str) and reason.strip():
        raise InputError(f"says why there is no score, but the score is {score}", field="unscored")
    if "status" not in fields and "response" in fields:
        fields["status"] = _status_of(fields)
    status = fields.get("status")
    if status in ("empty", "blocked", "error"):
        score = None
        fields.setdefault("unscored", status)
    if score is None:
        fields.setdefault("unscored", "no score")
    else:
        fields.pop("unscored", None)
    fields["score"] = score
    default = f"labels:{options.model}" if source == "score" else "predicted"
    annotator = fields.get("annotator")
    fields.setdefault("scorer", f"human:{annotator}" if annotator else default)
    return Verdict.model_validate(fields)


_TEXTS = frozenset(
    "dimension subcomponent technique prompt prompt_id id model response scorer source "
    "annotator rationale unscored".split()
)


def plain_error(error: ValidationError) -> InputError:
    """The first thing that pydantic found wrong, in our words."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else None
    if first["type"] == "missing":
        return InputError("is missing", field=name)
    got = shorten(repr(first["input"]), 40)
    return InputError(f"{first['msg'].lower()}, got {got}", field=name)


def cleaned(fields: dict[str, Any]) -> dict[str, Any]:
    """Absent fields taken out; the texts that we know checked, numbers standing for them kept."""
    kept = {name: value for name, value in fields.items() if value is not None}
    for name in _TEXTS & kept.keys():
        value = kept[name]
        if not isinstance(value, str):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InputError(f"must be text, not {type(value).__name__}", field=name)
            value = kept[name] = str(value)
        if name not in ("response", "prompt"):
            kept[name] = value.strip()
            if not kept[name]:
                del kept[name]
    return kept


def whole(fields: dict[str, Any], name: str) -> int | None:
    """A whole number, also as text (spreadsheets) or as 3.0."""
    value = fields.get(name)
    if value is None or value == "":
        return None
    number: int | None = None
    if isinstance(value, bool):
        number = None
    elif isinstance(value, int):
        number = value
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    elif isinstance(value, str):
        try:
            as_float = float(value.strip())
            number = int(as_float) if as_float.is_integer() else None
        except (ValueError, OverflowError):
            number = None
    if number is None:
        raise InputError(f"must be a whole number, got {shorten(repr(value), 40)}", field=name)
    return number


def place(fields: dict[str, Any], taxonomy: Taxonomy, *, required: bool) -> Dimension | None:
    """Puts dimension and subcomponent under the taxonomy's own names."""
    if "dimension" not in fields:
        if required:
            names = ", ".join(taxonomy.names)
            raise InputError(f"is missing; one of: {names}", field="dimension")
        return None
    try:
        dimension = taxonomy.dimension(fields["dimension"])
    except InputError as error:
        raise InputError(error.message, field="dimension") from None
    fields["dimension"] = dimension.name
    if "subcomponent" in fields and dimension.subcomponents:
        try:
            fields["subcomponent"] = dimension.subcomponent(fields["subcomponent"]).name
        except InputError as error:
            raise InputError(error.message, field="subcomponent") from None
    return dimension


def name_of(dimension: str, taxonomy: Taxonomy) -> str | None:
    """The taxonomy's own name for a dimension, if it knows it."""
    try:
        return taxonomy.dimension(dimension).name
    except InputError:
        return None  # told by whoever needs it


def _status_of(fields: dict[str, Any]) -> Status:
    return status_of(fields.get("finish_reason"), fields.get("response"))


def take_thinking_out(fields: dict[str, Any]) -> None:
    """Thinking that stands before the answer is kept as `reasoning` and never scored."""
    text = fields.get("response") or ""
    answer, thoughts = split_opening(text)
    if answer == text:
        return
    fields |= {"response": answer, THOUGHT_ALOUD: True}
    if fields.get("reasoning"):
        fields["input_response"] = text  # its own reasoning stands; nothing is lost
    elif thoughts:
        fields["reasoning"] = thoughts
    if fields.get("status") in SCORABLE and not has_visible_text(answer):
        fields["status"] = "empty"
