"""Under which conditions the responses of a run or file were obtained."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flames.metrics.conditions import Conditions
from flames.models.base import Usage
from flames.records import Response, Verdict
from flames.storage.run_batches import BY_BATCH
from flames.storage.run_dir import RunDir

_SAID = frozenset({"sampling", "created", "usage"})


class ConditionsSeen:
    """Gathers what responses, or the lines of their verdicts, carry, one after the other."""

    def __init__(self) -> None:
        self._sent: list[Mapping[str, Any]] = []
        self._first: str | None = None
        self._last: str | None = None
        self._tokens = [0, 0]
        self._by_batch = 0

    def add(self, record: Response | Verdict) -> None:
        """Takes one into account."""
        extra = record.extra
        self._by_batch += BY_BATCH in extra
        carried = extra if isinstance(record, Verdict) else vars(record)
        if _SAID.isdisjoint(carried):
            return
        sampling, created, usage = map(carried.get, ("sampling", "created", "usage"))
        if isinstance(sampling, Mapping) and len(self._sent) < 2 and sampling not in self._sent:
            self._sent.append(sampling)
        if isinstance(created, str):
            self._first = created if self._first is None else min(self._first, created)
            self._last = created if self._last is None else max(self._last, created)
        if isinstance(usage, Mapping):
            used = Usage(usage)
            self._tokens[0] += used.tokens_in or 0
            self._tokens[1] += used.tokens_out or 0

    def found(self) -> Conditions | None:
        """Returns what there was; None if that is nothing."""
        found = Conditions(
            sampling=dict(self._sent[0]) if len(self._sent) == 1 else {},
            started=self._first,
            ended=self._last,
            by_batch=self._by_batch or None,
            tokens_in=self._tokens[0] or None,
            tokens_out=self._tokens[1] or None,
        )
        return None if found == Conditions() else found


def conditions_of_run(run: RunDir, seen: ConditionsSeen) -> Conditions:
    """Gathers what a run's manifest and responses say."""
    manifest, carried = run.manifest, seen.found() or Conditions()
    sessions = [session for session in manifest.sessions if session.requests]
    paid = {(session.cost is None, session.currency) for session in sessions}
    known = len(paid) == 1 and not next(iter(paid))[0]
    place = (manifest.asked.get(name) for name in ("base_url", "provider", "file", "folder"))
    return carried.model_copy(
        update={
            "asked": str(manifest.asked.get("model") or manifest.spec),
            "endpoint": next((str(each) for each in place if each), None),
            "sampling": dict(manifest.sampling),
            "system_prompt": manifest.system_prompt,
            "duration_s": sum(
                _seconds(each.started, each.ended) for each in sessions if not each.batches
            )
            or None,
            "requests": sum(session.requests for session in sessions) or None,
            "cost": sum(session.cost or 0.0 for session in sessions) if known else None,
            "currency": sessions[0].currency if known else None,
        }
    )


def _seconds(start: str, end: str | None) -> int:
    try:
        gone = datetime.fromisoformat(end or start) - datetime.fromisoformat(start)
    except ValueError:
        return 0
    return max(round(gone.total_seconds()), 0)
