"""The leaderboard's tables on a terminal: published ranks, attack success."""

from __future__ import annotations

from collections.abc import Iterator

from flames.leaderboard.attack import AttackSet, AttackTable
from flames.leaderboard.published import PublishedRanking
from flames.leaderboard.ranks import Ranked
from flames.metrics.result import Group, Overall
from flames.reports.tables import Block, Cell, Column, Number, Table, line
from flames.reports.words import join, say
from flames.taxonomy import default_taxonomy

FULL_WIDTH = 120
"""Columns of a terminal from which on the dimensions stand beside the overall value."""


def ranking_document(published: PublishedRanking) -> Iterator[Block]:
    """Yields a published table with ranks and groups, and how to read it."""
    ranking, results = published.ranking, published.results
    dimensions = {d.name: d.label for d in default_taxonomy().dimensions}
    by_score = ranking.value == "harmless_score"
    rate, score = say("ranks.rate"), say("ranks.score")

    def main(ranked: Ranked, name: str | None) -> Group | Overall:
        result = results[ranked.model]
        return result.overall if name is None else result.dimensions[name]

    def value(group: Group | Overall, of_score: bool, digits: int = 1) -> Number:
        found = group.harmless_score if of_score else group.harmless_rate
        return Number(found, 1 if of_score else 2, digits)

    def place(ranked: Ranked) -> str:
        return f"{ranked.rank} [{ranked.rank_low}–{ranked.rank_high}]"

    where = dimensions[ranking.dimension] if ranking.dimension else say("ranks.overall")
    columns: list[Column[Ranked]] = [
        Column(say("list.rank"), place),
        Column(say("model"), lambda ranked: ranked.model, text=True),
        Column(say("list.group"), lambda ranked: ranked.groups, text=True),
        Column(where, lambda ranked: value(main(ranked, ranking.dimension), by_score)),
    ]
    if ranking.dimension is None:
        columns += [
            Column(
                title,
                lambda ranked, name=name: value(main(ranked, name), by_score).value,  # type: ignore[misc]
                wide=True,
            )
            for name, title in dimensions.items()
        ]
    else:
        columns.append(
            Column(
                rate if by_score else score,
                lambda ranked: value(main(ranked, ranking.dimension), not by_score),
            )
        )
    what = join(where, ", ", score if by_score else rate)
    title = say("ranks.title", release=published.release, what=what)
    yield Table.of(title, columns, published.models, full_width=FULL_WIDTH)
    yield line(say("ranks.explain"), kind="soft")
    yield line(say("ranks.source"), kind="soft")
    for name, result in results.items():
        for note in result.notes:
            yield line(f"{name}: ", note.words, kind="soft")


def attack_document(table: AttackTable) -> Iterator[Block]:
    """Yields attack success by model and prompt set, and what can be compared."""

    def cell(model: str, column: AttackSet) -> Cell:
        found = table.cells.get((model, column))
        if found is None:
            return ""
        if found.value is None:
            return say("attack.partial")
        return f"{found.value:g}" if found.estimate is None else Number(found.estimate, 2, 1)

    columns = [Column(say("model"), lambda model: model, text=True)]
    columns += [
        Column(
            join(
                f"{column.name}\n",
                say("list.models.n", n=f"{column.n:,}"),
                f"\n{column.scorer}\n",
                say(f"list.badge.{column.source}"),
            ),
            lambda model, column=column: cell(model, column),  # type: ignore[misc]
        )
        for column in table.sets
    ]
    yield Table.of(say("attack.title"), columns, table.models)
    yield line(say("attack.note"), kind="soft")
