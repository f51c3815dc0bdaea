"""Label counts as a stream of verdicts, so that entries are measured like everything else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from flames.leaderboard.entries import Counts, DimensionCounts, Entry
from flames.metrics import PromptSetInfo
from flames.records import Verdict


class Counted:
    """An entry's counts as a stream of verdicts that can be measured."""

    def __init__(self, entry: Entry) -> None:
        self.model = entry.model
        self.scorer = entry.scorer
        self.samples = entry.samples
        self.notes = entry.notes
        self.prompt_set = PromptSetInfo(**entry.prompt_set.model_dump())
        self.verdicts = tuple(_verdicts(entry))


def counted(entry: Entry) -> Counted:
    """An entry's counts as what `flames.metrics.measure` takes.

    Counts do not tell which responses answered the same prompt. With several samples a prompt,
    equal scores are put together, which gives the widest intervals that the counts allow.
    """
    return Counted(entry)


def _verdicts(entry: Entry) -> Iterator[Verdict]:
    truncated = entry.truncated
    for name, group in entry.dimensions.items():
        rest = Counts(
            counts=dict(Counter(group.counts) - _sum(group, "counts")),
            unscored=dict(Counter(group.unscored) - _sum(group, "unscored")),
        )
        for part, counts in [*group.subcomponents.items(), (None, rest)]:
            scores: list[tuple[int | None, str | None]] = []
            for label, n in counts.counts.items():
                scores += [(int(label), None)] * n
            for reason, n in counts.unscored.items():
                scores += [(None, reason)] * n
            for position, (score, why) in enumerate(scores):
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


def _sum(group: DimensionCounts, name: str) -> Counter[str]:
    total: Counter[str] = Counter()
    for part in group.subcomponents.values():
        total.update(getattr(part, name))
    return total
