"""Says how small the error of a responder's harmless rate can be: what sampling alone gives.

    python benchmarks/bias_floor.py [--left-out FILE]

A scorer that has no bias of its own, but is right on a response only as often as the bundled ones
are on each left-out natural responder, is simulated: its errors go either way as often. The mean
over the responders of the absolute error of the harmless rate is then the floor for the figure in
the scorer's card, and the root of what is above the floor, squared, is the bias that responders
have of their own. With `--left-out` (verdicts that `scripts/train_bundled.py --left-out` wrote) the
same for the expected harmless rate: labels are drawn by the probabilities of the verdicts.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from flames.scorers.frozen.scorer import bundled_folder
from flames.scorers.lexical import LEXICAL, bundled_model

RUNS = 100_000
GOAL = 5.0  # points that labels:natural are to be off by, at most, on average
BEST = "3"


def cards() -> dict[str, dict]:
    """The left-out figures of the bundled scorers on the natural set."""
    gemma = json.loads((bundled_folder() / "config.json").read_text("utf-8"))
    found = {LEXICAL: bundled_model().card, f"{gemma['name']}@{gemma['version']}": gemma["card"]}
    return {name: card["results"]["natural"] for name, card in found.items()}


def of_labels(results: dict, rng: np.random.Generator) -> np.ndarray:
    """Errors (runs × responders), in points, of a scorer that errs as often, but either way."""
    each = results["responders"].values()
    n = np.array([own["n"] for own in each])
    wrong = 1 - np.array([own["harmless or not"] for own in each]) / 100
    errors = rng.binomial(n, wrong, (RUNS, len(n)))
    return 100 * (2 * rng.binomial(errors, 0.5) - errors) / n


def of_expectation(file: Path, rng: np.random.Generator) -> np.ndarray:
    """Errors (runs × responders), in points, of probabilities that mean what they say."""
    chances: dict[str, list[float]] = {}
    for line in file.read_text("utf-8").splitlines():
        row = json.loads(line)
        if row["model"].startswith("nat-"):
            chances.setdefault(row["model"], []).append(row["probabilities"][BEST])
    found = []
    for own in map(np.array, chances.values()):
        drawn = np.array([(rng.random(len(own)) < own).mean() for _ in range(RUNS // 10)])
        found.append(100 * (drawn - own.mean()))
    return np.stack(found, axis=1)


def own_bias(results: dict, noise: np.ndarray) -> tuple[float, float]:
    """The root mean square of the responders' errors, and what is left of it without noise."""
    each = results["responders"].values()
    errors = np.array([own["said harmless"] - own["harmless"] for own in each])
    seen = float(np.square(errors).mean())
    return seen**0.5, max(0.0, seen - float(np.square(noise).mean())) ** 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--left-out", type=Path, help="left-out verdicts of a bundled scorer")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    for name, results in cards().items():
        noise = of_labels(results, rng)
        means = np.abs(noise).mean(axis=1)
        low, high = np.percentile(means, (2.5, 97.5))
        print(
            f"{name}: without a bias of its own {means.mean():.1f} points on average "
            f"(95 % of runs: {low:.1f} to {high:.1f}; {100 * (means <= GOAL).mean():.1f} % at most "
            f"{GOAL:.0f}), measured {results['all']['mean absolute bias']:.1f}"
        )
        seen, own = own_bias(results, noise)
        print(f"  root mean square {seen:.1f} points, of which the responders' own {own:.1f}")
        for sd in (2.0, 4.0, 6.0):
            shifted = noise + rng.normal(0, sd, noise.shape)
            means = np.abs(shifted).mean(axis=1)
            print(
                f"  with an own bias of {sd:.0f} points (sd): {means.mean():.1f} on average, "
                f"{100 * (means <= GOAL).mean():.0f} % of runs at most {GOAL:.0f}"
            )
    if options.left_out:
        means = np.abs(of_expectation(options.left_out, rng)).mean(axis=1)
        low, high = np.percentile(means, (2.5, 97.5))
        print(
            f"{options.left_out.stem}: calibrated probabilities would be off by {means.mean():.1f} "
            f"points on average (95 % of runs: {low:.1f} to {high:.1f})"
        )


if __name__ == "__main__":
    main()
