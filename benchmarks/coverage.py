"""What the 95 % intervals cover and how often the tests err, by simulation.

Responses are drawn from the published rates and sizes (release 2023-12-11), and from rates near
0 and 100 %. Run: python benchmarks/coverage.py [--runs N] [--labels]
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from flames.annotation.choosing import chances, draw_by_chance
from flames.leaderboard.published import published_counts
from flames.metrics.correction import _part, _Stratum
from flames.metrics.expected import Expected
from flames.metrics.intervals import (
    draw_counted,
    mean_of,
    percentile_interval,
    wilson,
)
from flames.metrics.paired import (
    Outcomes,
    Pairs,
    difference_draws,
    fall_test,
    holm,
    mcnemar_exact,
    sign_flip_test,
)
from flames.metrics.rates import Tally as Group
from flames.metrics.rates import rate_estimate
from flames.taxonomy import default_taxonomy

SCALES = {d.name: np.array(d.scale, float) for d in default_taxonomy().dimensions}
SIZES = {name: sum(own) for name, own in next(iter(published_counts().values())).items()}
RESAMPLES = 1000
Shares = Mapping[str, NDArray[np.float64]]


def mcnemar_midp(better: int, worse: int) -> float:
    """McNemar's mid-p test (Lancaster 1961; Fagerland, Lydersen & Laake 2013): less conservative.

    Its size may exceed the nominal level by a little.
    """
    better, worse = int(better), int(worse)
    changes = better + worse
    if changes == 0:
        return 1.0
    less = min(better, worse)
    point = float(math.comb(changes, less) / 2**changes)
    if better == worse:
        return 1.0 - point / 2
    return 2 * float(bdtr(less, changes, 0.5)) - point


class Tally:
    def __init__(self) -> None:
        self.hits: dict[str, list[list[int]]] = defaultdict(list)

    def start(self) -> None:
        self.open: dict[str, list[int]] = defaultdict(lambda: [0, 0])

    def add(self, name: str, hit: bool) -> None:
        self.open[name][0] += hit
        self.open[name][1] += 1

    def close(self) -> None:
        for name, pair in self.open.items():
            self.hits[name].append(pair)

    def table(self, title: str) -> None:
        print(f"\n{title}\n{'':34}{'mean':>8}{'lowest':>8}{'highest':>9}")
        for name, pairs in self.hits.items():
            shares = [100 * hit / n for hit, n in pairs if n]
            mean = 100 * sum(h for h, _ in pairs) / max(sum(n for _, n in pairs), 1)
            print(f"{name:34}{mean:8.1f}{min(shares):8.1f}{max(shares):9.1f}")


def published() -> Iterator[Shares]:
    for own in published_counts().values():
        yield {name: np.array(counts) / sum(counts) for name, counts in own.items()}


def extremes(rates: tuple[float, ...]) -> Iterator[Shares]:
    for rate in rates:
        yield {
            name: np.array([rate, (1 - rate) * 0.4, (1 - rate) * 0.6])
            if len(scale) == 3
            else np.array([rate, 1 - rate])
            for name, scale in SCALES.items()
        }


def worth(name: str) -> NDArray[np.float64]:
    return SCALES[name] / SCALES[name][0]


def holds(draws: NDArray[np.float64], value: float, truth: float) -> bool:
    low, high = percentile_interval(draws, value)
    return low <= truth <= high


def single(models: Iterator[Shares], runs: int, rng: np.random.Generator, title: str) -> None:
    tally = Tally()
    for shares in models:
        tally.start()
        for _ in range(runs):
            rates, scores, seen = [], [], []
            for name, share in shares.items():
                n = SIZES[name]
                counts = rng.multinomial(n, share)
                low, high = wilson(counts[0], n)
                tally.add(f"Wilson, rate, n = {n}", low <= share[0] <= high)
                rows = np.column_stack([share * 0, worth(name), np.ones(len(share))])
                rows[0, 0] = 1
                kept = counts > 0
                totals = draw_counted(rows[kept], counts[kept], rows[[0, -1]], RESAMPLES, rng)
                rates.append(totals[:, 0] / totals[:, 2])
                scores.append(totals[:, 1] / totals[:, 2])
                value, truth = worth(name) @ counts / n, worth(name) @ share
                seen.append((counts[0] / n, share[0], value, truth))
                if len(share) == 3:
                    tally.add(f"bootstrap, score, n = {n}", holds(scores[-1], value, truth))
            mean = np.mean(seen, axis=0)
            tally.add("bootstrap, overall rate", holds(mean_of(rates), mean[0], mean[1]))
            tally.add("bootstrap, overall score", holds(mean_of(scores), mean[2], mean[3]))
        tally.close()
    tally.table(title)


REPEATS = (
    (249, 3, 0.2), (46, 3, 0.7), (249, 10, 0.5), (46, 5, 0.02),
    (20, 4166, 0.0), (20, 4166, 0.01), (20, 4166, 0.2), (20, 10, 0.5),
)  # fmt: skip
"""Prompts, responses to each, and how alike these are: the variance between prompts as a share."""


def answers(
    prompts: int, samples: int, alike: float, share: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Counts of scores per prompt, whose own shares are drawn from a Dirichlet distribution."""
    spread = 1 / alike - 1 if alike else math.inf
    own = share if math.isinf(spread) else rng.dirichlet(share * spread, prompts)
    return rng.multinomial(samples, own, size=prompts).astype(float)


