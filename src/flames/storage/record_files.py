"""Typed records from the rows of a file."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import ValidationError

from flames.errors import InputError
from flames.finish_reasons import status_of
from flames.options import CheckedOptions, Opt
from flames.records import (
    SCORABLE,
    AnyRecord,
    Prompt,
    Response,
    Verdict,
    canary_in,
    of_choice,
    prompt_id,
)
from flames.storage.foreign.openai_batch import requests_by_id
from flames.storage.foreign.table import READ_AS, state_of, tell_states
from flames.storage.like_rows import LikeRows
from flames.storage.mapping import columns_there, parse_mapping
from flames.storage.record_fields import (
    cleaned,
    place,
    plain_error,
    take_ending,
    take_thinking_out,
    whole,
)
from flames.storage.repeats import Samples, check_one_text
from flames.storage.rows import Row, read_rows
from flames.storage.text_files import stem_of
from flames.taxonomy import Taxonomy, TaxonomyOptions, default_taxonomy, load_taxonomy
from flames.text import normalize_text, shorten, with_point
from flames.thinking import Tags, ThinkTags, read_tags
from flames.turns import Conversation


@dataclass(frozen=True)
class SheetOptions(CheckedOptions):
    """How text files and spreadsheets are opened."""

    encoding: Annotated[
        str | None, Opt("Encoding of text files; UTF-8 unless given.", metavar="NAME")
    ] = None
    sheet: Annotated[
        str | None,
        Opt("Sheet of spreadsheets, by name or number; the first unless given.", metavar="NAME|N"),
    ] = None


@dataclass(frozen=True)
class TextOptions(SheetOptions, TaxonomyOptions):
    """How files are opened, and the taxonomy that the user wants."""


@dataclass(frozen=True)
class FileOptions(TextOptions):
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

    def read_options(self) -> ReadOptions:
        """Loads the taxonomy and returns how files are read."""
        return ReadOptions(load_taxonomy(self.taxonomy), self.mapping, self.encoding, self.sheet)


@dataclass(frozen=True)
class RecordOptions(FileOptions):
    """How the user wants files of responses or verdicts to be read."""

    model: Annotated[
        str | None,
        Opt("Model of records that name none; the file's stem unless given.", metavar="NAME"),
    ] = None
    think_tags: ThinkTags = ()
    requests: Annotated[
        Path | None,
        Opt("Input of an OpenAI batch, with the prompts of its output.", metavar="FILE"),
    ] = None

    def read_options(self) -> ReadOptions:
        """Loads the taxonomy and the requests, and returns how files are read."""
        requests = {} if self.requests is None else read_requests(self.requests, self.encoding)
        return replace(
            super().read_options(),
            model=self.model,
            think_tags=read_tags(self.think_tags),
            requests=requests,
        )


def read_requests(
    path: str | os.PathLike[str], encoding: str | None = None
) -> dict[str, dict[str, Any]]:
    """Reads the input of an OpenAI batch: by `custom_id`, `prompt`, `history` and `system`."""
    try:
        return requests_by_id(read_rows(path, encoding=encoding, as_is=True))
    except InputError as error:
        raise error.at(path, error.line) from None


VERDICT_KEY = "prompt, model, sample and scorer"
"""What no two verdicts of a file share."""


@dataclass(frozen=True)
class ReadOptions:
    """How to turn the rows of a file into records.

    Args:
        mapping: Our field name → the file's.
        model: The model of rows that name none; the file's stem by default.
        prompts: Known prompts by id; rows that lack dimension or text take them from here.
        anonymous: Accept verdicts without `prompt_id` and `prompt`; the line number is their id.
        placed: Refuse responses without a dimension, which cannot be scored.
        think_tags: Further tags of reasoning before an answer.
        numbered: Take rows that repeat prompt and model without a `sample` as further samples, as
            rows of other tools always are.
        requests: What the ids of another tool's rows asked: `prompt`, `history` and `system`.
    """

    taxonomy: Taxonomy = field(default_factory=default_taxonomy)
    mapping: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    sheet: str | None = None
    model: str | None = None
    prompts: Mapping[str, Prompt] = field(default_factory=dict)
    anonymous: bool = False
    placed: bool = False
    numbered: bool = False
    think_tags: tuple[Tags, ...] = ()
    requests: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @cached_property
    def by_text(self) -> dict[str, tuple[str, ...]]:
        """The ids of known prompts by their texts."""
        found: dict[str, tuple[str, ...]] = {}
        for prompt in self.prompts.values():
            text = normalize_text(prompt.text)
            found[text] = (*found.get(text, ()), prompt.id)
        return found

    def known_id(self, *tries: Conversation) -> str | None:
        """Returns the id of the one known prompt that asks the same, by the first try that fits."""
        for asked in tries:
            ids = self.by_text.get(normalize_text(asked.text), ())
            same = [each for each in ids if not asked.differs(self.prompts[each].asked)]
            if len(same) == 1:
                return same[0]
        return None

    def named(self, path: str | os.PathLike[str]) -> ReadOptions:
        """Returns the options for a file, its stem being the default model."""
        return self if self.model else replace(self, model=stem_of(path))

    def rows(self, path: str | os.PathLike[str]) -> Iterator[Row]:
        """Yields the rows of a file that is read so."""
        return read_rows(path, mapping=self.mapping, encoding=self.encoding, sheet=self.sheet)


def read_prompts(
    path: str | os.PathLike[str],
    options: ReadOptions | None = None,
    *,
    on_error: Callable[[InputError], None] | None = None,
) -> Iterator[Prompt]:
    """Yields the prompts of a file in its order.

    Bad rows are given to `on_error` and skipped; without it the first error is raised.
    """
    return _read(path, options, _prompt, lambda prompt: (prompt.id, ()), "prompt", on_error)


def read_responses(
    path: str | os.PathLike[str], options: ReadOptions | None = None
) -> Iterator[Response]:
    """Yields the responses of a file in its order, the released scorer's input included.

    A missing `prompt_id` is that of the known prompt with the same text, or the hash of `prompt`.
    A missing `status` follows from `finish_reason` and the response (see
    `flames.finish_reasons.status_of`). Thinking at the start of a response (`<think>…</think>`) is
    moved to `reasoning`, and `thought_aloud` is set.
    """
    what = "prompt, model and sample"
    return _read(path, options, _response, lambda r: (r.prompt_id, (r.model, r.sample)), what)


def read_verdicts(
    path: str | os.PathLike[str], options: ReadOptions | None = None
) -> Iterator[Verdict]:
    """Yields the verdicts of a file in its order: ours, labels, or the released scorer's output.

    The score stands in `score`, or else in `predicted`. A row without one, or on a blank,
    blocked or failed response, is unscored.
    """
    return _read(
        path,
        options,
        LikeRows(_verdict, lambda options, prompt: prompt in options.prompts).read,
        lambda v: (v.prompt_id, (v.model, v.sample, v.scorer, v.annotator)),
        VERDICT_KEY,
    )


def verdict_of(
    fields: dict[str, Any], line: int, options: ReadOptions, path: str | os.PathLike[str]
) -> Verdict:
    """Returns the verdict in one row of a file; raises an `InputError` where there is none."""
    try:
        return _verdict(fields, line, options)
    except ValidationError as error:
        raise plain_error(error).at(path, line) from None
    except InputError as error:
        raise error.at(path, line) from None


def _read(
    path: str | os.PathLike[str],
    options: ReadOptions | None,
    build: Callable[[dict[str, Any], int, ReadOptions], AnyRecord],
    key: Callable[[AnyRecord], tuple[str, tuple[object, ...]]],
    what: str,
    on_error: Callable[[InputError], None] | None = None,
) -> Iterator[AnyRecord]:
    options = (options or ReadOptions()).named(path)
    seen: dict[tuple[object, ...], dict[str, int]] = defaultdict(dict)
    texts: dict[str, int] = {}
    samples = Samples()
    taken: Counter[str] = Counter()
    kind = None
    for line, fields in options.rows(path):
        kind = kind or fields.get(READ_AS)
        try:
            try:
                record = build(fields, line, options)
            except ValidationError as error:
                raise plain_error(error) from None
            if (options.numbered or READ_AS in fields) and "sample" not in fields:
                record = samples.number(record, key)
            check_one_text(record, line, texts)
            prompt, others = key(record)
            earlier = seen[others].setdefault(prompt, line)
            if earlier != line:
                if isinstance(record, Prompt) and "id" in fields:
                    raise InputError(f"same id {shorten(record.id)!r} as line {earlier}")
                raise InputError(f"same {what} as line {earlier}")
        except InputError as error:
            if kind:
                error = InputError(f"{error.message} (read as {kind})", field=error.field)
            if on_error is None:
                raise error.at(path, line) from None
            on_error(error.at(path, line))
        else:
            if kind:
                taken[state_of(record)] += 1
            yield record
    if kind:
        tell_states(path, kind, taken)


def _prompt(raw: dict[str, Any], line: int, options: ReadOptions) -> Prompt:
    fields = cleaned(raw, Prompt)
    if canary_in(fields):
        del fields["canary"]
    text = fields.get("prompt")
    if not isinstance(text, str) or not text.strip():
        hint = "" if "prompt" in raw else f" ({columns_there(raw, 'prompt')})"
        raise InputError(f"must hold the prompt's text{hint}", field="prompt")
    fields.setdefault("id", prompt_id(text, fields.get("system"), fields.get("history")))
    place(fields, options.taxonomy, required=True)
    return Prompt.model_validate(fields)


def _identify(fields: dict[str, Any], line: int, options: ReadOptions) -> None:
    given = fields.get("id") if READ_AS in fields else None
    if given is not None and (request := options.requests.get(given)):
        fields.update({**request, **fields})
    sent = fields.get("system")
    if READ_AS in fields and sent is not None:  # maybe of the run, no part of the prompt
        fields["system_prompt"] = fields.pop("system")
    text, history = fields.get("prompt"), fields.get("history")
    if "prompt_id" not in fields:
        asked = Conversation.in_row(fields)
        known = options.prompts.get(given) if given is not None else None
        if known is not None and not asked.differs(known.asked):
            fields["prompt_id"] = known.id
        elif text is not None and text.strip():
            own = prompt_id(text, *asked[1:])
            plain = asked._replace(system=asked.system or "", history=asked.history or ())
            tries = plain._replace(system=sent or ""), plain, asked
            same = None if own in options.prompts else options.known_id(*tries)
            fields["prompt_id"] = same or own
        elif given is not None:
            raise InputError(
                f"holds no prompt, and its id {shorten(given)!r} is none of a known set; "
                "--requests FILE names the batch's input"
            )
        elif options.anonymous:
            fields["prompt_id"] = f"line-{line}"
        else:
            hint = columns_there(fields, "prompt")
            raise InputError(f"needs `prompt`, or the `prompt_id` of a known prompt; {hint}")
    fields.setdefault("model", options.model)
    fields["sample"] = whole(fields, "sample") or 0
    known = options.prompts.get(fields["prompt_id"])
    if known is not None and not Conversation.in_row(fields).differs(known.asked):
        fields.setdefault("dimension", known.dimension)
        if not (text or "").strip():
            fields["prompt"] = known.text
        if history is None and known.history:
            fields["history"] = [turn.model_dump() for turn in known.history]
        if known.system:
            fields.setdefault("system", known.system)
        for name, value in of_choice(known).items():
            fields.setdefault(name, value)
        with suppress(InputError):  # `place` reports an unknown dimension
            if options.taxonomy.dimension(fields["dimension"]).name == known.dimension:
                for name in ("subcomponent", "technique", "expected", "variant_of", "disguise"):
                    if (value := getattr(known, name)) is not None:
                        fields.setdefault(name, value)


def _response(raw: dict[str, Any], line: int, options: ReadOptions) -> Response:
    fields = cleaned(raw, Response)
    _identify(fields, line, options)
    if options.placed and "dimension" not in fields:
        raise InputError(
            "is missing and the prompt is none of a known set; --prompts SET|PATH names it",
            field="dimension",
        )
    place(fields, options.taxonomy, required=False)
    if "response" not in raw and "status" not in fields:
        raise InputError(f"is missing; {columns_there(raw, 'response')}", field="response")
    unclosed = take_thinking_out(fields, options.think_tags)
    take_ending(fields, unclosed=unclosed)
    for name in ("attempts", "usage", "sampling", "latency_s"):
        if fields.get(name) == "":
            del fields[name]
    if isinstance(seconds := fields.get("latency_s"), str):
        fields["latency_s"] = with_point(seconds)
    if "attempts" in fields:
        fields["attempts"] = whole(fields, "attempts")
    return Response.model_validate(fields)


def _verdict(raw: dict[str, Any], line: int, options: ReadOptions) -> Verdict:
    fields = cleaned(raw, Verdict)
    _identify(fields, line, options)
    dimension = place(fields, options.taxonomy, required=True)
    assert dimension is not None
    source = "predicted" if "predicted" in raw and "score" not in fields else "score"
    if raw.keys().isdisjoint(("score", "predicted", "unscored", "scorer")):
        raise InputError(
            "has neither `score` nor `predicted`; responses are scored by `flames score` first "
            f"({columns_there(raw, 'score')})"
        )
    if isinstance(text := fields.get(source), str):
        fields[source] = options.taxonomy.score_named(text) or text
    score = whole(fields, source)
    if score is not None and score not in dimension.scale:
        scale = " or ".join(map(str, dimension.scale))
        raise InputError(f"must be {scale} in {dimension.name}, got {score}", field=source)
    reason = fields.get("unscored")
    if score is not None and isinstance(reason, str) and reason.strip():
        raise InputError(f"says why there is no score, but the score is {score}", field="unscored")
    if "status" not in fields and "response" in fields:
        fields["status"] = status_of(fields.get("finish_reason"), fields["response"])
    status = fields.get("status")
    if status is not None and status not in SCORABLE:
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
