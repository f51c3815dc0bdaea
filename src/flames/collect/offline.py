"""Asks with `vllm run-batch`: requests in a file, results read from another while it grows."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flames.collect.ask import Asking, Progress, Tag
from flames.collect.batch_files import request_files
from flames.collect.engine import Request
from flames.collect.limits import BudgetSpent
from flames.collect.plan import now
from flames.collect.responses import response_to
from flames.errors import OutsideError, UsageError
from flames.models.base import Reply
from flames.models.batches import batch_request, reply_to
from flames.models.providers import BatchTerms
from flames.models.vllm import VllmModel
from flames.records import Key, Response
from flames.storage.atomic import write_atomic
from flames.storage.foreign.openai_batch import is_outcome, outcome_of
from flames.storage.locks import lock
from flames.storage.run_batches import BY_BATCH, custom_id, custom_ids

FOLDER = "vllm"
_LOOK_S = 1.0  # seconds between two looks at the results
_GRACE_S = 30.0  # seconds that vLLM may take to end when it is told to


class OfflineAsking(Asking):
    """Asks what a run lacks with one run of vLLM, and writes its answers as they come.

    Results of a session that was killed are read first. vLLM inherits the lock of the folder, so
    that it is known while it still writes them.
    """

    async def _ask(self, progress: Progress | None) -> None:
        self._progress = progress or (lambda state: None)
        self._ids = custom_ids(self.run)
        assert isinstance(self.plan.model, VllmModel)
        self._model = self.plan.model
        folder = self.run.path / FOLDER
        folder.mkdir(exist_ok=True)
        with _locked(folder) as handle:
            for old in sorted(folder.glob("results-*.jsonl")):
                _Results(old).read(self)
            await self._generate(folder, handle)

    async def _generate(self, folder: Path, handle: int) -> None:
        number = len(self.run.manifest.sessions)
        requests = folder / f"requests-{number}.jsonl"
        results = folder / f"results-{number}.jsonl"
        command = self._model.command(requests, results)
        asked, spent = self._write(requests)
        if asked:
            code = await self._run(command, _Results(results), folder / "vllm.log", handle)
            left = [key for key in asked if key in self.costs]
            if code or left:
                said = f"ended with exit code {code}" if code else "ended"
                raise OutsideError(
                    f"vLLM {said} and gave no answer to {len(left)} requests; its last words are "
                    f"in {folder / 'vllm.log'}; --resume asks them again"
                )
        self._journal.sync()  # before the only other copy of the answers goes
        for each in folder.glob("re*-*.jsonl"):
            each.unlink()
        if spent is not None:
            raise spent

    def _write(self, path: Path) -> tuple[list[Key], BudgetSpent | None]:
        """Writes the requests that the budget allows."""
        asked: list[Key] = []
        content: list[bytes] = []
        spent: BudgetSpent | None = None
        for request in self.pending():
            key = self._key(request)
            try:
                [file] = request_files({custom_id(key): request}, self._line)
                self.costs[key] = self.collector.meter.hold(request.messages)
            except BudgetSpent as error:
                spent = error
                break
            asked.append(key)
            content.append(file.content)
        write_atomic(path, content)
        return asked, spent

    def _key(self, request: Request[Tag]) -> Key:
        prompt, sample = request.tag
        return Key(prompt.id, self.run.model, sample)

    def _line(self, request: Request[Tag]) -> tuple[str, dict[str, Any]]:
        sampling = request.sampling or self.collector.sampling
        return batch_request(self._model, BatchTerms(), request.messages, sampling)

    async def _run(self, command: list[str], results: _Results, log: Path, handle: int) -> int:
        # vLLM reports its use to its makers unless told not to.
        env = {"VLLM_NO_USAGE_STATS": "1", **os.environ}
        with open(log, "ab") as output:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
                env=env, pass_fds=(handle,), start_new_session=True,
            )  # fmt: skip
        ended = asyncio.ensure_future(process.wait())
        try:
            while not ended.done():
                await asyncio.wait({ended}, timeout=_LOOK_S)
                results.read(self)
                self._progress(self.state)
        finally:
            if not ended.done():
                await _end(process, ended)
                results.read(self)
        return ended.result()

    def take(self, row: dict[str, Any], batch: str) -> None:
        """Writes one result, unless it is there or nobody asked for it."""
        outcome = outcome_of(row)
        key = self._ids.get(outcome.custom_id)
        if key is None or self._journal.entries.get(key, "error") != "error":
            return
        reply = reply_to(outcome, think_tags=self._model.think_tags)
        if reply.status == "error" and key not in self.costs and key in self._journal.entries:
            return  # an old result, written before its session was killed
        prompt = self.plan.prompts.by_id[key.prompt_id]
        meter = self.collector.meter
        meter.requests += key not in self.costs
        meter.settle(self.costs.pop(key, 0.0), self.plan.messages(prompt), reply)
        self._requests.write(b".")
        self._keep(self._response_to(key, reply, batch))

    def _response_to(self, key: Key, reply: Reply, batch: str) -> Response:
        prompt = self.plan.prompts.by_id[key.prompt_id]
        sampling = self.changes.sampled(self._sampling) or None
        told = {"sampling": sampling, "created": now(), BY_BATCH: batch}
        return response_to(prompt, key, reply, attempts=1, **told)


class _Results:
    """A file of results that grows; only its whole lines are read, each once."""

    def __init__(self, path: Path) -> None:
        self.path, self._offset = path, 0

    def read(self, asking: OfflineAsking) -> None:
        with suppress(FileNotFoundError), self.path.open("rb") as file:
            file.seek(self._offset)
            for raw in file:
                if not raw.endswith(b"\n"):
                    return
                self._offset += len(raw)
                with suppress(ValueError, RecursionError):
                    row = json.loads(raw)
                    if isinstance(row, dict) and is_outcome(row):
                        asking.take(row, f"{FOLDER}/{self.path.name}")


async def _end(process: asyncio.subprocess.Process, ended: asyncio.Future[int]) -> None:
    """Ends vLLM with all its processes, which are a group of their own."""
    for order in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, order)
        done, _ = await asyncio.wait({ended}, timeout=_GRACE_S)
        if done:
            return


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        if not lock(handle, folder):
            raise UsageError(
                f"{folder}: vLLM of an earlier session still writes its results; resume once it "
                "has ended, or end it"
            )
        yield handle
    finally:
        os.close(handle)
