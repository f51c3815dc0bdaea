"""What scoring took, and which step of a cascade decided: from the verdicts themselves."""

from __future__ import annotations

from collections import Counter, defaultdict
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


_Outcome = tuple[Any, Any, Any, bool]  # score, unscored, judging, whether it decided


def _total(scorer: str, outcomes: list[_Outcome], steps: tuple[Spending, ...] = ()) -> Spending:
    taken = [judging for _, _, judging, _ in outcomes if isinstance(judging, dict)]

    def total(name: str) -> float:
        values = (judging.get(name) for judging in taken)
        return sum(v for v in values if isinstance(v, int | float) and not isinstance(v, bool))

    currencies = {judging.get("currency") for judging in taken}
    known = len(currencies) == 1 and all("cost" in judging for judging in taken)
    unscored = Counter(str(reason) for score, reason, _, _ in outcomes if score is None)
    return Spending(
        scorer=scorer,
        asked=len(outcomes),
        decided=sum(decided for *_, decided in outcomes),
        unscored=dict(unscored.most_common()),
        requests=int(total("requests")),
        tokens_in=int(total("tokens_in")),
        tokens_out=int(total("tokens_out")),
        latency_s=round(float(total("latency_s")), 3),
        cost=round(float(total("cost")), 8) if known else None,
        currency=next(iter(currencies)) if known else None,
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
    outcomes: dict[str, list[_Outcome]] = defaultdict(list)
    steps: dict[str, dict[str, list[_Outcome]]] = defaultdict(lambda: defaultdict(list))
    for verdict in verdicts:
        extra, decided = verdict.extra, verdict.score is not None
        whole = (verdict.score, verdict.unscored, extra.get("judging"), decided)
        outcomes[verdict.scorer].append(whole)
        cascade = extra.get("cascade")
        for step in cascade if isinstance(cascade, list) else ():
            if isinstance(step, dict) and isinstance(step.get("scorer"), str):
                final = decided and step["scorer"] == extra.get("step")
                part = (step.get("score"), step.get("unscored"), step.get("judging"), final)
                steps[verdict.scorer][step["scorer"]].append(part)
    return [
        _total(name, whole, tuple(_total(*step) for step in steps[name].items()))
        for name, whole in outcomes.items()
    ]
