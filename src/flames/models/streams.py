"""Answers that come in pieces: server-sent events, put together to one answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from flames.finish_reasons import finish_word

_FIELD = re.compile(r"\s*(?:(?:data|event|id|retry)?:)")
_DONE = "[DONE]"
_PIECES = ("content", "reasoning_content", "reasoning", "refusal")


class BrokenStream(ValueError):
    """A stream ended, or became unreadable, before its answer did."""


def read_body(raw: bytes) -> Any:
    """Returns the JSON of a body; of a stream, one answer that is put together from its chunks.

    A body may also begin with comments that keep a connection alive, or end in `data: [DONE]`.
    ValueError (RecursionError) says that it is nothing of the kind.
    """
    try:
        return json.loads(raw, parse_constant=_none)
    except ValueError:
        text = raw.decode("utf-8-sig", "replace")
    if not _FIELD.match(text):
        return _without_end(text)
    bare = re.sub(r"\A(?:\s*:[^\r\n]*(?:[\r\n]+|\Z))+", "", text)
    return _without_end(bare) if bare.lstrip()[:1] == "{" else _joined(_chunks(text))


def _none(name: str) -> None:
    """Stands for NaN and Infinity, which JSON does not have."""


def _loads(text: str) -> Any:
    return json.loads(text, parse_constant=_none)


def _without_end(text: str) -> Any:
    text = text.lstrip()
    value, end = json.JSONDecoder(parse_constant=_none).raw_decode(text)
    if (rest := text[end:].strip()) and re.sub(r"\s", "", rest) != f"data:{_DONE}":
        raise ValueError(f"more behind the JSON: {rest[:40]!r}")
    return value


def _chunks(text: str) -> Iterator[Mapping[str, Any] | None]:
    """Yields the chunks of a stream, and None for its end mark."""
    for block in re.split(r"(?:\r\n|\r|\n){2,}", text):
        lines = [line.partition(":") for line in re.split(r"\r\n|\r|\n", block)]
        data = [value.removeprefix(" ") for name, _, value in lines if name.strip() == "data"]
        failed = any(name == "event" and value.strip() == "error" for name, _, value in lines)
        for chunk in _parsed([each for each in data if each.strip()]):
            if chunk is not None and not isinstance(chunk, Mapping):
                raise BrokenStream("the stream holds something that is no chunk")
            named = chunk is not None and "error" in chunk
            yield {"error": chunk} if failed and chunk is not None and not named else chunk


def _parsed(data: list[str]) -> list[Any]:
    """Parses one chunk per line, as servers send them, or one over several lines."""
    try:
        return [None if each.strip() == _DONE else _loads(each) for each in data]
    except ValueError:
        try:
            return [_loads("\n".join(data))]
        except ValueError:
            raise BrokenStream("the stream broke off inside a chunk") from None


def _joined(chunks: Iterator[Mapping[str, Any] | None]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    choice: dict[str, Any] = {}
    done = False
    try:
        for chunk in chunks:
            if chunk is None:
                done = True
                continue
            _merge_top(body, chunk)
            choices = chunk.get("choices")
            for each in choices if isinstance(choices, list) else ():
                if isinstance(each, Mapping) and each.get("index") in (0, None):
                    _merge_choice(choice, each)
    except BrokenStream:
        if not (finish_word(choice.get("finish_reason")) or body.get("error")):
            raise
    ended = done or finish_word(choice.get("finish_reason")) or choice.get("error")
    if not (ended or body.get("error") or body.get("base_resp")):
        raise BrokenStream("the stream broke off before the answer's end")
    calls = choice.get("message", {}).get("tool_calls")
    if calls:
        choice["message"]["tool_calls"] = [call for _, call in sorted(calls.items())]
    return {**body, "choices": [choice] if choice else []}


def _merge_top(body: dict[str, Any], chunk: Mapping[str, Any]) -> None:
    for name, value in chunk.items():
        if name == "choices" or value in (None, ""):
            continue
        if body.get(name) is not True:  # a mark of a filter is not taken back
            body[name] = value


def _merge_choice(choice: dict[str, Any], piece: Mapping[str, Any]) -> None:
    for name, value in piece.items():
        if name in ("finish_reason", "native_finish_reason"):
            if finish_word(value):
                choice[name] = value
        elif name == "text":
            choice[name] = choice.get(name, "") + (value if isinstance(value, str) else "")
        elif name == "message" and isinstance(value, Mapping) and value.get("content"):
            choice[name] = {**choice.get(name, {}), **value}  # the whole, behind its pieces
        elif name == "delta" and isinstance(value, Mapping):
            _merge_delta(choice.setdefault("message", {}), value)
        elif name not in ("message", "delta") and value is not None:
            choice[name] = value


def _merge_delta(message: dict[str, Any], delta: Mapping[str, Any]) -> None:
    for name in _PIECES:
        value, before = delta.get(name), message.get(name)
        if isinstance(value, str) and isinstance(before, str | None):
            message[name] = (before or "") + value
        elif isinstance(value, list):
            start = [before] if isinstance(before, str) and before else before or []
            message[name] = [*start, *value]
    calls = delta.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        if not isinstance(call, Mapping):
            continue
        index = call.get("index")
        known = message.setdefault("tool_calls", {})
        whole = known.setdefault(index if isinstance(index, int) else len(known), {"function": {}})
        said = call.get("function")
        for name, value in said.items() if isinstance(said, Mapping) else ():
            before = whole["function"].get(name)
            both = isinstance(before, str) and isinstance(value, str)
            whole["function"][name] = before + value if both else value or before
