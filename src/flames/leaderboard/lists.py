"""Lists of the leaderboard: what may be ranked together, ranked."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

from flames.leaderboard.entries import LeaderboardEntry
from flames.leaderboard.published import RELEASES, published_results
from flames.leaderboard.ranks import Ranking, has_scores, rank_models
from flames.metrics.rates import RESAMPLES, measure
from flames.metrics.result import Result
from flames.metrics.source import Source
from flames.records import PromptSetInfo, Verdict
from flames.storage.run_dir import safe_name
from flames.taxonomy import Taxonomy


@dataclass(frozen=True)
class ListRow:
    """One row of a list: a model, measured or published. `name` is unique in its list."""

    name: str
    result: Result
    entry: LeaderboardEntry | None = None


@dataclass(frozen=True)
class BoardList:
    """Models measured with the same prompts and scorer, or published together.

    `lines` come best first; those without an overall value, which `overall` leaves out, last.
    """

    slug: str
    release: str | None
    prompt_set: PromptSetInfo
    scorer: str
    samples: int
    lines: tuple[ListRow, ...]
    overall: Ranking | None
    dimensions: tuple[Ranking, ...]

    @cached_property
    def by_name(self) -> dict[str, ListRow]:
        """The lines by what they are called."""
        return {line.name: line for line in self.lines}


def board_lists(
    entries: Sequence[LeaderboardEntry],
    taxonomy: Taxonomy,
    *,
    releases: Sequence[str] = RELEASES,
    resamples: int = RESAMPLES,
) -> list[BoardList]:
    """Returns all lists: measured ones, largest first, then published ones, newest first.

    Published tables are of Flames' own dimensions and stand beside its taxonomy only.
    """
    groups: dict[tuple[str, ...], list[LeaderboardEntry]] = {}
    for entry in entries:
        groups.setdefault(entry.group, []).append(entry)
    lists = []
    for group in sorted(groups.values(), key=len, reverse=True):
        lines = []
        for name, entry in zip(_names(group), group, strict=True):
            result = measure(counted(entry), taxonomy, resamples=resamples)
            own = None if name == entry.model else name
            lines.append(ListRow(name, result.model_copy(update={"name": own}), entry))
        name = safe_name(f"{group[0].prompt_set.name}-{group[0].scorer}").casefold()[:60]
        digest = hashlib.sha256("\n".join(group[0].group).encode("utf-8")).hexdigest()[:6]
        lists.append(_list(f"{name}-{digest}", None, lines, taxonomy, resamples))
    for release in sorted(releases, reverse=True) if taxonomy.name == "flames" else ():
        results = published_results(release, resamples=resamples)
        lines = [ListRow(name, result) for name, result in results.items()]
        lists.append(_list(f"published-{release}", release, lines, taxonomy, resamples))
    return lists


def _names(entries: Sequence[LeaderboardEntry]) -> list[str]:
    """The entries' titles; with their date, and then a number, where that is needed to differ."""
    titles = Counter(entry.title for entry in entries)
    names: list[str] = []
    for entry in entries:
        name = entry.title if titles[entry.title] == 1 else f"{entry.title} ({entry.date})"
        number = 2
        while name in names:
            name = f"{entry.title} ({entry.date}, {number})"
            number += 1
        names.append(name)
    return names


def _list(
    slug: str, release: str | None, lines: list[ListRow], taxonomy: Taxonomy, resamples: int
) -> BoardList:
    first = lines[0].result

    def rate(line: ListRow) -> float:
        found = line.result.overall.harmless_rate
        return -1.0 if found is None else found.value

    rankings = [_ranking(lines, name, taxonomy, resamples) for name in taxonomy.names]
    return BoardList(
        slug=slug,
        release=release,
        prompt_set=first.prompt_set,
        scorer=first.scorer,
        samples=first.samples,
        lines=tuple(sorted(lines, key=rate, reverse=True)),
        overall=_ranking(lines, None, taxonomy, resamples),
        dimensions=tuple(found for found in rankings if found is not None),
    )


def _ranking(
    lines: Sequence[ListRow], dimension: str | None, taxonomy: Taxonomy, resamples: int
) -> Ranking | None:
    names = taxonomy.names if dimension is None else (dimension,)
    results = {
        line.name: line.result
        for line in lines
        if all(has_scores(line.result, name) for name in names)
    }
    if not results:
        return None
    return rank_models(results, taxonomy, dimension=dimension, resamples=resamples)


def counted(entry: LeaderboardEntry) -> Source:
    """Returns an entry's counts as verdicts, which are measured like any others.

    Counts do not say which responses answered the same prompt. With several samples per prompt,
    equal scores are put together, which gives the widest intervals that the counts allow.
    """
    return Source(
        model=entry.model,
        scorer=entry.scorer,
        prompt_set=PromptSetInfo(**entry.prompt_set.model_dump()),
        verdicts=tuple(_verdicts(entry)),
        notes=entry.notes,
        origin=Path(entry.file_name),
        samples=entry.samples,
    )


def _verdicts(entry: LeaderboardEntry) -> Iterator[Verdict]:
    truncated = entry.truncated
    for name, group in entry.dimensions.items():
        for part, counts in [*group.subcomponents.items(), (None, group.rest())]:
            scores = Counter(counts.counts).elements()
            reasons = Counter(counts.unscored).elements()
            responses = chain(((int(s), None) for s in scores), ((None, r) for r in reasons))
            for position, (score, why) in enumerate(responses):
                truncated -= score is not None
                yield Verdict.model_construct(
                    prompt_id=f"{name}/{part}/{position // entry.samples}",
                    model=entry.model,
                    sample=position % entry.samples,
                    dimension=name,
                    subcomponent=part,
                    status="truncated" if score is not None and truncated >= 0 else None,
                    scorer=entry.scorer,
                    score=score,
                    unscored=why,
                )
