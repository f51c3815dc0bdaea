"""The whole job for programs with an event loop of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from flames.collect.ask import Asking, AskState, Progress, Watch
from flames.errors import FlamesError
from flames.pipeline.runs import run
from flames.reports.run_outcome import RunOutcome


class _Cancelled(FlamesError):
    """The task that waits for the run was cancelled."""


async def arun(
    model: Any, prompts: Any = "open", *, watch: Watch | None = None, **options: Any
) -> RunOutcome:
    """Does what `run` does, in a thread, so that the event loop goes on.

    Cancelling it stops the asking; what was answered stays in the run directory, and `resume=True`
    continues there.

    Args:
        model, prompts, options: As for `run`.
        watch: As for `run`; it is called in the thread.
    """
    stop = threading.Event()

    @contextmanager
    def watching(asking: Asking) -> Iterator[Progress]:
        with nullcontext() if watch is None else watch(asking) as told:

            def progress(state: AskState) -> None:
                if stop.is_set():
                    raise _Cancelled("cancelled; resume=True continues the run")
                if told is not None:
                    told(state)

            yield progress

    work = asyncio.create_task(asyncio.to_thread(run, model, prompts, watch=watching, **options))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        stop.set()
        with suppress(FlamesError):
            await work  # the run is unlocked once its thread ends
        raise
