"""What scoring took, and which step of a cascade decided: from the verdicts themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field

from flames.errors import InputError
from flames.records import Frozen, Verdict
from flames.storage.record_files import read_verdicts
from flames.storage.run_dir import open_run


class Spending(Frozen):
    """What one scorer, or one step of a cascade, was asked and took.

    `asked` counts the responses that reached it, `decided` those whose verdict is its own. `cost`
    is None unless known of all, in the same currency; `latency_s` adds up the waits for single
    (concurrent) answers.
    """

    scorer: str
    asked: int
    decided: int
    unscored: dict[str, int] = Field(default_factory=dict)
    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    latency_s: float = 0.0
    cost: float | None = None
    currency: str | None = None
    steps: tuple[Spending, ...] = ()


class SpendingTotal:
    """What verdicts took, added up one by one."""

    def __init__(self) -> None:
        self._asked = self._decided = self._taken = self._with_cost = 0
        self._unscored: Counter[str] = Counter()
        self._totals: dict[str, float] = dict.fromkeys(
            ("requests", "tokens_in", "tokens_out", "latency_s", "cost"), 0
        )
        self._currencies: dict[Any, None] = {}

    def add(self, score: object, reason: object, judging: object, *, decided: bool) -> None:
        """Adds an outcome; `judging` is what a verdict's line says of it."""
        self._asked += 1
        self._decided += decided
        if score is None:
            self._unscored[str(reason)] += 1
        if isinstance(judging, dict):
            self._taken += 1
            self._with_cost += "cost" in judging
            self._currencies.setdefault(judging.get("currency"))
            for name in self._totals:
                value = judging.get(name)
                if isinstance(value, int | float) and not isinstance(value, bool):
                    self._totals[name] += value

    def result(self, scorer: str, steps: tuple[Spending, ...] = ()) -> Spending:
        """Returns the totals under a scorer's name."""
        totals = self._totals
        known = len(self._currencies) == 1 and self._with_cost == self._taken
        return Spending(
            scorer=scorer,
            asked=self._asked,
            decided=self._decided,
            unscored=dict(self._unscored.most_common()),
            requests=int(totals["requests"]),
            tokens_in=int(totals["tokens_in"]),
            tokens_out=int(totals["tokens_out"]),
            latency_s=round(float(totals["latency_s"]), 3),
            cost=round(float(totals["cost"]), 8) if known else None,
            currency=next(iter(self._currencies)) if known else None,
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
    outcomes: dict[str, SpendingTotal] = {}
    steps: dict[str, dict[str, SpendingTotal]] = {}
    for verdict in verdicts:
        extra, decided = verdict.extra, verdict.score is not None
        whole = outcomes.setdefault(verdict.scorer, SpendingTotal())
        whole.add(verdict.score, verdict.unscored, extra.get("judging"), decided=decided)
        own = steps.setdefault(verdict.scorer, {})
        cascade = extra.get("cascade")
        for step in cascade if isinstance(cascade, list) else ():
            if isinstance(step, dict) and isinstance(step.get("scorer"), str):
                final = decided and step["scorer"] == extra.get("step")
                part = own.setdefault(step["scorer"], SpendingTotal())
                said = step.get("score"), step.get("unscored"), step.get("judging")
                part.add(*said, decided=final)
    return [
        whole.result(name, tuple(part.result(step) for step, part in steps[name].items()))
        for name, whole in outcomes.items()
    ]
