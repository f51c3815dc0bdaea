"""Under which conditions the responses of a run or file were obtained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from flames.metrics.conditions import Conditions
from flames.models.base import Usage
from flames.records import Response, Verdict
from flames.storage.run_dir import RunDir

_NOTHING: Mapping[str, Any] = {}


def conditions_of(records: Iterable[Response | Verdict]) -> Conditions | None:
    """Gathers what responses, or the lines of their verdicts, carry; None if that is nothing."""
    sent: list[Mapping[str, Any]] = []
    times: list[str] = []
    tokens = {"tokens_in": 0, "tokens_out": 0}
    for record in records:
        carried = record.extra if isinstance(record, Verdict) else vars(record)
        sampling, created, usage = (carried.get(k) for k in ("sampling", "created", "usage"))
        if isinstance(sampling, Mapping) and sampling not in sent:
            sent.append(sampling)
        if isinstance(created, str):
            times.append(created)
        used = Usage(usage if isinstance(usage, Mapping) else _NOTHING)
        tokens["tokens_in"] += used.tokens_in or 0
        tokens["tokens_out"] += used.tokens_out or 0
    found = Conditions(
        sampling=dict(sent[0]) if len(sent) == 1 else {},
        started=min(times, default=None),
        ended=max(times, default=None),
        **{name: count or None for name, count in tokens.items()},
    )
    return None if found == Conditions() else found


def conditions_of_run(run: RunDir, responses: Iterable[Response]) -> Conditions:
    """Gathers what a run's manifest and responses say."""
    manifest, carried = run.manifest, conditions_of(responses) or Conditions()
    sessions = [session for session in manifest.sessions if session.requests]
    place = (manifest.asked.get(name) for name in ("base_url", "provider", "file", "folder"))
    return carried.model_copy(
        update={
            "asked": str(manifest.asked.get("model") or manifest.spec),
            "endpoint": next((str(each) for each in place if each), None),
            "sampling": dict(manifest.sampling),
            "system_prompt": manifest.system_prompt,
            "duration_s": sum(_seconds(each.started, each.ended) for each in sessions) or None,
            "requests": sum(session.requests for session in sessions) or None,
        }
    )


def _seconds(start: str, end: str | None) -> int:
    try:
        gone = datetime.fromisoformat(end or start) - datetime.fromisoformat(start)
    except ValueError:
        return 0
    return max(round(gone.total_seconds()), 0)
