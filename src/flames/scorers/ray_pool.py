"""Scores on many processors or machines with Ray Data; the journal stays with the caller.

The caller reads and checks the responses, as on one machine, and hands them over in windows: the
batches that a scorer would get there, so that its verdicts are the same to the last bit. Each
window is one row of a Ray dataset, and each worker an actor that holds the scorer. Whatever order
the rows come back in, windows are given back in their own, each once.
"""

from __future__ import annotations

import json
import logging
import os
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from flames.collect.pace_keeper import PaceKeeper, kept_pace
from flames.errors import CheckFailed, FlamesError, InputError, OutsideError, UsageError, need_extra
from flames.records import Response, Verdict, dump_line
from flames.scorers.base import Scorer, ScorerInfo, Truncated
from flames.scorers.options import EngineOptions, load_with
from flames.scorers.scoring import Pairs, scored
from flames.taxonomy import Taxonomy

_ATTEMPTS = 4  # Ray begins a window anew whenever its worker was killed, without end
_OURS: dict[str, type[FlamesError]] = {
    each.__name__: each for each in (InputError, OutsideError, CheckFailed)
}
_END = b"\n"
_OWN_BUDGET = ("max_requests", "max_cost")


@dataclass(frozen=True)
class Recipe:
    """What every worker loads its scorer from; `folder` is where relative paths begin."""

    spec: str
    options: Mapping[str, Any] = field(default_factory=dict)
    taxonomy: Taxonomy | None = None
    folder: str = field(default_factory=os.getcwd)

    def load(self, desk: Any = None) -> Scorer:
        """Loads the scorer, on the worker; its requests take their turns from the desk."""
        with suppress(OSError):  # another machine may not have it
            os.chdir(self.folder)
        pace = None
        if desk is not None:
            pace = partial(kept_pace, partial(_call, desk))
        return load_with(self.spec, self.options, self.taxonomy, pace=pace)


class Desk(PaceKeeper):
    """What all workers share, an actor: turns to ask, and how often each window was begun."""

    def __init__(self) -> None:
        super().__init__()
        self._begun: Counter[int] = Counter()

    async def begin(self, window: int) -> int:
        """Counts a beginning of a window, and returns how many there were."""
        self._begun[window] += 1
        return self._begun[window]


@contextmanager
def ray_pool(recipe: Recipe, options: EngineOptions) -> Iterator[RayPool]:
    """Connects to a cluster, or starts one on this machine, and shuts down what it started."""
    need_extra("scale", "scoring with --engine ray", "ray.data")
    for name in recipe.options:
        if name.partition("@")[0] in _OWN_BUDGET:
            raise UsageError(
                f"{name} counts the requests of one process, and --engine ray has several; "
                "leave it out, or score with --engine local"
            )
    # Ray reads these when it starts: it reports its use to its makers unless told not to.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    if ray.is_initialized():
        raise UsageError("this process uses Ray already; call ray.shutdown() first")
    _connect(options)
    try:
        yield RayPool(recipe, options)
    except ray.exceptions.RayError as error:
        raise _lost(error) from None
    finally:
        ray.shutdown()


def _connect(options: EngineOptions) -> None:
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    try:
        if options.address is None:
            # Ray listens on every address of the machine; it makes a token by itself, and refuses
            # who has none.
            ray.init(address="local", include_dashboard=False, **quiet)
        else:
            ray.init(address=options.address, **quiet)
    except Exception as error:  # ConnectionError, ValueError, RuntimeError, plain Exception
        where = "on this machine" if options.address is None else f"at {options.address}"
        reason = str(error).strip().partition("\n")[0]
        raise OutsideError(f"Ray cannot be started or reached {where}: {reason}") from None


def _call(actor: Any, name: str, *given: Any, **how: Any) -> Any:
    return getattr(actor, name).remote(*given, **how)


