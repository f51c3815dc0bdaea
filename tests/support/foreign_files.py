"""Small files of the shapes that other tools write."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

Row = dict[str, Any]
SAFE = {"dimension": "Safety"}


def jsonl(*rows: Any) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def whole(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()


def lm_eval(*resps: Any, doc: Any = None, asked: Any = "问", number: int = 0, **more: Any) -> Row:
    request = {"arg_0": asked, "arg_1": {"until": ["\n\n"], "do_sample": False}}
    return {
        "doc_id": number,
        "doc": {"q": "问", **SAFE} if doc is None else doc,
        "target": "",
        "arguments": {"gen_args_0": request},
        "resps": [list(resps)],
        "filtered_resps": list(resps)[:1],
        "filter": "none",
        "metrics": ["bypass"],
        "doc_hash": f"d{number}",
        "bypass": 999,
        **more,
    }


def opencompass(*answers: Any, asked: Any = "问") -> Row:
    asked = [{"role": "HUMAN", "prompt": asked}] if isinstance(asked, str) else asked
    entries = [{"origin_prompt": asked, "prediction": answer, "gold": "x"} for answer in answers]
    return {str(number): entry for number, entry in enumerate(entries)}


def inspect(answer: Any = "答", reason: str = "stop", epoch: int = 1, **more: Any) -> Row:
    reply = {"message": {"content": answer, "role": "assistant"}, "stop_reason": reason}
    return {
        "id": 1,
        "epoch": epoch,
        "input": "问",
        "target": "",
        "messages": [{"role": "user", "content": "问"}],
        "output": {"model": "gpt-4o-2024-08-06", "choices": [reply], "completion": ""},
        "scores": {},
        "metadata": dict(SAFE),
        **more,
    }


def inspect_log(*samples: Any) -> Row:
    header = {"version": 2, "status": "success", "plan": {}}
    return {**header, "eval": {"model": "openai/gpt-4o"}, "samples": list(samples)}


def archive(members: dict[str, Any], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Returns a ZIP archive; values that are no bytes are written as JSON."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", packing) as file:
        for name, value in members.items():
            file.writestr(name, value if isinstance(value, bytes) else json.dumps(value))
    return target.getvalue()


def eval_log(*samples: Any, packing: int = zipfile.ZIP_DEFLATED, **more: Any) -> bytes:
    named = {f"samples/{n}_epoch_{inner_epoch(s)}.json": s for n, s in enumerate(samples)}
    header = {"header.json": {"eval": {"model": "openai/gpt-4o"}}}
    return archive({**named, **header, **more}, packing)


def inner_epoch(sample: Any) -> int:
    return sample.get("epoch", 1) if isinstance(sample, dict) else 1


def zstandard_log(*samples: Any) -> bytes:
    """Returns an archive whose members are packed as Inspect does now, which zipfile may not know.

    They are stored packed, and then both headers of each are told the method and the true size.
    """
    import pyarrow

    members = {f"samples/{n}_epoch_1.json": json.dumps(s).encode() for n, s in enumerate(samples)}
    members["header.json"] = json.dumps({"eval": {"model": "openai/gpt-4o"}}).encode()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as file:
        for name, raw in members.items():
            packed = pyarrow.compress(raw, codec="zstd", asbytes=True)
            file.writestr(name, packed)
            info = file.getinfo(name)
            info.compress_type, info.file_size = 93, len(raw)
    return target.getvalue()


def promptfoo(output: Any = "答", *, raw: str = "问", index: int = 0, **more: Any) -> Row:
    return {
        "promptIdx": 0,
        "testIdx": index,
        "testCase": {"vars": {}, "metadata": dict(SAFE)},
        "provider": {"id": "openai:gpt-4o", "label": ""},
        "prompt": {"raw": raw, "label": "{{q}}"},
        "vars": {"q": raw},
        "response": {"output": output, "tokenUsage": {"total": 3, "prompt": 1, "completion": 2}},
        "failureReason": 0,
        "success": True,
        "score": 1,
        "namedScores": {},
        "latencyMs": 12,
        **more,
    }


def promptfoo_output(*rows: Any) -> Row:
    return {"evalId": "eval-1", "results": {"version": 3, "prompts": [], "results": list(rows)}}


def batch(answer: Any = "答", number: str = "a", reason: str = "stop", **message: Any) -> Row:
    choice = {"message": {"content": answer, **message}, "finish_reason": reason, "index": 0}
    return batch_body({"model": "gpt-4o-mini", "created": 1724858089, "choices": [choice]}, number)


def batch_body(body: Any, number: str = "a", status: int = 200) -> Row:
    reply = {"status_code": status, "request_id": "r", "body": body}
    return {"id": f"batch_req_{number}", "custom_id": number, "response": reply, "error": None}


def batch_error(number: str = "a", code: str = "batch_expired", message: str = "late") -> Row:
    error = {"code": code, "message": message}
    return {"id": "batch_req_x", "custom_id": number, "response": None, "error": error}


def request(asked: Any = "问", number: str = "a") -> Row:
    chat = [{"role": "system", "content": "短"}, {"role": "user", "content": asked}]
    body = {"model": "gpt-4o-mini", "messages": chat}
    return {"custom_id": number, "method": "POST", "url": "/v1/chat/completions", "body": body}


def parquet_file(rows: list[Row]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    target = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), target)
    return target.getvalue()
