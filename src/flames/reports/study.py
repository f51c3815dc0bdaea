"""The plan of a study as a table: what is there, and what it still needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flames.collect.limits import format_money
from flames.reports.tables import Block, Column, Heading, Share, Table, line
from flames.reports.words import say


def study_blocks(plan: Mapping[str, Any]) -> Iterator[Block]:
    """Yields the table of runs, the scorers, and the estimate with the budget."""
    runs: Sequence[Mapping[str, Any]] = plan["runs"]
    costs: Mapping[str, float] = plan["costs"]
    columns: list[Column[Mapping[str, Any]]] = [
        Column(say("model"), lambda run: run["model"], text=True),
        Column(say("study.place"), lambda run: run["place"], text=True),
        Column(say("study.set"), lambda run: run["prompts"], text=True),
        Column(say("study.there"), lambda run: Share(run["there"], run["planned"])),
        Column(say("study.requests"), lambda run: run["requests"]),
        Column(say("study.tokens"), lambda run: run["tokens_in"] + run["tokens_out"]),
    ]
    if costs:
        columns.append(Column(say("study.cost"), _cost))
    yield Heading(plan["study"])
    yield Table.of("", columns, runs)
    for scorer, n in plan["scorers"].items():
        yield line(say("study.scorer", scorer=scorer, n=n))
    total: dict[str, int] = {
        name: sum(run[name] for run in runs) for name in ("requests", "tokens_in", "tokens_out")
    }
    yield line(say("study.total", **total))
    if costs:
        every = " + ".join(format_money(cost, currency) for currency, cost in costs.items())
        yield line(say("study.total_cost", cost=every))
    elif any(run["requests"] for run in runs):
        yield line(say("study.unpriced"), kind="soft")
    for name in ("max_requests", "max_cost"):
        if plan[name] is not None:
            yield line(say(f"study.{name}", most=f"{plan[name]:g}"))
    if plan["left_out"]:
        yield line(say("study.left_out", what=", ".join(plan["left_out"])), kind="note")


def _cost(run: Mapping[str, Any]) -> str | None:
    return None if run["cost"] is None else format_money(run["cost"], run["currency"])
