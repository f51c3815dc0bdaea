"""One label an item from several: by decision, by majority, by Dawid and Skene's model."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Literal, NamedTuple

from flames.annotation._ledger import Given, Item, Ledger
from flames.annotation.dawid_skene import dawid_skene
from flames.taxonomy import Taxonomy

Method = Literal["adjudicated", "majority", "dawid-skene"]

_EVEN = 1e-9


class Settled(NamedTuple):
    """What an item's labels come to: a score, or the reason why there is none.

    `probabilities` are shares of the votes, or posteriors; `adjudicator` is who decided.
    """

    score: int | None
    unscored: str | None
    probabilities: dict[str, float] | None
    reason: str | None = None
    adjudicator: int | None = None


def answers_by_item(ledger: Ledger) -> dict[int, list[Given]]:
    """Labels and flags of each item; skips say nothing of it."""
    found: dict[int, list[Given]] = defaultdict(list)
    for key in sorted(ledger.answers):
        given = ledger.answers[key]
        if given.answer != "skipped":
            found[given.item].append(given)
    return found


def aggregate(
    method: Method, ledger: Ledger, items: Mapping[int, Item], taxonomy: Taxonomy
) -> dict[int, Settled]:
    """One outcome for every item of the sample, by item.

    `adjudicated` takes decisions, and unanimous labels where there are as many as there should
    be; everything else is unscored with its reason. `majority` takes the most frequent answer (a
    flag is an answer too); a tie is unscored. `dawid-skene` weighs annotators by how they err,
    fitted over all dimensions that share a scale.
    """
    answers = answers_by_item(ledger)
    work = {number: item for number, item in items.items() if item.kind == "work"}
    if method == "dawid-skene":
        return _dawid_skene(answers, work, taxonomy)
    outcome: dict[int, Settled] = {}
    for number, item in work.items():
        given = answers.get(number, [])
        scale = taxonomy.dimension(item.dimension).scale
        if method == "majority":
            outcome[number] = _majority(given, scale)
        else:
            outcome[number] = _adjudicated(ledger, item, given, scale)
    return outcome


def unanimous(given: list[Given], quota: int | None) -> bool:
    """Whether an item needs no adjudicator: enough labels, all the same, no flag."""
    scores = {each.score for each in given}
    return len(given) >= (quota or 1) and len(scores) == 1 and None not in scores


def _adjudicated(ledger: Ledger, item: Item, given: list[Given], scale: tuple[int, ...]) -> Settled:
    shares = _shares(given, scale)
    decision = ledger.decisions.get(item.id)
    if decision is not None:
        unscored = "unjudgeable" if decision.score is None else None
        return Settled(decision.score, unscored, shares, decision.reason, decision.person)
    if unanimous(given, item.quota):
        return Settled(given[0].score, None, shares)
    if not given:
        return Settled(None, "no label", None)
    incomplete = len(given) < (item.quota or 1)
    return Settled(None, "incomplete" if incomplete else "not adjudicated", shares)


def _majority(given: list[Given], scale: tuple[int, ...]) -> Settled:
    if not given:
        return Settled(None, "no label", None)
    votes = Counter(each.score for each in given).most_common()
    if len(votes) > 1 and votes[0][1] == votes[1][1]:
        return Settled(None, "tie", _shares(given, scale))
    score = votes[0][0]
    return Settled(score, "flagged" if score is None else None, _shares(given, scale))


def _shares(given: list[Given], scale: tuple[int, ...]) -> dict[str, float] | None:
    scores = [each.score for each in given if each.score is not None]
    if not scores:
        return None
    return {str(score): scores.count(score) / len(scores) for score in scale}


def _dawid_skene(
    answers: Mapping[int, list[Given]], work: Mapping[int, Item], taxonomy: Taxonomy
) -> dict[int, Settled]:
    outcome: dict[int, Settled] = {}
    by_scale: dict[tuple[int, ...], list[Given]] = defaultdict(list)
    for number, item in work.items():
        labels = [each for each in answers.get(number, []) if each.score is not None]
        by_scale[taxonomy.dimension(item.dimension).scale] += labels
        if not labels:
            outcome[number] = Settled(None, "flagged" if number in answers else "no label", None)
    for scale, labels in by_scale.items():
        if labels:
            outcome |= _fitted(labels, scale)
    return {number: outcome[number] for number in work}


def _fitted(labels: list[Given], scale: tuple[int, ...]) -> dict[int, Settled]:
    numbers = {item: index for index, item in enumerate(dict.fromkeys(g.item for g in labels))}
    people = {who: index for index, who in enumerate(sorted({g.person for g in labels}))}
    model = dawid_skene(
        [numbers[each.item] for each in labels],
        [people[each.person] for each in labels],
        [scale.index(each.score) for each in labels if each.score is not None],
        classes=len(scale),
    )
    outcome: dict[int, Settled] = {}
    for item, index in numbers.items():
        posterior = [float(value) for value in model.posteriors[index]]
        best, second = sorted(posterior, reverse=True)[:2]
        probabilities = {str(s): round(p, 9) for s, p in zip(scale, posterior, strict=True)}
        if best - second < _EVEN:
            outcome[item] = Settled(None, "tie", probabilities)
        else:
            score = scale[posterior.index(best)]
            outcome[item] = Settled(score, None, probabilities)
    return outcome
