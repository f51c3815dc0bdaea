"""Logs of Inspect: `.json`, and the samples of an `.eval` archive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flames.errors import InputError
from flames.storage.foreign.shape import (
    Fields,
    Format,
    Reader,
    asked,
    failed,
    inner,
    kept,
    must_be,
    placed,
    scored,
    text_at,
)
from flames.thinking import split_parts

_REFERENCE = "attachment://"


def _fits(row: Fields) -> bool:
    return {"epoch", "input", "output"} <= row.keys()


def _unfold(document: Fields) -> list[Any] | None:
    header = document.get("eval")
    if not isinstance(header, Mapping) or not ({"samples", "plan", "stats"} & document.keys()):
        return None
    samples = document.get("samples")
    if not isinstance(samples, list) or not samples:
        raise InputError("is a log of Inspect without samples")
    return [with_model(sample, document) for sample in samples]


def with_model(sample: Any, header: Any) -> Any:
    """Returns a sample that names its run's model, which only the header does."""
    model = text_at(header, "eval", "model")
    return {**sample, "model": model} if model and isinstance(sample, Mapping) else sample


def _reader(path: str) -> Reader:
    return _read


def _read(row: Fields) -> Iterator[dict[str, Any]]:
    must_be(row["output"], Mapping, "output", "an object")
    notes = row.get("attachments")
    texts = notes if isinstance(notes, Mapping) else {}
    shared = {
        **kept(row, ["id", "model", "epoch"]),
        **placed(row.get("metadata")),
        **asked(_resolved(_question(row), texts)),
        **_scores(row.get("scores")),
    }
    shared.setdefault("model", text_at(row, "output", "model"))
    answers = inner(row, "output", "choices")
    if not isinstance(answers, list) or not answers:
        answers = [{"message": {"content": inner(row, "output", "completion")}}]
    for choice in answers:
        yield {**shared, **_answer(row, choice, texts)}


def _answer(row: Fields, choice: Any, texts: Fields) -> dict[str, Any]:
    content = _resolved(inner(choice, "message", "content"), texts)
    text, thoughts = split_parts(content)
    reason = text_at(choice, "stop_reason")
    fields: dict[str, Any] = {"response": text}
    if reason not in (None, "unknown"):
        fields["finish_reason"] = reason
    if thoughts:
        fields["reasoning"] = thoughts
    if isinstance(usage := inner(row, "output", "usage"), Mapping):
        fields["usage"] = kept(usage, [str(name) for name in usage])
    if created := text_at(row, "completed_at"):
        fields["created"] = created
    if text or reason == "content_filter":
        return fields
    error = row.get("error") or inner(row, "output", "error")
    if error is None and (limit := text_at(row, "limit", "type")):
        error = f"stopped at the {limit} limit"
    return {**fields, **failed(error)} if error else fields


def _question(row: Fields) -> Any:
    """Returns the input, or the whole conversation where the model was asked more than it."""
    given, messages = row["input"], row.get("messages")
    if not isinstance(messages, list):
        return given
    while messages and inner(messages[-1], "role") == "assistant":
        messages = messages[:-1]
    system = [m for m in messages if inner(m, "role") == "system"]
    if _turns(messages) > (1 if isinstance(given, str) else _turns(given)):
        return messages
    rest = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if not isinstance(rest, list):
        return given
    return [*system, *(m for m in rest if inner(m, "role") != "system")]


def _turns(messages: Any) -> int:
    return sum(inner(m, "role") == "user" for m in messages) if isinstance(messages, list) else 0


def _resolved(value: Any, texts: Fields, depth: int = 6) -> Any:
    """Puts the texts that a log keeps apart back into their places."""
    if isinstance(value, str) and value.startswith(_REFERENCE):
        text = texts.get(value.removeprefix(_REFERENCE))
        return text if isinstance(text, str) else value
    if depth and isinstance(value, list):
        return [_resolved(each, texts, depth - 1) for each in value]
    if depth and isinstance(value, Mapping):
        return {name: _resolved(each, texts, depth - 1) for name, each in value.items()}
    return value


def _scores(scores: Any) -> dict[str, Any]:
    if not isinstance(scores, Mapping):
        return {}
    values = {name: inner(score, "value") for name, score in scores.items()}
    return scored(values, {name: inner(score, "explanation") for name, score in scores.items()})


INSPECT = Format("samples of Inspect", _fits, _reader, _unfold)