class RayPool:
    """Workers of a Ray cluster that score windows of responses.

    Attributes:
        info: The scorer's description, as a worker gives it.
        window: How many responses the scorer takes at once.
    """

    def __init__(self, recipe: Recipe, options: EngineOptions) -> None:
        import ray

        self._recipe = recipe
        self._cpus, self._gpus = options.worker_cpus, options.worker_gpus
        self._workers = options.workers or _fitting(options)
        if options.address is None and _fitting(options) < 1:
            wanted = f"{options.worker_cpus} CPU cores and {options.worker_gpus:g} GPUs"
            raise UsageError(f"a worker with {wanted} does not fit on this machine")
        describe = ray.remote(num_cpus=self._cpus, num_gpus=self._gpus, max_calls=1)(_describe)
        told = json.loads(ray.get(describe.remote(recipe)))
        if "error" in told:
            raise _raised(told)
        keep = ray.remote(num_cpus=0, max_restarts=-1, max_concurrency=1000)
        self._desk = keep(Desk).remote()
        self.info = ScorerInfo(**told["info"])
        self.window = told["window"]

    def pairs(self, windows: Iterable[list[Response]], truncated: Truncated) -> Iterator[Pairs]:
        """Yields each window's responses with their verdicts, in order.

        All windows are put into the cluster's memory first (and from there onto its disk, where
        they are too many).
        """
        import pyarrow
        import ray

        held: list[Any] = []
        for window in windows:
            lines = "\n".join(response.to_line() for response in window)
            held.append(
                ray.put(pyarrow.table({"window": [len(held)], "lines": [lines.encode("utf-8")]}))
            )
        if not held:
            return
        following, early = 0, dict[int, str]()
        for number, data in self._rows(held, truncated):
            if number < following or number in early:
                raise RuntimeError(f"Ray gave window {number} twice")
            early[number] = data
            while (found := early.pop(following, None)) is not None:
                yield _paired(ray.get(held[following]), json.loads(found))
                held[following] = None
                following += 1
        if following < len(held):
            raise OutsideError(f"Ray gave no verdicts on window {following} of {len(held)}")

    def _rows(self, held: list[Any], truncated: Truncated) -> Iterator[tuple[int, str]]:
        import ray
        from ray.data import ActorPoolStrategy, DataContext

        context = DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        context.max_errored_blocks = 0  # a window that failed is never left out
        dataset = ray.data.from_arrow_refs(list(held)).map_batches(
            Worker,
            fn_constructor_args=(self._recipe, self._desk, truncated, self.info.id),
            batch_size=1,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(size=min(self._workers, len(held))),
            num_cpus=self._cpus,
            num_gpus=self._gpus or None,
        )
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        batches: Iterable[Any] = dataset.iter_batches(
            batch_size=None, batch_format="pyarrow", prefetch_batches=0
        )
        for batch in batches:
            yield from zip(
                batch.column("window").to_pylist(), batch.column("data").to_pylist(), strict=True
            )


class Worker:
    """Holds the scorer in one process of the cluster."""

    def __init__(self, recipe: Recipe, desk: Any, truncated: Truncated, scorer_id: str) -> None:
        self._truncated, self._desk = truncated, desk
        self._scorer, self._error = None, dict[str, Any]()
        try:
            self._scorer = recipe.load(desk)
            if (own := self._scorer.info.id) != scorer_id:
                self._scorer = None
                what = f"a worker's scorer is {own}, another one's {scorer_id}"
                raise UsageError(f"{what}: the machines differ in what they have installed")
        except Exception as error:
            self._error = _told(error)

    def __call__(self, table: Any) -> Any:
        """Scores the windows of a block; what goes wrong is told in their place."""
        import pyarrow

        numbers = table.column("window").to_pylist()
        lines = table.column("lines").to_pylist()
        data = [dump_line(self._told(*each)) for each in zip(numbers, lines, strict=True)]
        return pyarrow.table({"window": numbers, "data": data})

    def _told(self, number: int, lines: bytes) -> dict[str, Any]:
        import ray

        if self._scorer is None:
            return self._error
        try:
            if ray.get(self._desk.begin.remote(number)) > _ATTEMPTS:
                first = json.loads(lines.partition(_END)[0])
                what = f"{first['prompt_id']} and the {lines.count(_END)} responses after it"
                raise OutsideError(f"{_ATTEMPTS} workers died while they scored {what}")
            pairs = scored(_responses(lines), self._scorer, self._truncated)
            return {"verdicts": [verdict.to_dict() for _, verdict in pairs]}
        except Exception as error:
            return _told(error)


def _describe(recipe: Recipe) -> str:
    try:
        scorer = recipe.load()
        info = {"id": scorer.info.id, "title": scorer.info.title, "taxonomy": scorer.info.taxonomy}
        return dump_line({"info": info, "window": getattr(scorer, "window", 256)})
    except Exception as error:
        return dump_line(_told(error))


def _responses(lines: bytes) -> list[Response]:
    return [Response.model_validate(json.loads(line)) for line in lines.split(_END) if line]


def _paired(table: Any, told: dict[str, Any]) -> Pairs:
    if "error" in told:
        raise _raised(told)
    responses = _responses(table.column("lines")[0].as_py())
    verdicts = map(Verdict.model_validate, told["verdicts"])
    return list(zip(responses, verdicts, strict=True))


def _told(error: Exception) -> dict[str, Any]:
    kind = next((n for n, each in _OURS.items() if isinstance(error, each)), "UsageError")
    if isinstance(error, FlamesError):
        return {"error": kind, "message": str(error)}
    what = f"{type(error).__name__}: {error}"
    return {"error": "", "message": what, "traceback": traceback.format_exc()}


def _raised(told: dict[str, Any]) -> Exception:
    if told["error"]:
        return _OURS.get(told["error"], UsageError)(told["message"])
    error = RuntimeError(f"a worker failed: {told['message']}")
    error.add_note(told["traceback"])
    return error


def _lost(error: Exception) -> Exception:
    reason = str(error).strip().partition("\n")[0]
    return OutsideError(
        f"the Ray cluster lost its workers ({type(error).__name__}: {reason}); what was scored is "
        "kept, and the same command goes on from there"
    )


def _fitting(options: EngineOptions) -> int:
    """Returns how many workers fit into the cluster as it is now."""
    import ray

    there: dict[str, float] = ray.cluster_resources()
    fits = there.get("CPU", 0.0) / options.worker_cpus
    if options.worker_gpus:
        fits = min(fits, there.get("GPU", 0.0) / options.worker_gpus)
    return int(fits)