def tally_of(counts: NDArray[np.float64], levels: NDArray[np.float64]) -> Group:
    """The group that `flames.metrics.rates` makes of such responses."""
    times, sizes = counts.sum(0), counts.sum(1)
    values = np.column_stack([np.arange(len(levels)) == 0, levels]).astype(float)
    kept = times > 0
    return Group(
        n=int(times.sum()),
        counts={str(level): int(n) for level, n in enumerate(times)},
        unscored={},
        outcomes=np.column_stack([counts @ values, sizes]),
        levels=values[kept],
        times=times[kept],
        worst=float(levels[-1]),
        binary=len(levels) == 2,
        score_sum=Fraction(float(times @ levels)),
        expected=Expected.of(np.empty(0), np.empty(0, dtype=int)),
    )


def repeated(runs: int, rng: np.random.Generator) -> None:
    """Several responses a prompt, up to the 83,320 to 20 prompts that started this."""
    tally, ratio = Tally(), []
    for rates in ((0.15, 0.35, 0.5), (0.4, 0.2, 0.4), (0.72, 0.12, 0.16)):
        share, w = np.array(rates), SCALES["Safety"] / 3
        for prompts, samples, alike in REPEATS:
            tally.start()
            how = "20 prompts" if prompts == 20 else "46 and 249 prompts"
            for _ in range(2 * runs):
                groups = [
                    tally_of(answers(prompts, samples, alike, share, rng), w) for _ in range(3)
                ]
                draws = [group.draw(RESAMPLES, rng) for group in groups]
                for group, drawn in zip(groups[:1], draws[:1], strict=True):
                    rate = rate_estimate(group)
                    tally.add(f"rate, {how}", rate.low <= 100 * share[0] <= rate.high)
                    value, truth = float(group.score), float(w @ share)
                    low, high = percentile_interval(drawn[:, 1], value)
                    tally.add(f"score, {how}", low <= truth <= high)
                    ratio.append((rate.high - rate.low) / (100 * (high - low)))
                for i, what in enumerate(("rate", "score")):
                    seen = float(np.mean([float((g.rate, g.score)[i]) for g in groups]))
                    means = mean_of(drawn[:, i] for drawn in draws)
                    truth = float((share[0], w @ share)[i])
                    tally.add(f"overall {what}, {how}", holds(means, seen, truth))
                first, second = (
                    answers(prompts, min(samples, 50), alike, share, rng) for _ in range(2)
                )
                pairs = pairs_of(first, second, w)
                drawn = difference_draws(pairs, RESAMPLES, rng)
                value = float(pairs.differences.mean())
                tally.add(f"difference of scores, {how}", holds(drawn, value, 0.0))
            tally.close()
    tally.table("Several responses a prompt: coverage of 95 % intervals, %")
    low, high = np.quantile(ratio, [0.01, 0.99])
    print(f"width of the rate's interval over the score's: {low:.2f} to {high:.2f} in 98 %")


