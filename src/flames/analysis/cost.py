"""What scoring took, and who decided: from the verdicts themselves.

Verdicts of judges and guards carry `judging` (requests, tokens, seconds of waiting, cost where
prices were given); a cascade's also say what each of its steps said and took.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from flames.errors import InputError
from flames.records import Verdict
from flames.storage.record_files import read_verdicts
from flames.storage.run_dir import open_run


class Spending(BaseModel):
    """What one scorer, or one step of a cascade, was asked and took.

    `asked` counts the responses that reached it, `decided` those whose verdict is its own,
    `unscored` those that it gave no score, by reason. `cost` is None where it is not known of
    every one of them; `latency_s` adds up the seconds waited for single answers, most of which
    ran concurrently.
    """

    model_config = ConfigDict(frozen=True)

    scorer: str
    asked: int
    decided: int
    unscored: dict[str, int] = Field(default_factory=dict)
    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    latency_s: float = 0.0
    cost: float | None = None
    steps: tuple[Spending, ...] = ()


class _Sum:
    def __init__(self) -> None:
        self.asked = self.decided = 0
        self.unscored: Counter[str] = Counter()
        self.taken: Counter[str] = Counter()
        self.paid = self.priced = 0

    def add(self, score: Any, unscored: Any, judging: Any, decided: bool) -> None:
        self.asked += 1
        self.decided += decided
        if score is None:
            self.unscored[str(unscored)] += 1
        if isinstance(judging, dict):
            self.paid += 1
            self.priced += "cost" in judging
            for name, value in judging.items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    self.taken[name] += value  # type: ignore[assignment]

    def total(self, scorer: str, steps: tuple[Spending, ...] = ()) -> Spending:
        known = self.paid > 0 and self.priced == self.paid
        return Spending(
            scorer=scorer,
            asked=self.asked,
            decided=self.decided,
            unscored=dict(self.unscored.most_common()),
            requests=int(self.taken["requests"]),
            tokens_in=int(self.taken["tokens_in"]),
            tokens_out=int(self.taken["tokens_out"]),
            latency_s=round(float(self.taken["latency_s"]), 3),
            cost=round(float(self.taken["cost"]), 8) if known else None,
            steps=steps,
        )


def spending_of(target: str | Path) -> list[Spending]:
    """Measures what the verdicts of a file or run took, per scorer."""
    paths = [Path(target)]
    if paths[0].is_dir():
        paths = list(open_run(paths[0]).verdict_files().values())
    found = measure_spending(verdict for path in paths for verdict in read_verdicts(path))
    if not found:
        raise InputError("holds no verdicts", path=target)
    return found


def measure_spending(verdicts: Iterable[Verdict]) -> list[Spending]:
    """Adds up what each scorer took, in order of appearance; a cascade's with its steps."""
    sums: dict[str, _Sum] = {}
    steps: dict[str, dict[str, _Sum]] = {}
    for verdict in verdicts:
        extra = verdict.extra
        whole = sums.setdefault(verdict.scorer, _Sum())
        whole.add(verdict.score, verdict.unscored, extra.get("judging"), verdict.score is not None)
        said = extra.get("cascade")
        for step in said if isinstance(said, list) else ():
            if isinstance(step, dict) and isinstance(step.get("scorer"), str):
                own = steps.setdefault(verdict.scorer, {}).setdefault(step["scorer"], _Sum())
                final = step["scorer"] == extra.get("step") and verdict.score is not None
                own.add(step.get("score"), step.get("unscored"), step.get("judging"), final)
    return [
        whole.total(name, tuple(s.total(step) for step, s in steps.get(name, {}).items()))
        for name, whole in sums.items()
    ]
