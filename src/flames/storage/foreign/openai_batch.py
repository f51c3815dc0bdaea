"""Files of OpenAI's Batch API and of what speaks its format (`vllm run-batch`, DashScope, …)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flames.errors import InputError
from flames.finish_reasons import finish_word
from flames.storage.foreign.shape import (
    Fields,
    Format,
    Reader,
    asked,
    day,
    failed,
    inner,
    kept,
    text_at,
)
from flames.thinking import split_parts


@dataclass(frozen=True)
class Outcome:
    """One line of a batch's output: an HTTP answer with its body, or what went wrong."""

    custom_id: str
    status: int | None
    body: Fields
    error: Any

    @property
    def failed(self) -> bool:
        """Whether the line tells of a failure."""
        return bool(self.error) or (self.status is not None and self.status >= 400)


def is_outcome(row: Fields) -> bool:
    """Tells whether a row is a line of a batch's output."""
    return "custom_id" in row and bool({"response", "error"} & row.keys())


def outcome_of(row: Fields) -> Outcome:
    """Reads a line of a batch's output."""
    reply = row.get("response")
    body = inner(reply, "body")
    body = reply if body is None and inner(reply, "choices") else body  # some leave the wrapper out
    status = inner(reply, "status_code")
    return Outcome(
        custom_id=str(row["custom_id"]),
        status=status if isinstance(status, int) else None,
        body=body if isinstance(body, Mapping) else {},
        error=row.get("error") or inner(body, "error"),
    )


def request_row(custom_id: str, url: str, body: Fields) -> dict[str, Any]:
    """Returns the line of a batch's input that asks for `body` at `url`."""
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body}


def _reader(path: str) -> Reader:
    return _read


def _read(row: Fields) -> Iterator[dict[str, Any]]:
    found = outcome_of(row)
    named, body = {"id": found.custom_id}, found.body
    answers = list(_answers(body))
    if found.failed or not answers:
        status = f"HTTP status {found.status}" if found.status else "the reply holds no answer"
        yield {**named, **failed(found.error or body or status)}
        return
    for answer in answers:
        yield {**named, **_details(body), **answer}


def _details(body: Fields) -> dict[str, Any]:
    fields: dict[str, Any] = {**kept(body, ["model"]), **day(inner(body, "created"))}
    if isinstance(usage := body.get("usage"), Mapping):
        fields["usage"] = kept(usage, [str(name) for name in usage])
    return fields


def _answers(body: Fields) -> Iterator[dict[str, Any]]:
    """Yields the answers of a chat completion, a completion, or the Responses API."""
    choices, output = body.get("choices"), body.get("output")
    for choice in choices if isinstance(choices, list) else ():
        message = inner(choice, "message")
        content = inner(message, "content") if message else inner(choice, "text")
        thought = text_at(message, "reasoning_content") or text_at(message, "reasoning")
        yield _answer(
            content or inner(message, "refusal"),
            thought,
            finish_word(inner(choice, "finish_reason")),
        )
    if isinstance(output, list) and not choices:
        spoken = [item for item in output if inner(item, "type") == "message"]
        texts = [split_parts(inner(item, "content"))[0] for item in spoken]
        ending = text_at(body, "incomplete_details", "reason") or text_at(body, "status")
        yield _answer("".join(texts), None, ending)


def _answer(content: Any, thought: str | None, ending: str | None) -> dict[str, Any]:
    text, inside = split_parts(content)
    thoughts = "\n".join(filter(None, [thought, inside]))
    fields = {"finish_reason": ending, "reasoning": thoughts}
    return {"response": text, **{name: value for name, value in fields.items() if value}}


def is_request(row: Fields) -> bool:
    """Tells whether a row is a line of a batch's input."""
    return {"custom_id", "body"} <= row.keys() and "response" not in row


def _no_answers(path: str) -> Reader:
    raise InputError(
        "is the input of a batch: requests, no responses; give the output, and this file with "
        "--requests"
    )


def requests_by_id(rows: Iterable[tuple[int, Fields]]) -> dict[str, dict[str, Any]]:
    """Returns what a batch input asked, by `custom_id`: `prompt`, `history` and `system`."""
    found: dict[str, dict[str, Any]] = {}
    for line, row in rows:
        if not is_request(row):
            message = "is no request of a batch: `custom_id` and `body` are missing"
            raise InputError(message, line=line)
        body, name = row["body"], str(row["custom_id"])
        messages = inner(body, "messages") or inner(body, "input") or inner(body, "prompt")
        question = asked(messages)
        if name in found:
            raise InputError(f"{name!r} is the custom_id of an earlier request too", line=line)
        if "prompt" not in question:
            raise InputError(f"the request {name!r} holds no prompt", line=line)
        found[name] = {**question, **_instructions(body)}
    return found


def _instructions(body: Any) -> dict[str, str]:
    text = text_at(body, "instructions")
    return {"system": text} if text else {}


BATCH_OUTPUT = Format("output of an OpenAI batch", is_outcome, _reader)
BATCH_INPUT = Format("input of an OpenAI batch", is_request, _no_answers)
