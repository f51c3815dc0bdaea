"""Asking by batches, against a batch server on loopback that misbehaves on demand."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from batch_endpoint import BatchEndpoint

from flames.collect import ask as asking
from flames.collect.ask import Asked, collect
from flames.collect.batch import BatchAsking, asking_by
from flames.collect.limits import BudgetSpent
from flames.collect.plan import make_plan
from flames.collect.settings import AskSettings, BatchOptions
from flames.errors import UsageError
from flames.models.base import EndpointUnusable, Sampling
from flames.models.batches import BatchClient
from flames.models.load import ModelOptions
from flames.models.providers import PRESETS, BatchTerms
from flames.storage.run_batches import BatchLog, batch_log, custom_id, in_batches
from flames.storage.run_dir import RunDir, open_run

SETTINGS = AskSettings(backoff_s=0.01, retries=3)


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BatchEndpoint]:
    endpoint = BatchEndpoint(tmp_path_factory.mktemp("server"))
    yield endpoint
    endpoint.stop()


@pytest.fixture
def server(endpoint: BatchEndpoint) -> BatchEndpoint:
    endpoint.reset()
    return endpoint


def write_prompts(folder: Path, texts: list[str]) -> Path:
    rows = ({"dimension": "Safety", "prompt": text} for text in texts)
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


class Batches:
    """One run, asked by batches again and again."""

    def __init__(self, server: BatchEndpoint, folder: Path, texts: list[str]) -> None:
        self.server, self.out, self.texts = server, folder / "run", texts
        self.prompts = write_prompts(folder, texts)
        self.said: list[str] = []
        self.settle_s = 0.0

    def session(
        self,
        *,
        settings: AskSettings = SETTINGS,
        terms: BatchTerms | None = None,
        sampling: Sampling | None = None,
        wait: bool = False,
        batch: bool = True,
        accept_changes: bool = False,
    ) -> Asked:
        options = BatchOptions(
            batch=batch, wait=wait, settle_s=self.settle_s, poll_s=0.01, say=self.said.append
        )
        plan = make_plan(
            "m",
            self.prompts,
            options=ModelOptions(base_url=self.server.url, timeout=60),
            sampling=sampling,
        )
        by = asking_by(plan, options)
        if terms is not None:
            by = lambda *given: BatchAsking(*given, terms=terms, options=options)  # noqa: E731
        return collect(
            plan,
            self.out,
            resume=True,
            accept_changes=accept_changes,
            settings=settings,
            asking_by=by,
        )

    @property
    def run(self) -> RunDir:
        return open_run(self.out)

    def statuses(self) -> dict[str, str]:
        return {str(r.prompt): r.status for r in self.run.responses()}

    def journal(self) -> Counter[tuple[str, str]]:
        """How often each prompt stands in the journal, by its status."""
        rows = map(json.loads, self.run.responses_path.read_text("utf-8").splitlines())
        return Counter((row["prompt"], row["status"]) for row in rows)


@pytest.fixture
def batches(server: BatchEndpoint, tmp_path: Path) -> Callable[..., Batches]:
    def make(texts: list[str] | None = None) -> Batches:
        return Batches(server, tmp_path, texts or [f"提示{n}" for n in range(6)])

    return make


EXPECTED = {
    "": "ok",
    "400": "error",
    "429": "error",
    "500": "error",
    "filter": "blocked",
    "filtered": "blocked",
    "cut": "truncated",
    "empty": "empty",
    "null": "empty",
    "think": "ok",
    "thinking": "truncated in thought",
    "reasoning": "ok",
}


def test_a_batch_is_sent_left_and_collected(batches: Callable[..., Batches]) -> None:
    texts = {f"提示{n} [{mark}]": mark for n, mark in enumerate(EXPECTED)}
    run = batches(list(texts))
    run.server.control(looks=1)
    sent = run.session(sampling=Sampling(max_tokens=50))
    assert (sent.failure(), sent.state.in_batches) == (None, len(texts))
    assert run.run.manifest.sessions[-1].outcome == "waits for batches"
    early = run.session(sampling=Sampling(max_tokens=50))
    assert (early.failure(), early.state.done) == (None, 0)
    assert any("in_progress, 8 of 12 answered" in line for line in run.said)
    done = run.session(sampling=Sampling(max_tokens=50))
    assert run.statuses() == {text: EXPECTED[mark] for text, mark in texts.items()}
    assert done.state.in_batches == 0
    assert str(done.failure()).startswith("3 of 12 responses ended in an error")
    assert set(run.server.paid.values()) == {1}
    for response in run.run.responses():
        assert (response.extra["batch"], response.attempts) == ("batch_1", 1)
        assert response.sampling == {"max_tokens": 50}
    assert run.run.manifest.sessions[-1].batches == ("batch_1",)
    assert [session.requests for session in run.run.manifest.sessions] == [12, 0, 0]


def test_errors_are_sent_again_by_the_next_session_only(batches: Callable[..., Batches]) -> None:
    run = batches(["提示0", "提示1 [500]"])
    run.session()
    run.session()
    assert len(run.server.state()["batches"]) == 1
    run.session(wait=True)
    assert len(run.server.state()["batches"]) == 2
    assert run.journal() == {("提示0", "ok"): 1, ("提示1 [500]", "error"): 2}
    assert run.server.paid == {"提示0": 1}


def test_a_batch_may_be_waited_for(batches: Callable[..., Batches]) -> None:
    run = batches()
    run.server.control(looks=4, reversed=True)
    assert run.session(wait=True).failure() is None
    assert set(run.statuses().values()) == {"ok"}


def test_a_batch_with_nothing_but_errors_is_collected(batches: Callable[..., Batches]) -> None:
    run = batches(["一 [400]", "二 [filter]"])
    run.session(wait=True)
    assert run.statuses() == {"一 [400]": "error", "二 [filter]": "blocked"}
    assert not run.server.paid


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("end", ["expired", "cancelled"])
def test_paid_answers_of_a_batch_that_ended_early_are_kept(
    batches: Callable[..., Batches], end: str, silent: bool
) -> None:
    run = batches()
    run.server.control(end=end, answered=2, silent=silent)
    run.session(wait=True)
    assert Counter(run.statuses().values()) == {"ok": 2, "error": 4}
    run.server.control()
    assert run.session(wait=True).failure() is None
    assert run.server.paid == dict.fromkeys(run.texts, 1)
    assert len(list(run.run.responses())) == 6


def test_lines_that_nobody_asked_are_counted_and_told(batches: Callable[..., Batches]) -> None:
    run = batches()
    extra = [
        {"custom_id": "flames-foreign-0", "response": {"status_code": 200, "body": {}}},
        {"custom_id": "<b>=1+1</b>", "error": {"message": "no"}},
        {"id": "no result"},
    ]
    run.server.control(extra=extra)
    assert run.session(wait=True).failure() is None
    told = "\n".join(run.said)
    assert "2 lines (flames-foreign-0 and <b>=1+1</b>) with a custom_id that this run did" in told
    assert "1 lines that are no results" in told


def test_of_two_answers_the_first_counts_and_one_line_tells(
    batches: Callable[..., Batches],
) -> None:
    run = batches(["提示0"])
    run.server.control(looks=1)
    run.session()
    [key] = in_batches(run.run)
    other = {"choices": [{"message": {"content": "另一个"}, "finish_reason": "stop"}]}
    twice = {"custom_id": custom_id(key), "response": {"status_code": 200, "body": other}}
    state = run.server.state()
    file = state["batches"]["batch_1"]["output_file_id"]
    run.server.control(rewrite={file: state["files"][file]["content"] + json.dumps(twice) + "\n"})
    assert run.session(wait=True).failure() is None
    [response] = run.run.responses()
    assert response.response != "另一个"
    assert any("answered twice; the first answer counts" in line for line in run.said)


def test_an_answer_counts_before_an_error(batches: Callable[..., Batches]) -> None:
    run = batches(["提示0"])
    run.server.control(looks=1)
    run.session()
    [key] = in_batches(run.run)
    failed = json.dumps({"custom_id": custom_id(key), "error": {"code": "x", "message": "no"}})
    state = run.server.state()
    file = state["batches"]["batch_1"]["output_file_id"]
    run.server.control(rewrite={file: failed + "\n" + state["files"][file]["content"]})
    run.session(wait=True)
    assert set(run.statuses().values()) == {"ok"}


def test_a_refused_file_is_told_line_by_line_and_pays_nothing(
    batches: Callable[..., Batches],
) -> None:
    run = batches()
    errors = [{"code": "invalid_model", "message": f"bad {n}", "line": n} for n in range(1, 6)]
    run.server.control(end="failed", errors=errors)
    stopped = run.session(wait=True).stopped
    assert "batch_1: was refused, nothing was asked: line 1: bad 1 (invalid_model)" in str(stopped)
    assert "(and 2 more)" in str(stopped)
    assert run.statuses() == {}
    run.server.control()
    assert run.session(wait=True).failure() is None
    assert run.server.paid == dict.fromkeys(run.texts, 1)


@pytest.mark.parametrize("no_bytes", [False, True])
@pytest.mark.parametrize("fault", ["cut", "half", "line"])
def test_a_file_that_comes_in_parts_is_fetched_again(
    batches: Callable[..., Batches], fault: str, no_bytes: bool
) -> None:
    run = batches()
    run.server.control(content=[fault, fault], no_bytes=no_bytes, looks=0)
    if fault == "line":  # the same bytes twice are taken for all that there is
        run.server.control(content=[fault], no_bytes=no_bytes)
    assert run.session(wait=True).failure() is None
    assert run.journal() == {(text, "ok"): 1 for text in run.texts}


def test_a_file_that_never_comes_whole_leaves_the_batch_open(
    batches: Callable[..., Batches],
) -> None:
    run = batches()
    run.session()
    run.server.control(content=["half"] * 9)
    assert "the last line of the file file-2 is torn" in str(run.session().stopped)
    assert run.journal() == {}
    assert len(in_batches(run.run)) == 6
    run.server.control()
    assert run.session().failure() is None
    assert run.server.paid == dict.fromkeys(run.texts, 1)


@pytest.mark.parametrize("fault", ["lose", "drop", "500", "429"])
def test_a_batch_of_unknown_fate_is_looked_for_before_another_is_made(
    batches: Callable[..., Batches], fault: str
) -> None:
    run = batches()
    run.server.control(create=[fault])
    assert run.session(wait=True).failure() is None
    assert run.server.paid == dict.fromkeys(run.texts, 1)
    assert len(run.server.state()["batches"]) == 1


def test_a_batch_that_is_listed_late_is_waited_for(batches: Callable[..., Batches]) -> None:
    run = batches()
    run.server.control(create=["lose"], late=1)
    run.settle_s = 0.2
    assert run.session(wait=True).failure() is None
    assert run.server.paid == dict.fromkeys(run.texts, 1)
    assert any(line.startswith("looks again in 0 s whether the batch of") for line in run.said)


def test_an_endpoint_that_lists_nothing_is_not_paid_again(batches: Callable[..., Batches]) -> None:
    run = batches()
    run.server.control(create=["lose"], no_list=True)
    stopped = str(run.session(wait=True).stopped)
    assert "was created is not known, as the endpoint lists none" in stopped
    assert "delete the lines of that file with `creating`" in stopped
    run.session(wait=True)
    assert run.server.paid == dict.fromkeys(run.texts, 1)


def test_a_refusal_to_create_a_batch_frees_its_requests(batches: Callable[..., Batches]) -> None:
    run = batches()
    run.server.control(rejected=[403, "You may not"])
    refused = run.session()
    assert isinstance(refused.stopped, EndpointUnusable)
    assert refused.state.requests == 0
    assert in_batches(run.run) == {}
    run.server.control()
    assert run.session(wait=True).failure() is None
    assert run.server.paid == dict.fromkeys(run.texts, 1)


def test_files_keep_to_the_limits_of_the_provider(batches: Callable[..., Batches]) -> None:
    run = batches()
    run.server.control(limits={"lines": 2})
    run.session(wait=True, terms=BatchTerms(lines=2))
    state = run.server.state()
    assert len(state["batches"]) == 3
    assert run.server.paid == dict.fromkeys(run.texts, 1)
    names = [file["filename"] for file in state["files"].values() if "flames" in file["filename"]]
    assert len(set(names)) == 3


def test_files_keep_to_a_size(batches: Callable[..., Batches]) -> None:
    run = batches()
    run.session(wait=True, terms=BatchTerms(megabytes=0.0004))
    state = run.server.state()
    sizes = [len(f["content"]) for f in state["files"].values() if "flames" in f["filename"]]
    assert len(sizes) > 1
    assert max(sizes) <= 400
    assert run.server.paid == dict.fromkeys(run.texts, 1)


def test_a_request_that_no_file_takes_is_refused_before_anything_is_sent(
    batches: Callable[..., Batches],
) -> None:
    run = batches(["短", "长" * 100])
    with pytest.raises(UsageError, match=r"more than the 0\.0003 MB that a batch takes"):
        run.session(terms=BatchTerms(line_megabytes=0.0003))
    assert run.server.state()["files"] == {}


def test_a_budget_of_requests_holds_with_batches(batches: Callable[..., Batches]) -> None:
    run = batches()
    few = replace(SETTINGS, max_requests=4)
    run.server.control(looks=2)
    assert isinstance(run.session(settings=few).stopped, BudgetSpent)
    assert run.server.paid.total() == 4
    assert isinstance(run.session(settings=few).stopped, BudgetSpent)
    run.session(settings=few, wait=True)
    assert run.server.paid.total() == 4
    run.session(wait=True)
    assert run.server.paid == dict.fromkeys(run.texts, 1)


def test_a_budget_of_money_holds_by_the_estimate(batches: Callable[..., Batches]) -> None:
    run = batches()
    priced = replace(SETTINGS, price_in=1.0, price_out=1000.0)
    some = replace(priced, max_cost=0.16)  # 0.05 a prompt, by --max-tokens
    sampling = Sampling(max_tokens=50)
    run.server.control(looks=2)
    assert isinstance(run.session(settings=some, sampling=sampling).stopped, BudgetSpent)
    assert run.server.paid.total() == 3
    assert any("costs count the prices as given" in line for line in run.said)
    assert isinstance(run.session(settings=some, sampling=sampling).stopped, BudgetSpent)
    assert run.server.paid.total() == 3
    done = run.session(settings=priced, sampling=sampling, wait=True)
    assert done.state.cost == pytest.approx(6 * (20 + 30_000) / 1e6)


def test_the_ordinary_lane_asks_nothing_that_is_in_a_batch(
    batches: Callable[..., Batches], chat_server: Callable[..., Any]
) -> None:
    run = batches()
    run.server.control(looks=1)
    run.session(settings=replace(SETTINGS, max_requests=4))
    chat = chat_server()
    plan = make_plan("m", run.prompts, options=ModelOptions(base_url=chat.url))
    with pytest.warns(UserWarning, match="the model is elsewhere now"):
        asked = collect(plan, run.out, resume=True)
    assert len(chat.told()["log"]) == 2
    assert str(asked.stopped) == (
        "4 of 6 responses are in a batch: the same command with --batch --resume collects them"
    )
    with pytest.warns(UserWarning, match="the model is elsewhere now"):
        assert run.session(wait=True).failure() is None
    assert run.server.paid.total() == 4


def test_other_settings_do_not_begin_anew_while_a_batch_is_under_way(
    batches: Callable[..., Batches],
) -> None:
    run = batches()
    run.server.control(looks=1)
    run.session(sampling=Sampling(max_tokens=50))
    with pytest.raises(UsageError, match="is a run with other settings"):
        run.session(sampling=Sampling(max_tokens=60))
    with pytest.warns(UserWarning, match="goes on with other settings"):
        run.session(sampling=Sampling(max_tokens=60), accept_changes=True, wait=True)
    sampled = [response.sampling for response in run.run.responses()]
    assert sampled == [{"max_tokens": 50}] * 6  # what the batch was asked with


def test_no_secret_is_written_or_sent_in_a_file(
    server: BatchEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-very-secret-key")
    server.control(end="failed", errors=[{"message": "bad key sk-very-secret-key", "line": 1}])
    plan = make_plan(
        "m",
        write_prompts(tmp_path, ["提示0 [401]"]),
        options=ModelOptions(base_url=server.url, api_key_env="MY_KEY"),
    )
    options = BatchOptions(batch=True, settle_s=0.0)
    for faults in ({}, {"end": "completed"}):
        collect(plan, tmp_path / "run", resume=True, asking_by=asking_by(plan, options))
        server.control(**faults)
    assert server.state()["keys"] == ["Bearer sk-very-secret-key"]
    written = [path.read_text("utf-8") for path in (tmp_path / "run").iterdir() if path.is_file()]
    assert "secret-key" not in "".join(written)
    assert not any("very-secret" in f["content"] for f in server.state()["files"].values())


@pytest.mark.parametrize(
    ("name", "window", "expected"),
    [
        ("openai", "48h", "--window takes 24h here"),
        ("dashscope", "15d", "--window takes 24h to 336h here"),
        ("moonshot", "6h", "--window takes 12h to 168h here"),
        ("zhipu", "soon", "--window takes 24h here"),
        ("deepseek", None, "DeepSeek names no batch interface that Flames knows"),
        ("dashscope-us", None, "names no batch interface"),
    ],
)
def test_what_a_provider_does_not_offer_is_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, window: str | None, expected: str
) -> None:
    monkeypatch.setenv(PRESETS[name].key_env[0], "a-key")
    plan = make_plan(f"{name}/m", "quick")
    with pytest.raises(UsageError, match=expected):
        asking_by(plan, BatchOptions(batch=True, window=window))


def test_a_callable_has_no_batches() -> None:
    with pytest.raises(UsageError, match="has no batch interface: leave out --batch"):
        asking_by(make_plan(lambda prompt: "no", "quick"), BatchOptions(batch=True))


def test_custom_ids_are_short_plain_and_stable() -> None:
    from flames.records import Key

    ids = ["a", "3f13c1ec4f7a", "提示", "x" * 300, "a/b", "-", "0" * 32]
    given = [custom_id(Key(each, "m", 0)) for each in ids]
    assert len(set(given)) == len(ids)
    assert all(6 <= len(each) <= 64 and each.isascii() for each in given)
    assert given[:2] == ["flames-a-0", "flames-3f13c1ec4f7a-0"]


# A kill at every step

STEPS: list[tuple[Any, str]] = [
    (BatchLog, "note"),
    (BatchClient, "upload"),
    (BatchClient, "create"),
    (BatchClient, "look"),
    (BatchClient, "download"),
    (asking.Asking, "_keep"),
]


def killed_at(step: int, work: Callable[[], Any]) -> bool:
    """Does some work in a copy of this process, killed at a step; tells whether it came so far."""
    child = os.fork()
    if child == 0:
        try:
            count = 0

            def tick() -> None:
                nonlocal count
                count += 1
                if count == step:
                    os.kill(os.getpid(), signal.SIGKILL)

            for owner, name in STEPS:
                setattr(owner, name, ticking(getattr(owner, name), tick))
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def ticking(function: Callable[..., Any], tick: Callable[[], None]) -> Callable[..., Any]:
    import inspect

    if inspect.iscoroutinefunction(function):

        async def wrapped(*given: Any, **named: Any) -> Any:
            tick()
            result = await function(*given, **named)
            tick()
            return result

        return wrapped

    def plain(*given: Any, **named: Any) -> Any:
        tick()
        result = function(*given, **named)
        tick()
        return result

    return plain


def test_a_kill_at_any_step_loses_doubles_and_pays_nothing_twice(
    server: BatchEndpoint, tmp_path: Path
) -> None:
    texts = ["提示0", "提示1 [400]", "提示2"]
    steps = 0
    while True:
        steps += 1
        folder = tmp_path / str(steps)
        folder.mkdir()
        run = Batches(server, folder, [f"{steps}: {text}" for text in texts])
        if not killed_at(steps, lambda run=run: run.session(wait=True)):  # type: ignore[misc]
            break
        run.session(wait=True)
        if steps % 6 == 0:  # and killed once more
            killed_at(5, lambda run=run: run.session(wait=True))  # type: ignore[misc]
        while not run.statuses() or "error" not in run.statuses().values():
            run.session(wait=True)
        found = run.journal()
        for text in run.texts[::2]:
            assert found[text, "ok"] == 1, (steps, found)
            assert server.paid[text] == 1, (steps, server.paid)
        assert batch_log(run.run).open == []
        assert list(run.statuses().values()) == ["ok", "error", "ok"], steps
    assert steps > 25
    names = [file["filename"] for file in server.state()["files"].values()]
    assert len(names) == len(set(names))  # none was uploaded twice
