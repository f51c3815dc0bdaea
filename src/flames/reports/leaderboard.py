"""The leaderboard's tables on a terminal: published ranks, attack success."""

from __future__ import annotations

from collections.abc import Iterator

from flames.leaderboard.attack import AttackSet, AttackTable
from flames.leaderboard.published import PublishedRanking
from flames.leaderboard.ranks import Ranked
from flames.metrics.result import Estimate
from flames.reports.tables import Block, Cell, Column, Number, Table, line
from flames.reports.words import join, say
from flames.taxonomy import default_taxonomy

_FULL_WIDTH = 120  # terminal columns that dimensions beside the overall value need


def ranking_document(published: PublishedRanking) -> Iterator[Block]:
    """Yields a published table with ranks and groups, and how to read it."""
    ranking, results = published.ranking, published.results
    dimensions = {d.name: d.label for d in default_taxonomy().dimensions}
    by_score = ranking.value == "harmless_score"
    rate, score = say("ranks.rate"), say("ranks.score")

    def value(ranked: Ranked, name: str | None, of_score: bool) -> Number:
        result = results[ranked.model]
        group = result.overall if name is None else result.dimensions[name]
        if of_score:
            return Number(group.harmless_score)
        return Number(group.harmless_rate, 2, 1)

    where = dimensions[ranking.dimension] if ranking.dimension else say("ranks.overall")
    columns: list[Column[Ranked]] = [
        Column(say("list.rank"), lambda r: f"{r.rank} [{r.rank_low}–{r.rank_high}]"),
        Column(say("model"), lambda ranked: ranked.model, text=True),
        Column(say("list.group"), lambda ranked: ranked.groups, text=True),
        Column(where, lambda ranked: value(ranked, ranking.dimension, by_score)),
    ]
    if ranking.dimension is None:
        columns += [
            Column(
                title,
                lambda ranked, name=name: value(ranked, name, by_score).value,  # type: ignore[misc]
                wide=True,
            )
            for name, title in dimensions.items()
        ]
    else:
        other = rate if by_score else score
        columns.append(Column(other, lambda r: value(r, ranking.dimension, not by_score)))
    what = join(where, ", ", score if by_score else rate)
    title = say("ranks.title", release=published.release, what=what)
    yield Table.of(title, columns, published.models, full_width=_FULL_WIDTH)
    yield line(say("ranks.explain"), kind="soft")
    yield line(say("ranks.source"), kind="soft")
    for name, result in results.items():
        for note in result.notes:
            yield line(f"{name}: ", note.words, kind="soft")


def attack_document(table: AttackTable) -> Iterator[Block]:
    """Yields attack success by model and prompt set, and what can be compared."""

    def cell(model: str, column: AttackSet) -> Cell:
        if (model, column) not in table.cells:
            return ""
        found = table.cells[model, column]
        if found is None:
            return say("attack.partial")
        return Number(found, 2, 1) if isinstance(found, Estimate) else f"{found:g}"

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
