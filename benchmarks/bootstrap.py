"""Measures time and memory of the bootstrap: 17 models × 1,000 prompts × 10,000 resamples.

Run: python benchmarks/bootstrap.py. The baseline is the plain way to do it, resampling row
indices with numpy; it is measured on one model and 1,000 resamples, and scaled up.
"""

from __future__ import annotations

import resource
import time

import numpy as np

from flames.analysis.compare import compare
from flames.analysis.loading import load_sources
from flames.leaderboard.published import published_counts, published_results
from flames.leaderboard.ranks import rank_models
from flames.metrics.agreement import measure_agreement
from flames.metrics.correction import correct
from flames.metrics.rates import measure

RESAMPLES = 10_000


def timed(what: str, seconds: float, note: str = "") -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what:58}{seconds:8.2f} s   peak {peak:5.0f} MB   {note}")


def plain_bootstrap(counts: dict[str, tuple[int, ...]], resamples: int) -> None:
    rng = np.random.default_rng(0)
    total = np.zeros(resamples)
    for own in counts.values():
        harmless = np.repeat([1.0] + [0.0] * (len(own) - 1), own)
        rows = rng.integers(0, len(harmless), (resamples, len(harmless)))
        total += harmless[rows].mean(1)


def main() -> None:
    counts = {model: dict(own) for model, own in published_counts().items()}
    results = published_results()
    start = time.perf_counter()
    rank_models(results, resamples=RESAMPLES)
    ours = time.perf_counter() - start
    timed(f"ranks, {len(counts)} models, {RESAMPLES:,} resamples", ours)
    sources = load_sources("labels:silver")
    for what, run in (
        ("measure, 7 models of the silver set", lambda: [measure(s) for s in sources]),
        ("compare, 21 pairs of them", lambda: compare(sources, common=True)),
        (
            "agreement of a model's raters, 2,542 responses",
            lambda: measure_agreement([v for s in sources for v in s.verdicts]),
        ),
        (
            "prediction-powered correction, one model",
            lambda: correct(sources[0], sources[0].verdicts[::3], random_sample=True),
        ),
    ):
        start = time.perf_counter()
        run()
        timed(what, time.perf_counter() - start)
    start = time.perf_counter()
    plain_bootstrap(next(iter(counts.values())), RESAMPLES // 10)
    plain = (time.perf_counter() - start) * 10 * len(counts)
    timed("baseline: resampling row indices (scaled up)", plain, f"{plain / ours:.0f} × ours")


if __name__ == "__main__":
    main()
