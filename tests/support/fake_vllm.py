"""Stands in for `vllm run-batch`: reads and writes the files that vLLM documents, without a model.

A request of more than 200 characters is answered as vLLM answers one that is longer than the
model's context. `[die]` in a prompt ends it with exit code 1 after half a line; with `[hang]` it
waits for ever after a byte to the pipe FAKE_VLLM_HANGS, where that is set. Each custom_id is added
to FAKE_VLLM_LOG.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import uuid
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["run-batch"])
    for names in (["-i", "--input-file"], ["-o", "--output-file"], ["--model"]):
        parser.add_argument(*names, required=True)
    parser.add_argument("--served-model-name")
    parser.add_argument("--max-model-len", type=int)
    parser.add_argument("--enforce-eager", action="store_true")
    given = parser.parse_args()
    assert Path(given.model, "config.json").is_file()
    with open(given.input_file, encoding="utf-8") as file:
        requests = [json.loads(line) for line in file]
    with (
        open(given.output_file, "w", encoding="utf-8") as results,
        open(os.environ["FAKE_VLLM_LOG"], "a", encoding="utf-8") as log,
    ):
        for request in requests:
            assert set(request) == {"custom_id", "method", "url", "body"}
            assert (request["method"], request["url"]) == ("POST", "/v1/chat/completions")
            assert request["body"]["model"] == (given.served_model_name or given.model)
            text = request["body"]["messages"][-1]["content"]
            if "[die]" in text:
                results.write('{"id": "vllm-')
                results.flush()
                sys.exit("CUDA out of memory")
            if "[hang]" in text and (hangs := os.environ.get("FAKE_VLLM_HANGS")):
                with open(hangs, "wb") as pipe:
                    pipe.write(b".")
                threading.Event().wait()
            print(request["custom_id"], file=log, flush=True)
            results.write(json.dumps(answer(request, text)) + "\n")
            results.flush()


def answer(request: dict[str, Any], text: str) -> dict[str, Any]:
    data: dict[str, Any] = {"status_code": 200, "request_id": f"vllm-batch-{uuid.uuid4().hex}"}
    error = None
    if len(text) > 200:
        said = f"This model's maximum context length is 200 tokens. You requested {len(text)}."
        data |= {"status_code": 400, "body": None}
        error = {"error": {"message": said, "type": "BadRequestError", "param": None, "code": 400}}
    else:
        message = {"role": "assistant", "content": f"答：{text}", "reasoning": "想一想"}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop",
                  "stop_reason": None}  # fmt: skip
        usage = {"prompt_tokens": len(text), "completion_tokens": 5, "total_tokens": len(text) + 5}
        data["body"] = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1764000000,
                        "model": request["body"]["model"], "choices": [choice], "usage": usage,
                        "prompt_logprobs": None}  # fmt: skip
    return {"id": f"vllm-{uuid.uuid4().hex}", "custom_id": request["custom_id"],
            "response": data, "error": error}  # fmt: skip


if __name__ == "__main__":
    main()
