"""The JSON and JSONL output of promptfoo (`promptfoo eval --output results.json`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from flames.storage.foreign.shape import (
    Fields,
    Format,
    Reader,
    asked,
    failed,
    inner,
    kept,
    placed,
    scored,
    text_at,
)
from flames.thinking import split_parts

_FAILED = 2  # `failureReason` where no answer came; 1 is an assertion that failed


def _fits(row: Fields) -> bool:
    numbered = bool({"promptIdx", "testIdx"} & row.keys())
    return numbered and "prompt" in row and bool({"response", "error", "output"} & row.keys())


def _unfold(document: Fields) -> list[Any] | None:
    results = document.get("results")
    rows = results.get("results") if isinstance(results, Mapping) else results
    if not isinstance(rows, list) or not rows or not isinstance(rows[0], Mapping):
        return None
    return rows if _fits(rows[0]) else None


def _reader(path: str) -> Reader:
    return _read


def _read(row: Fields) -> Iterator[dict[str, Any]]:
    reply = row.get("response")
    model = text_at(row, "provider", "label") or text_at(row, "provider", "id")
    sent = text_at(row, "metadata", "redteamFinalPrompt")
    sent = sent or text_at(reply, "metadata", "redteamFinalPrompt")
    fields: dict[str, Any] = {
        **placed(inner(row, "testCase", "metadata"), row.get("vars"), row.get("metadata")),
        **asked(sent or text_at(row, "prompt", "raw") or row["prompt"]),
        **kept(row, ["testIdx", "promptIdx"]),
        **_scores(row),
    }
    if model or (model := text_at(row, "provider")):
        fields["model"] = model
    if isinstance(wait := row.get("latencyMs"), int | float) and wait >= 0:
        fields["latency_s"] = wait / 1000
    if reason := text_at(reply, "finishReason"):
        fields["finish_reason"] = reason
    if usage := inner(reply, "tokenUsage"):
        counts = {
            f"{name}_tokens": inner(usage, name) for name in ("prompt", "completion", "total")
        }
        fields["usage"] = kept(counts, list(counts))
    yield {**fields, **_answer(row, reply)}


def _answer(row: Fields, reply: Any) -> dict[str, Any]:
    output = reply if isinstance(reply, str) else inner(reply, "output")
    output = row.get("output") if output is None else output
    if inner(reply, "guardrails", "flagged") is True and not output:
        return {"response": None, "finish_reason": "content_filter"}
    error = inner(reply, "error")
    if row.get("failureReason") == _FAILED or output is None:
        error = error or row.get("error")
    if error and not output:
        return failed(error)
    if isinstance(output, list):
        text, thoughts = split_parts(output)
        if text:
            return {"response": text, **({"reasoning": thoughts} if thoughts else {})}
    if output is None or isinstance(output, str):
        return {"response": output}
    try:
        return {"response": json.dumps(output, ensure_ascii=False)}
    except TypeError:  # it holds a number that is none, which the reader refuses
        return {"response": output}


def _scores(row: Fields) -> dict[str, Any]:
    named = row.get("namedScores")
    reasons = {}
    parts = inner(row, "gradingResult", "componentResults")
    for part in parts if isinstance(parts, list) else ():
        reasons[text_at(part, "assertion", "metric") or ""] = inner(part, "reason")
    values = {"score": row.get("score"), **(named if isinstance(named, Mapping) else {})}
    return scored(values, reasons)


PROMPTFOO = Format("results of promptfoo", _fits, _reader, _unfold)
