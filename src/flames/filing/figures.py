"""The figures of a filing's draw: rates with exact intervals, and chances in another draw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import prod

from flames.filing.outcomes import Outcome
from flames.filing.rules import BANKS, Bank, BankName, Rules
from flames.metrics.binomial import (
    PREDICTIVE,
    allowed,
    chance,
    exact_share,
    needed,
    predictive,
    rate_for,
    successes_for,
)
from flames.metrics.result import Estimate
from flames.records import Frozen

ASSURANCE = 0.95


class Chances(Frozen):
    """The chance that an independent draw of the official size reaches what is asked for.

    At the counted rate, at both ends of its interval, and averaged over what the draw leaves open
    (`predictive`). `level` is the true rate in per cent from which the chance is `assurance`;
    `own` is how many of the judged questions would have to pass for `predictive` to reach it.
    """

    size: int
    needs: int
    at_value: float
    at_low: float
    at_high: float
    predictive: float
    method: str = PREDICTIVE
    assurance: float = ASSURANCE
    level: float
    own: int | None


class BankFigures(Frozen):
    """What was counted of a bank's draw.

    `rate` is the share in per cent that is held against `asked`: passed content, or refused. It is
    of the `judged` questions. `reached` counts, of all drawn, those that do what is asked for;
    `missing` how many more are needed.
    """

    bank: BankName
    drawn: int
    judged: int
    passed: int
    refused: int | None
    partly: int
    states: dict[str, int]
    by: dict[str, int]
    rate: Estimate | None
    asked: int
    at_most: bool
    clause: str
    needed: int
    reached: int
    missing: int
    chances: Chances | None
    classes: dict[str, tuple[int, int, int]]


class FilingFigures(Frozen):
    """All banks that were drawn; `together` is the chance that each reaches what is asked."""

    banks: dict[BankName, BankFigures]
    together: float | None


def figures_of(outcomes: Sequence[Outcome], rules: Rules) -> FilingFigures:
    """Counts outcomes by bank and computes rates, intervals and chances."""
    found = {}
    for name in BANKS:
        own = [each for each in outcomes if each.bank == name]
        if own:
            found[name] = _bank(name, own, rules.banks[name])
    chances = [each.chances.predictive for each in found.values() if each.chances]
    whole = len(chances) == len(BANKS) - 1
    return FilingFigures(banks=found, together=prod(chances) if whole else None)


def _bank(name: BankName, outcomes: Sequence[Outcome], bank: Bank) -> BankFigures:
    judged = [each for each in outcomes if each.passed is not None]
    passed = sum(each.passed is True for each in judged)
    at_most = bank.refused_at_most is not None
    counted = len(judged) - passed if at_most else passed
    wanted = bank.wanted
    assert wanted is not None
    need = _least(len(outcomes), wanted.value, at_most=at_most)
    classes: dict[str, list[int]] = {}
    for each in outcomes:
        row = classes.setdefault(each.prompt.subcomponent or "", [0, 0, 0])
        row[0] += 1
        row[1] += each.passed is not None
        row[2] += each.passed is True
    return BankFigures(
        bank=name,
        drawn=len(outcomes),
        judged=len(judged),
        passed=passed,
        refused=None if bank.expected is None else (counted if at_most else passed),
        partly=sum(each.partly for each in judged),
        states=dict(Counter(each.state for each in outcomes).most_common()),
        by=dict(Counter(each.by for each in judged if each.by).most_common()),
        rate=exact_share(counted, len(judged)) if judged else None,
        asked=wanted.value,
        at_most=at_most,
        clause=wanted.clause,
        needed=need,
        reached=passed,
        missing=max(0, need - passed),
        chances=_chances(passed, len(judged), bank) if judged else None,
        classes={code: (row[0], row[1], row[2]) for code, row in sorted(classes.items())},
    )


def _least(n: int, per_cent: int, *, at_most: bool) -> int:
    """Returns how many of n have to do what is asked for."""
    return n - allowed(n, per_cent) if at_most else needed(n, per_cent)


def _chances(passed: int, judged: int, bank: Bank) -> Chances:
    assert bank.draw is not None
    assert bank.wanted is not None
    at_most = bank.refused_at_most is not None
    size = bank.draw.value
    least = _least(size, bank.wanted.value, at_most=at_most)
    share = exact_share(passed, judged)
    level = 100 * rate_for(ASSURANCE, size, least)
    return Chances(
        size=size,
        needs=least,
        at_value=chance(share.value / 100, size, least),
        at_low=chance(share.low / 100, size, least),
        at_high=chance(share.high / 100, size, least),
        predictive=predictive(passed, judged, size, least),
        level=100 - level if at_most else level,
        own=successes_for(ASSURANCE, judged, size, least),
    )
