"""Asks by the batches of a provider: sent in files, collected when they are finished."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from tempfile import TemporaryFile
from typing import Any, Self

from flames.collect.ask import Asking, Progress, Tag
from flames.collect.batch_calls import PatientCalls
from flames.collect.batch_files import RequestFile, request_files
from flames.collect.batch_results import BatchResults
from flames.collect.engine import Request
from flames.collect.limits import BudgetSpent
from flames.collect.offline import OfflineAsking
from flames.collect.plan import Plan, now
from flames.collect.responses import response_to
from flames.collect.settings import AskSettings, BatchOptions
from flames.errors import OutsideError
from flames.models.base import (
    EndpointUnusable,
    Reply,
    RequestError,
    RequestRejected,
)
from flames.models.batches import (
    BatchClient,
    BatchState,
    batch_request,
    completion_window,
    reply_to,
    terms_of,
)
from flames.models.load import ModelOptions
from flames.models.openai_client import OpenAIModel
from flames.models.providers import BatchTerms
from flames.models.vllm import vllm_model
from flames.records import Key, Response
from flames.storage.foreign.openai_batch import Outcome
from flames.storage.foreign.shape import day
from flames.storage.run_batches import BY_BATCH, Batch, batch_log, custom_ids
from flames.storage.run_dir import RunDir

_LONGEST_POLL = 60.0  # seconds between two looks at a batch


def asking_by(plan: Plan, options: BatchOptions) -> Callable[..., Asking]:
    """Returns what asks a plan: requests of their own, batches, or vLLM offline.

    Raises:
        UsageError: The model has no batch interface.
    """
    if options.engine == "vllm":
        return OfflineAsking
    if not options.batch:
        return Asking
    terms = terms_of(plan.model)
    completion_window(options.window, terms)
    return partial(BatchAsking, terms=terms, options=options)


def asked_model(model: Any, options: BatchOptions, reach: ModelOptions | None) -> Any:
    """Returns the model for `make_plan`: what was given, or that of vLLM for a folder."""
    if options.engine == "vllm":
        return vllm_model(str(model), reach or ModelOptions(), options.engine_options)
    return model


class BatchAsking(Asking):
    """Sends what a run lacks in batches, and collects those that are finished.

    Each session first finds out what became of earlier batches, and never sends a request again
    that lies in one of them. Errors that it collects are sent again by the next session.
    """

    def __init__(
        self,
        plan: Plan,
        run: RunDir,
        settings: AskSettings | None = None,
        *,
        terms: BatchTerms,
        options: BatchOptions,
    ) -> None:
        settings = settings or AskSettings().under(getattr(plan.model, "terms", {}))
        self._price_known = settings.batch_factor is not None
        super().__init__(plan, run, settings.in_batches())
        assert isinstance(plan.model, OpenAIModel)
        self.terms, self.options = terms, options
        self.window = completion_window(options.window, terms)
        self._openai = plan.model
        self._client = BatchClient(plan.model, terms)
        self._calls = PatientCalls(self._client, self.collector, enduring=options.wait)
        self._written: dict[str, set[Key]] = {}
        self._touched: dict[str, None] = {}
        self._shown: dict[str, str] = {}
        self._problems: list[str] = []

    def __enter__(self) -> Self:
        self._started = time.time()
        super().__enter__()
        with ExitStack() as stack:
            stack.callback(self._stack.close)
            self.log = batch_log(self.run)
            stack.enter_context(self.log.writing())
            self._keys = custom_ids(self.run)
            self._sent_before = frozenset(self.held)
            self._stack = stack.pop_all()
        return self

    def _count_earlier(self, response: Response) -> None:
        super()._count_earlier(response)
        if isinstance(batch := response.extra.get(BY_BATCH), str):
            self._written.setdefault(batch, set()).add(response.key)

    async def _ask(self, progress: Progress | None) -> None:
        self._progress = progress or (lambda state: None)
        try:
            todo = list(self.pending())
            for batch in self.log.open:
                if batch.id is None:
                    await self._create(batch)
            await self._look()
            self._raise_problems()
            spent = await self._submit(todo)
            if self.options.wait:
                await self._wait()
            elif self.held:
                self.options.say("the same command with --resume collects what is finished by then")
            if spent is not None:
                raise spent
        finally:
            for key in [key for key in self.costs if key not in self.held]:
                self._let_go(key)  # it was never sent
            await self.plan.model.aclose()

    def _let_go(self, key: Key) -> None:
        """Takes a request back that nobody answers; what earlier sessions sent stays counted."""
        self.held.pop(key, None)
        meter = self.collector.meter
        meter.settle(self.costs.pop(key, 0.0), (), None)
        meter.requests -= key not in self._sent_before

    def _raise_problems(self) -> None:
        if self._problems:
            raise OutsideError("; ".join(self._problems))

    def _end(self, outcome: str) -> None:
        if outcome == "complete" and self.held:
            outcome = "waits for batches"
        super()._end(outcome)
        *sessions, session = self.run.manifest.sessions
        batches = tuple(self._touched) or None
        self.run.update(sessions=(*sessions, session.model_copy(update={"batches": batches})))

    # Sending

    async def _submit(self, todo: list[Request[Tag]]) -> BudgetSpent | None:
        """Sends requests in batches, as many as the budget allows; returns what ended that."""
        taken: dict[str, Request[Tag]] = {}
        spent: BudgetSpent | None = None
        by_key = {key: name for name, key in self._keys.items()}
        for request in todo:
            key = self._key(request)
            try:
                self.costs[key] = self.collector.meter.hold(request.messages)
            except BudgetSpent as error:
                spent = error
                break
            taken[by_key[key]] = request
        if taken and self.collector.settings.prices is not None and not self._price_known:
            self.options.say(
                "costs count the prices as given: batches often take the half, so give theirs"
            )
        for batch in [each for each in self.log.batches.values() if each.id is None]:
            await self._resume(batch, taken)
        for file in request_files(taken, self._line, self.terms):
            await self._send(self.log.plan(file.ids, file.content, self._sampling), file)
        return spent

    def _line(self, request: Request[Tag]) -> tuple[str, dict[str, Any]]:
        sampling = request.sampling or self.collector.sampling
        return batch_request(self._openai, self.terms, request.messages, sampling)

    def _key(self, request: Request[Tag]) -> Key:
        prompt, sample = request.tag
        return Key(prompt.id, self.run.model, sample)

    async def _resume(self, batch: Batch, taken: dict[str, Request[Tag]]) -> None:
        """Goes on with a batch that was not created yet, or drops it where something changed."""
        if batch.event not in ("planned", "uploaded"):
            return
        asked = {given: taken[given] for given in batch.ids if given in taken}
        files = list(request_files(asked, self._line, self.terms))
        if len(asked) == len(batch.ids) and len(files) == 1 and files[0].is_named(batch.name):
            for given in asked:
                del taken[given]
            await self._send(batch, files[0])
        else:
            self.log.note(batch, "dropped")

    async def _send(self, batch: Batch, file: RequestFile) -> None:
        if batch.file is None:
            known = await self._find_upload(batch, len(file.content))
            made = known or await self._calls.patiently(
                lambda: self._client.upload(batch.name, file.content)
            )
            self.log.note(batch, "uploaded", id=made)
        self.held.update({self._keys[given]: batch for given in batch.ids})
        await self._create(batch)

    async def _find_upload(self, batch: Batch, size: int) -> str | None:
        """Returns the file that a killed session uploaded; files cost nothing, so no need to be
        sure."""
        if batch.at >= self._started:
            return None
        try:
            return await self._calls.patiently(lambda: self._client.find_upload(batch.name, size))
        except OutsideError:
            return None

    async def _create(self, batch: Batch) -> None:
        """Creates a batch, unless an earlier attempt with an unknown outcome did."""
        failures = 0
        assert batch.file is not None
        while True:
            state = await self._find(batch) if batch.event == "creating" else None
            if state is None:
                self.log.note(batch, "creating")
                try:
                    state = await self._client.create(
                        batch.file, self._url(), self.window, {"flames_file": batch.name}
                    )
                except RequestError as error:
                    failures += 1
                    await self._refused(batch, error, failures)
                    continue
            self._calls.heard = True
            self.log.note(batch, "created", id=state.id)
            self._touched[state.id] = None
            self.options.say(
                f"batch {state.id}: {len(batch.ids)} requests, to be answered within {self.window}"
            )
            return

    def _url(self) -> str:
        frame = self._openai.frame
        return self.terms.url if frame is None else "/v1/completions"

    async def _refused(self, batch: Batch, error: RequestError, failures: int) -> None:
        """Waits before another attempt to create a batch, or gives up."""
        error = self.collector.patience.understood(error)
        if not error.retryable:
            self._release(batch, "refused")
            raise error
        if failures > self.collector.settings.retries:
            raise OutsideError(
                f"whether the batch of {batch.name} was created is not known ({error}); "
                "add --resume to look for it"
            )
        await asyncio.sleep(self._calls.pause(error, failures))

    async def _find(self, batch: Batch) -> BatchState | None:
        """Looks for the batch of a file where it is not known whether it was created.

        A request that was cut off may still arrive, so it has some time to do so.
        """
        file, settle_s = batch.file or "", self.options.settle_s
        left = min(settle_s, batch.at + settle_s - time.time())
        try:
            found = await self._calls.patiently(lambda: self._client.find(file, batch.name))
            if found is None and left > 0:
                what = f"whether the batch of {batch.name} was created"
                self.options.say(f"looks again in {left:.0f} s {what}")
                await asyncio.sleep(left)
                found = await self._calls.patiently(lambda: self._client.find(file, batch.name))
            return found
        except (RequestRejected, EndpointUnusable) as error:
            raise OutsideError(
                f"whether a batch of the file {file} ({batch.name}) was created is not known, as "
                f"the endpoint lists none ({error}); if its web pages show none, delete the lines "
                f"of that file with `creating` in {self.log.path}"
            ) from None

    # Collecting

    async def _look(self) -> None:
        """Looks at the batches that are under way, and collects those that are over."""
        for batch in self.log.open:
            if batch.id is None:
                continue
            self._touched[batch.id] = None
            try:
                state = await self._calls.patiently(partial(self._client.look, batch.id))
            except (RequestRejected, EndpointUnusable) as error:
                raise OutsideError(
                    f"batch {batch.id}: {error}; if it is gone for good, delete {self.log.path}, "
                    "and its prompts are asked again"
                ) from None
            if state.over:
                await self._gather(batch, state)
            elif self._shown.get(batch.id) != state.status:
                self._shown[batch.id] = state.status
                done = f"{state.done} of {len(batch.ids)} answered"
                self.options.say(f"batch {state.id}: {state.status}, {done}")

    async def _wait(self) -> None:
        """Looks at the batches until all are over."""
        pause = self.options.poll_s
        while self.log.open:
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, max(_LONGEST_POLL, self.options.poll_s))
            await self._look()
            self._progress(self.state)
        self._raise_problems()

    async def _gather(self, batch: Batch, state: BatchState) -> None:
        """Writes the results of a batch that is over into the journal."""
        asked = {given: self._keys[given] for given in batch.ids if given in self._keys}
        results = BatchResults(asked)
        if state.done and not (state.output_file or state.error_file):
            self._problems.append(
                f"batch {state.id}: is {state.status} with {state.done} answers, but names no "
                "file; add --resume to look again"
            )
            return
        with ExitStack() as stack:
            for file, expected in ((state.output_file, state.done), (state.error_file, 0)):
                if file is not None:
                    target = stack.enter_context(TemporaryFile())
                    await self._calls.fetch(file, expected, target, results)
            counts: Counter[str] = Counter()
            for key, outcome in results:
                reply = reply_to(outcome, self._openai.secrets, self._openai.think_tags)
                counts[self._collect(batch, key, reply, outcome)] += 1
        for line in results.told():
            self.options.say(f"batch {state.id}: {line}")
        if state.status == "failed" and not results:
            why = "; ".join(state.errors[:3]) or "no reason is given"
            more = f" (and {len(state.errors) - 3} more)" if len(state.errors) > 3 else ""
            self._problems.append(f"batch {state.id}: was refused, nothing was asked: {why}{more}")
        else:
            over = state.status in ("expired", "cancelled", "canceled", "failed")
            what = f"the batch was {state.status} before an answer" if over else "the files of the "
            what = what if over else what + "batch hold no answer"
            for given, key in asked.items():
                if given not in results:
                    counts[self._collect(batch, key, Reply("error", note=what), None)] += 1
        said = ", ".join(f"{n} {status}" for status, n in sorted(counts.items()) if status)
        self.options.say(f"batch {state.id}: {state.status}" + (f"; {said}" if said else ""))
        self._release(batch, state.status)

    def _collect(self, batch: Batch, key: Key, reply: Reply, outcome: Outcome | None) -> str:
        """Writes a result, unless it was written before a kill; returns its status, or nothing."""
        name = batch.id or ""
        again = reply.status == "error" and key in self._written.get(name, ())
        if again or self._journal.entries.get(key, "error") != "error":
            return ""
        prompt = self.plan.prompts.by_id[key.prompt_id]
        made = day(outcome.body.get("created")).get("created", "") if outcome else ""
        made = made.replace("+00:00", "Z")
        response = response_to(
            prompt,
            key,
            reply,
            attempts=1,
            sampling=dict(batch.sampling) or None,
            created=made if self.run.manifest.created <= made <= now() else now(),
            **{BY_BATCH: name},
        )
        self._keep(response)
        self._requests.write(b".")
        held = self.costs.pop(key, 0.0)
        self.collector.meter.settle(held, self.plan.messages(prompt), reply)
        self.held.pop(key, None)
        self._progress(self.state)
        return reply.status

    def _release(self, batch: Batch, status: str) -> None:
        """Notes that nothing more comes of a batch."""
        self.log.note(batch, "over", status=status)
        for given in batch.ids:
            if (key := self._keys.get(given)) in self.costs:
                self._let_go(key)
