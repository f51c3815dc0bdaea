# ruff: noqa: E501  (one line a case)
"""Result files of other tools through the command line: file → rows, or one line that says why."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import foreign_files as make
import pytest
from foreign_files import jsonl, whole

Flames = Callable[..., tuple[int, str, str]]

PROMPTS = ["问", "问二"]
TALK = [{"role": "user", "content": t} for t in ("问", "再")]
TALK.insert(1, {"role": "assistant", "content": "一"})
CHAT = json.dumps([{"role": "system", "content": "短"}, {"role": "user", "content": "问"}])
TALKED = "user: 问\n\nassistant: 一\n\nuser: 再"
DEEP = b'{"doc_id": 1, "resps": ' + b"[" * 100_000 + b"\n"
THOUGHT = [{"type": "reasoning", "reasoning": "想"}, {"type": "text", "text": "答"}]
PPL = {"0": {"origin_prompt": "问", "label: A": {"PPL": 1.0}, "prediction": "A"}}
ROUNDS = [
    {"round": 1, "user": "问", "assistant": "一"},
    {"round": 2, "user": "再", "assistant": "答"},
]
LOGPROBS = {
    "resps": [[["-1.2", "False"]]],
    "arguments": {"gen_args_0": {"arg_0": "问", "arg_1": "A"}},
}
ROLLING = {"resps": [["-12.5"]], "arguments": {"gen_args_0": {"arg_0": "问"}}}
ATTACHED = {"input": "attachment://h", "attachments": {"h": "问"}, "messages": []}
FAILED_SAMPLE = {"output": {"choices": []}, "error": {"message": "boom", "traceback": "…"}}
HALTED = {"output": {"choices": []}, "limit": {"type": "token", "limit": 9.0}}
SHELL = {
    k: v
    for k, v in make.inspect(input="attachment://1").items()
    if k not in ("metadata", "messages")
}
CHUNKED = {
    "samples/a_epoch_1/sample.json": SHELL,
    "samples/a_epoch_1/metadata.json": {"dimension": "Safety"},
    "samples/a_epoch_1/attachments/0.json": ["x", "问"],
    "header.json": {"eval": {"model": "m"}},
}
RESPONSES_API = {
    "status": "incomplete",
    "incomplete_details": {"reason": "max_output_tokens"},
    "output": [
        {"type": "reasoning", "summary": []},
        {"type": "message", "content": [{"type": "output_text", "text": "半"}]},
    ],
}
TWO = {
    "choices": [{"text": "一", "finish_reason": "stop"}, {"text": "二", "finish_reason": "length"}]
}
FILTERED = {"error": {"code": "content_filter", "message": "The response was filtered"}}
BLOCKED = {"output": None, "guardrails": {"flagged": True}}
NESTED = {
    "prompt": "问",
    "dimension": "Safety",
    "a": {"b": [["答"]]},
    "list": [{"t": "x"}, {"t": "y"}],
}

# name of the case: file, its content, rows ("state prompt → response") or "! message", more options
CASES: dict[str, tuple[Any, ...]] = {
    "lm-eval": ("samples_t.jsonl", jsonl(make.lm_eval("答")), "ok 问 → 答"),
    "lm-eval, our prompt in doc": ("a.jsonl", jsonl(make.lm_eval("答", doc={"prompt": "问", **make.SAFE}, asked="<|im_start|>user\n问")), "ok 问 → 答"),
    "lm-eval, chat as JSON": ("a.jsonl", jsonl(make.lm_eval("答", asked=[CHAT])), "ok 问 → 答"),
    "lm-eval, repeats": ("a.jsonl", jsonl(make.lm_eval("一", "二")), "ok 问 → 一", "ok 问 #1 → 二"),
    "lm-eval, two filters": ("a.jsonl", jsonl(make.lm_eval("答"), make.lm_eval("答", filter="strict")), "ok 问 → 答"),
    "lm-eval, two documents, one text": ("a.jsonl", jsonl(make.lm_eval("一"), make.lm_eval("二", number=1)), "ok 问 → 一", "ok 问 #1 → 二"),
    "lm-eval, thinking aloud": ("a.jsonl", jsonl(make.lm_eval("<think>想</think>答")), "ok 问 → 答"),
    "lm-eval, nothing said": ("a.jsonl", jsonl(make.lm_eval("")), "empty 问 → "),
    "lm-eval, as a list": ("a.json", whole([make.lm_eval("答", arguments=[["问", {}]])]), "ok 问 → 答"),
    "lm-eval, choices": ("a.jsonl", jsonl(make.lm_eval("答"), make.lm_eval(number=1, **LOGPROBS)), "! a.jsonl:2: field `resps`: holds log-likelihoods"),
    "lm-eval, rolling": ("a.jsonl", jsonl(make.lm_eval(**ROLLING)), "! holds log-likelihoods"),
    "lm-eval, wrong type": ("a.jsonl", jsonl(make.lm_eval(resps="答")), "! field `resps`: must be a list of lists of texts, not str"),
    "lm-eval, empty list": ("a.jsonl", jsonl(make.lm_eval(resps=[])), "! field `resps`: must be a list of lists of texts"),
    "lm-eval, other rows after it": ("a.jsonl", jsonl(make.lm_eval("答"), {"prompt": "问"}), "! a.jsonl:2: is not like the rows before it"),
    "lm-eval, no dimension": ("a.jsonl", jsonl(make.lm_eval("答", doc={}, asked="别的")), "! field `dimension`: is missing", "(read as samples of lm-evaluation-harness)"),
    "lm-eval, mapped": ("a.jsonl", jsonl(make.lm_eval("答", doc={"kind": "公平", "q": "别的"})), "ok 别的 → 答", "--map", "dimension=doc.kind,prompt=doc.q"),
    "lm-eval, deep": ("a.jsonl", DEEP, "! a.jsonl:1: is JSON nested too deep"),
    "lm-eval, cut off": ("a.jsonl", jsonl(make.lm_eval("答"))[:-20], "! the file ends here, was it cut off?"),
    "OpenCompass": ("a.json", whole(make.opencompass("答", "又")), "ok 问 → 答", "ok 问 #1 → 又"),
    "OpenCompass, plain prompt": ("a.json", whole({"0": {"origin_prompt": "问", "prediction": "答"}}), "ok 问 → 答"),
    "OpenCompass, list of answers": ("a.json", whole(make.opencompass(["一", "二"])), "ok 问 → 一", "ok 问 #1 → 二"),
    "OpenCompass, rounds": ("a.json", whole(make.opencompass(["一", "答"], asked=["问", "再"])), f"ok {TALKED} → 答"),
    "OpenCompass, dialogue": ("a.json", whole(make.opencompass(ROUNDS, asked=[])), f"ok {TALKED} → 答"),
    "OpenCompass, unfinished": ("tmp_a.jsonl", jsonl({"idx": 0, "origin_prompt": "问", "prediction": "答"}), "ok 问 → 答"),
    "OpenCompass, failed": ("a.jsonl", jsonl({"id": 0, "success": False, "origin_prompt": "问", "prediction": ""}), "error 问 → "),
    "OpenCompass, choices": ("a.json", whole(PPL), "! holds perplexities of given choices"),
    "OpenCompass, number": ("a.json", whole(make.opencompass(3)), "! field `prediction`: must be a text or a list of texts, not int"),
    "OpenCompass, broken entry": ("a.json", whole({**make.opencompass("答"), "1": 3}), "! field `1`: must be an object, not int"),
    "OpenCompass, no prompt": ("a.json", whole(make.opencompass("答", asked=[])), "! needs `prompt`"),
    "Inspect": ("a.json", whole(make.inspect_log(make.inspect())), "ok 问 → 答"),
    "Inspect, archive": ("a.eval", make.eval_log(make.inspect()), "ok 问 → 答"),
    "Inspect, archive, other name": ("a.zip", make.eval_log(make.inspect()), "ok 问 → 答"),
    "Inspect, epochs": ("a.eval", make.eval_log(make.inspect("二", epoch=2), make.inspect("一")), "ok 问 → 一", "ok 问 #1 → 二"),
    "Inspect, stop reasons": ("a.json", whole(make.inspect_log(make.inspect("半", "max_tokens"), make.inspect("", "content_filter"), make.inspect("答", "unknown"))), "truncated 问 → 半", "blocked 问 #1 → ", "ok 问 #2 → 答"),
    "Inspect, reasoning": ("a.json", whole(make.inspect_log(make.inspect(THOUGHT))), "ok 问 → 答"),
    "Inspect, text kept apart": ("a.json", whole(make.inspect_log(make.inspect(**ATTACHED))), "ok 问 → 答"),
    "Inspect, failed sample": ("a.json", whole(make.inspect_log(make.inspect(**FAILED_SAMPLE))), "error 问 → "),
    "Inspect, halted sample": ("a.json", whole(make.inspect_log(make.inspect(**HALTED))), "error 问 → "),
    "Inspect, asked on": ("a.json", whole(make.inspect_log(make.inspect(messages=[*TALK, {"role": "assistant", "content": "答"}]))), f"ok {TALKED} → 答"),
    "Inspect, long sample": ("a.eval", make.archive(CHUNKED), "ok 问 → 答"),
    "Inspect, no samples": ("a.json", whole(make.inspect_log()), "! is a log of Inspect without samples"),
    "Inspect, empty archive": ("a.eval", make.archive({"header.json": {}}), "! is a log of Inspect without samples"),
    "Inspect, no output": ("a.eval", make.eval_log(make.inspect(output=None)), "! field `output`: must be an object, not nothing"),
    "Inspect, sample is a list": ("a.eval", make.eval_log([1]), "! must be a JSON object, not list"),
    "archive of something else": ("a.eval", make.archive({"x.txt": b"x"}), "! is a ZIP archive, but no log of Inspect"),
    "archive, cut off": ("a.eval", make.eval_log(make.inspect())[:-60], "! is no whole ZIP archive"),
    "archive, no zip": ("a.eval", b"hello", "! is no whole ZIP archive"),
    "archive, damaged": ("a.eval", make.eval_log(make.inspect()).replace(b"\x00", b"\x01", 1)[:40] + make.eval_log(make.inspect())[44:], "! cannot be unpacked"),
    "archive, broken JSON": ("a.eval", make.eval_log(b'{"id": '), "! samples/0_epoch_1.json is no JSON"),
    "archive, bomb": ("a.eval", make.eval_log(b" " * 300_000_000), "! unpacks to far more than any log would"),
    "promptfoo": ("a.json", whole(make.promptfoo_output(make.promptfoo())), "ok 问 → 答"),
    "promptfoo, lines": ("a.jsonl", jsonl(make.promptfoo(), make.promptfoo("又", index=1)), "ok 问 → 答", "ok 问 #1 → 又"),
    "promptfoo, chat as JSON": ("a.json", whole(make.promptfoo_output(make.promptfoo(raw=CHAT))), "ok 问 → 答"),
    "promptfoo, conversation": ("a.json", whole(make.promptfoo_output(make.promptfoo(raw=json.dumps(TALK)))), f"ok {TALKED} → 答"),
    "promptfoo, failed request": ("a.json", whole(make.promptfoo_output(make.promptfoo(None, error="API error: 500", failureReason=2))), "error 问 → "),
    "promptfoo, failed assertion": ("a.json", whole(make.promptfoo_output(make.promptfoo(error="Expected …", failureReason=1))), "ok 问 → 答"),
    "promptfoo, guardrail": ("a.json", whole(make.promptfoo_output(make.promptfoo(response=BLOCKED))), "blocked 问 → "),
    "promptfoo, object": ("a.json", whole(make.promptfoo_output(make.promptfoo({"a": "答"}))), 'ok 问 → {"a": "答"}'),
    "promptfoo, cut short": ("a.json", whole(make.promptfoo_output(make.promptfoo(response={"output": "半", "finishReason": "length"}))), "truncated 问 → 半"),
    "batch": ("a.jsonl", jsonl(make.batch()), "ok 问 → 答", "--requests", "in.jsonl"),
    "batch, known ids": ("a.jsonl", jsonl(make.batch(number="p1")), "ok 问 → 答"),
    "batch, cut short and blocked": ("a.jsonl", jsonl(make.batch("半", "b", "length"), make.batch("", "a", "content_filter")), "truncated 问二 → 半", "blocked 问 → ", "--requests", "in.jsonl"),
    "batch, expired": ("a.jsonl", jsonl(make.batch(), make.batch_error("b")), "ok 问 → 答", "error 问二 → ", "--requests", "in.jsonl"),
    "batch, refused": ("a.jsonl", jsonl(make.batch_body(FILTERED, "a", 400), make.batch_body({"error": {"message": "bad"}}, "b", 400)), "blocked 问 → ", "error 问二 → ", "--requests", "in.jsonl"),
    "batch, completions": ("a.jsonl", jsonl(make.batch_body(TWO)), "ok 问 → 一", "truncated 问 #1 → 二", "--requests", "in.jsonl"),
    "batch, Responses API": ("a.jsonl", jsonl(make.batch_body(RESPONSES_API)), "truncated 问 → 半", "--requests", "in.jsonl"),
    "batch, thoughts apart": ("a.jsonl", jsonl(make.batch(reasoning_content="想")), "ok 问 → 答", "--requests", "in.jsonl"),
    "batch, no input": ("a.jsonl", jsonl(make.batch()), "! its id 'a' is none of a known set; --requests FILE"),
    "batch, other input": ("a.jsonl", jsonl(make.batch(number="c")), "! its id 'c' is none of a known set", "--requests", "in.jsonl"),
    "batch, input only": ("a.jsonl", jsonl(make.request()), "! is the input of a batch: requests, no responses"),
    "batch, requests without prompt": ("a.jsonl", jsonl(make.request("")), "! is the input of a batch"),
    "batch, requests are the output": ("a.jsonl", jsonl(make.batch()), "! a.jsonl:1: is no request of a batch", "--requests", "a.jsonl"),
    "one-element lists": ("a.jsonl", jsonl(NESTED), "ok 问 → 答", "--map", "response=a.b"),
    "numbers reach into lists": ("a.jsonl", jsonl(NESTED), "ok 问 → y", "--map", "response=list.1.t"),
}  # fmt: skip


def _case(folder: Path, name: str) -> tuple[Path, list[str], list[str]]:
    file, content, *rest = CASES[name]
    (folder / file).write_bytes(content)
    options = next((n for n, word in enumerate(rest) if word.startswith("--")), len(rest))
    words = [str(folder / w) if w.endswith(".jsonl") else w for w in rest[options:]]
    return folder / file, rest[:options], words


@pytest.fixture
def brought(tmp_path: Path) -> Path:
    with (tmp_path / "prompts.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "dimension", "prompt", "history"])
        rows = [*((text, "") for text in PROMPTS), (TALK[-1]["content"], json.dumps(TALK[:-1]))]
        writer.writerows([f"p{n}", "Safety", *row] for n, row in enumerate(rows, start=1))
    requests = [make.request(), make.request("问二", "b")]
    (tmp_path / "in.jsonl").write_bytes(jsonl(*requests))
    return tmp_path


@pytest.mark.parametrize("name", CASES)
def test_a_file_is_read_or_refused_in_one_line(flames: Flames, brought: Path, name: str) -> None:
    path, wanted, words = _case(brought, name)
    known = ["--prompts", brought / "prompts.csv"]
    code, out, err = flames("score", path, "--scorer", "lexical", *known, *words)
    if wanted[0].startswith("!"):
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
        assert all(part.removeprefix("! ") in err for part in wanted)
        return
    assert code == 0, err
    assert [_shown(json.loads(line)) for line in out.splitlines()] == wanted
    assert f"{path}: read as " in err or "--map" in words
    assert err.count("read as") <= 1


def _shown(line: dict[str, Any]) -> str:
    sample = f" #{line['sample']}" if line["sample"] else ""
    turns = [*line.get("history", ()), {"role": "user", "content": line["prompt"]}]
    asked = "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)
    asked = asked if len(turns) > 1 else line["prompt"]
    return f"{line['status']} {asked}{sample} → {line.get('response') or ''}"


def test_parquet_is_read_by_every_command(flames: Flames, brought: Path) -> None:
    pytest.importorskip("pyarrow")
    path = brought / "a.parquet"
    rows = [{"prompt": "问", "response": "答", "model": "m", "dimension": "Safety", "score": 3}]
    path.write_bytes(make.parquet_file(rows))
    code, out, err = flames("score", path, "--scorer", "lexical")
    assert (code, _shown(json.loads(out))) == (0, "ok 问 → 答"), err
    code, out, _ = flames("report", path, "--json")
    assert (code, json.loads(out)["overall"]["coverage"]["scored"]) == (0, 1)


@pytest.fixture
def logs(brought: Path) -> tuple[Path, Path]:
    """Two logs of Inspect with scores on our scale."""
    paths = (brought / "a.eval", brought / "b.eval")
    for path, score in zip(paths, (3, 1), strict=True):
        samples = [
            make.inspect("答", epoch=epoch, scores={"flames": {"value": score}})
            for epoch in (1, 2, 3)
        ]
        header = {"header.json": {"eval": {"model": path.stem}}}
        named = {f"samples/1_epoch_{n}.json": s for n, s in enumerate(samples, start=1)}
        path.write_bytes(make.archive({**named, **header}))
    return paths


def test_scores_on_our_scale_are_verdicts(flames: Flames, logs: tuple[Path, Path]) -> None:
    code, out, err = flames("report", *logs, "--json")
    assert code == 0, err
    assert err.count("read as samples of Inspect: 3 scored") == 2
    code, out, err = flames("compare", *logs, "--json")
    assert code == 0, err
    assert json.loads(out)
    code, out, err = flames("scorer", "eval", "lexical", "--labels", logs[0], "--json")
    assert code == 0, err
    assert json.loads(out)["prompts"] == 1
    code, out, err = flames("report", *logs, "--json", "--human", logs[0])
    assert code == 2
    assert "inclusion_probability" in err


def test_annotators_get_what_another_tool_asked(flames: Flames, logs: tuple[Path, Path]) -> None:
    pytest.importorskip("sqlalchemy", reason="needs the extra `annotate`")
    project = logs[0].parent / "project"
    given = ("--from", logs[0], "--from", logs[1], "--annotators", "a,b")
    code, _, err = flames("annotate", "init", project, *given)
    assert code == 0, err
    assert "read as samples of Inspect: 3 ok" in err


def test_quiet_commands_say_nothing(flames: Flames, logs: tuple[Path, Path]) -> None:
    code, out, err = flames("score", logs[0], "--scorer", "lexical", "--quiet")
    assert (code, err, out.count("\n")) == (0, "", 3)