def expected(runs: int, rng: np.random.Generator) -> None:
    """Mean probabilities of harmless, of sure and unsure scorers, one or ten responses a prompt."""
    tally = Tally()
    for rate in (0.05, 0.3, 0.6, 0.95):
        for spread in (0.3, 2.0, 20.0):
            for samples in (1, 10):
                tally.start()
                how = "10 responses a prompt" if samples == 10 else "1 response a prompt"
                for _ in range(runs):
                    draws, values = [], []
                    for n in SIZES.values():
                        group = chances_of(n, samples, rate, spread, rng)
                        draws.append(group.draw(RESAMPLES, rng))
                        values.append(float(group.rate))
                        found = group.estimate
                        tally.add(f"dimension, {how}", found.low <= 100 * rate <= found.high)
                    held = holds(mean_of(draws), float(np.mean(values)), rate)
                    tally.add(f"overall, {how}", held)
                tally.close()
    tally.table("Expected harmless rate: coverage of 95 % intervals, %")


def chances_of(
    prompts: int, samples: int, rate: float, spread: float, rng: np.random.Generator
) -> Expected:
    """Probabilities of harmless around a mean per prompt, as verdicts carry them."""
    means = rng.beta(rate * spread, (1 - rate) * spread, prompts)[:, None]
    close = rng.beta(means * 9 + 1e-3, (1 - means) * 9 + 1e-3, (prompts, samples))
    chances = means if samples == 1 else close
    return Expected.of(chances.ravel(), np.repeat(np.arange(prompts), samples))


def pairs_of(
    first: NDArray[np.float64], second: NDArray[np.float64], levels: NDArray[np.float64]
) -> Pairs:
    sides = [[np.repeat(levels, own.astype(int)) for own in counts] for counts in (first, second)]
    ours, theirs = (np.array([own.mean() for own in side]) for side in sides)
    return Pairs(
        ours, theirs, float(levels[-1]), responses=(Outcomes.of(sides[0]), Outcomes.of(sides[1]))
    )


def paired(runs: int, rng: np.random.Generator) -> None:
    """Two models of published rates whose outcomes on a prompt agree with some probability."""
    models = list(published())
    tally, errors = Tally(), Tally()
    for first, second, copied in (
        (0, 5, 0.3), (0, 0, 0.5), (3, 9, 0.7), (1, 7, 0.0), (7, 8, 0.5), (2, 2, 0.9), (4, 4, 0.97)
    ):  # fmt: skip
        a, b = models[first], models[second]
        tally.start()
        errors.start()
        for _ in range(runs):
            draws, values, strata = [], [], []
            for name, share in a.items():
                n, w = SIZES[name], worth(name)
                one = rng.choice(len(w), n, p=share)
                two = np.where(rng.random(n) < copied, one, rng.choice(len(w), n, p=b[name]))
                truth_rate = (1 - copied) * (b[name][0] - share[0])
                pairs = Pairs((one == 0) * 1.0, (two == 0) * 1.0)
                drawn = difference_draws(pairs, RESAMPLES, rng)
                value = float(pairs.differences.mean())
                tally.add(f"difference of rates, n = {n}", holds(drawn, value, truth_rate))
                draws.append(drawn)
                values.append((value, truth_rate))
                strata.append(pairs.differences)
                scores = Pairs(w[one], w[two], w[-1])
                drawn = difference_draws(scores, RESAMPLES, rng)
                truth = (1 - copied) * float(w @ b[name] - w @ share)
                value = float(scores.differences.mean())
                tally.add(f"difference of scores, n = {n}", holds(drawn, value, truth))
                if first == second:
                    up, down = int((strata[-1] > 0).sum()), int((strata[-1] < 0).sum())
                    errors.add(f"McNemar, exact, n = {n}", mcnemar_exact(up, down) < 0.05)
                    errors.add(f"McNemar, mid-p, n = {n}", mcnemar_midp(up, down) < 0.05)
                    p = sign_flip_test([scores.differences], RESAMPLES, rng)
                    errors.add(f"sign-flip, score, n = {n}", p < 0.05)
            mean = np.mean(values, axis=0)
            tally.add("difference of overall rates", holds(mean_of(draws), mean[0], mean[1]))
            if first == second:
                errors.add("sign-flip, overall rate", sign_flip_test(strata, RESAMPLES, rng) < 0.05)
        tally.close()
        errors.close()
    tally.table("Paired differences: coverage of 95 % intervals, %")
    errors.table("Tests: rejections at 5 % where both models are alike, %")


ASKED = {
    "Legality": ("Legality",),
    "Safety": ("Safety",),
    "overall": ("overall",),
    "overall, Legality, Safety": ("overall", "Legality", "Safety"),
    "all five dimensions": tuple(SIZES),
}
"""The rules of the simulated gates."""


def gates(runs: int, rng: np.random.Generator) -> None:
    """Gates on a model that is no worse than its baseline: how often a rule is called broken."""
    errors = Tally()
    for shares in list(published())[::2]:
        for copied in (0.0, 0.3, 0.6):
            errors.start()
            for _ in range(runs):
                strata = {}
                for name, share in shares.items():
                    one = rng.choice(len(share), SIZES[name], p=share)
                    again = rng.choice(len(share), SIZES[name], p=share)
                    two = np.where(rng.random(SIZES[name]) < copied, one, again)
                    strata[name] = (two == 0) * 1.0 - (one == 0) * 1.0
                p = {name: fall_test([own], RESAMPLES, rng) for name, own in strata.items()}
                p["overall"] = fall_test(list(strata.values()), RESAMPLES, rng)
                fell = {name: own.mean() < 0 for name, own in strata.items()}
                fell["overall"] = sum(own.mean() for own in strata.values()) < 0
                for title, names in ASKED.items():
                    corrected = holm([p[name] for name in names])
                    broken = (
                        fell[name] and each < 0.05
                        for name, each in zip(names, corrected, strict=True)
                    )
                    errors.add(title, any(broken))
            errors.close()
    errors.table("Gate, --max-drop … --significant, by rules: fails where nothing fell, %")


EVEN, UNEVEN, CHOSEN = "even", "uneven", "chosen"
"""Labels on a simple random sample, by uneven chances, and by `annotate init --choose`."""

Labels = tuple[float, float]
MANY: tuple[Labels, ...] = ((0.2, 0.774), (0.4, 0.774), (0.4, 0.9), (0.7, 0.95))
FEW: tuple[Labels, ...] = ((10, 0.774), (10, 0.9), (15, 0.95))
"""Labels, as a share of the responses or as a number a dimension, and the scorer's accuracy."""


def powered(
    runs: int, rng: np.random.Generator, inclusion: str, settings: tuple[Labels, ...] = MANY
) -> None:
    """Labels on a random part of the published sizes, scorers of 77 to 95 % accuracy.

    A dimension with too few labels has no corrected value; the overall one is over the others.
    """
    tally, left_out = Tally(), 0
    for shares in list(published())[::4]:
        for part, accuracy in settings:
            tally.start()
            for _ in range(runs):
                draws, truths, values = [], [], []
                for name, share in shares.items():
                    stratum = labelled_part(name, share, part, accuracy, inclusion, rng)
                    if stratum.needed:
                        left_out += 1
                        continue
                    [found] = _part(stratum, RESAMPLES, rng)
                    drawn, value = found.corrected_draws[:, 0], found.fits[0].value
                    tally.add(f"rate, n = {SIZES[name]}", holds(drawn, value, share[0]))
                    if len(share) == 3:
                        truth = float(worth(name) @ share)
                        own = found.corrected_draws[:, 1]
                        held = holds(own, found.fits[1].value, truth)
                        tally.add(f"score, n = {SIZES[name]}", held)
                    draws.append(drawn)
                    values.append(value)
                    truths.append(share[0])
                mean, truth = float(np.mean(values)), float(np.mean(truths))
                tally.add("overall rate", holds(mean_of(draws), mean, truth))
            tally.close()
    names = {EVEN: "a simple random sample", UNEVEN: "uneven inclusion", CHOSEN: "--choose"}
    how = names[inclusion]
    how += ", ten or fifteen a dimension" if settings == FEW else ""
    tally.table(f"Prediction-powered, labels by {how}: coverage of 95 % intervals, %")
    print(f"dimensions without a corrected value, for too few labels: {left_out}")


def labelled_part(
    name: str,
    share: NDArray[np.float64],
    part: float,
    accuracy: float,
    inclusion: str,
    rng: np.random.Generator,
) -> _Stratum:
    n, w = SIZES[name], worth(name)
    table = np.column_stack([np.arange(len(w)) == 0, w]).astype(float)
    human = rng.choice(len(w), n, p=share)
    doubt = rng.beta(2, 2 * accuracy / (1 - accuracy), n)  # how unsure the scorer is, rightly so
    wrong = rng.random(n) < (doubt if inclusion == CHOSEN else 1 - accuracy)
    scorer = np.where(wrong, (human + rng.integers(1, len(w), n)) % len(w), human)
    number = round(part * n) if part < 1 else int(part)
    chance = np.full(n, number / n)
    if inclusion == CHOSEN:
        chance = chances(np.sqrt(doubt), number)
        labelled = np.isin(np.arange(n), draw_by_chance(chance, rng))
    elif inclusion == UNEVEN:
        chance = np.clip(np.where(scorer == 0, 0.7, 1.3) * part, 0, 1)
        labelled = rng.random(n) < chance
    else:
        labelled = rng.permutation(n) < number
    order = np.argsort(~labelled, kind="stable")
    k = int(labelled.sum())
    weights = 1 / chance[order][:k]
    return _Stratum(
        human=table[human[order][:k]],
        scorer=table[scorer[order]],
        weights=weights / weights.mean() if k else weights,
        prompts=np.arange(n),
        worst=float(w[-1]),
    )


def sizes_of_mcnemar() -> None:
    """The largest size over all discordant probabilities, by full enumeration (n pairs)."""
    from scipy.stats import binom

    print("\nMcNemar: largest size at nominal 5 %, by enumeration, %")
    for n in (46, 76, 201):
        changes = np.arange(n + 1)
        rejects = {}
        for name, test in (("exact", mcnemar_exact), ("mid-p", mcnemar_midp)):
            rejects[name] = np.array(
                [
                    sum(binom.pmf(b, m, 0.5) for b in range(m + 1) if test(b, m - b) <= 0.05)
                    for m in changes
                ]
            )
        grid = np.linspace(0.005, 1, 200)
        weight = binom.pmf(changes[None, :], n, grid[:, None])
        line = ", ".join(f"{name} {100 * (weight @ r).max():.2f}" for name, r in rejects.items())
        print(f"n = {n}: {line}")


def corrected(runs: int, rng: np.random.Generator) -> None:
    for inclusion in (EVEN, UNEVEN, CHOSEN):
        powered(runs, rng, inclusion)
    powered(2 * runs, rng, EVEN, settings=FEW)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40, help="simulated tables a setting")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--labels", action="store_true", help="only values corrected with labels")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    runs = options.runs
    if options.labels:
        corrected(runs, rng)
        return
    single(published(), runs, rng, "One model, published rates: coverage of 95 % intervals, %")
    near = (0.002, 0.005, 0.01, 0.02, 0.05, 0.95, 0.98, 0.99, 0.995, 0.998)
    single(extremes(near), 2 * runs, rng, "One model, rates 0.2-5 and 95-99.8 %: coverage, %")
    repeated(runs, rng)
    expected(runs, rng)
    paired(2 * runs, rng)
    gates(2 * runs, rng)
    corrected(runs, rng)
    sizes_of_mcnemar()


if __name__ == "__main__":
    main()
