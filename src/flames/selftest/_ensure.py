"""The self-test before first use: run once for some weights, refused or marked afterwards."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flames.errors import CheckFailed, UsageError
from flames.home import home
from flames.io import write_atomic
from flames.records import Response, Verdict
from flames.scorers.base import Scorer, ScorerContext, ScorerInfo
from flames.selftest._pairs import Pairs, pairs_for
from flames.selftest._run import Outcome, run

OFF = "off"
NOT_TESTED = "not self-tested"


def ensure(scorer: Scorer, context: ScorerContext, weights: str) -> Scorer:
    """Lets only a scorer through that passed its self-test.

    The test runs once for the same weights, settings and pairs; its outcome is kept in the
    cache. Options of the context: `selftest`, a file of pairs, or `off`; `force`, to score
    although it failed. What was not tested, or was forced, says so in every verdict.

    Args:
        scorer: The scorer as it was loaded.
        context: What it was made from.
        weights: Checksum of its weights.

    Raises:
        CheckFailed: The test failed and `force` is not set.
        InputError: The file of pairs cannot be used.
    """
    if context.options.get("selftest") == OFF:
        return Marked(scorer, NOT_TESTED)
    pairs = pairs_for(context)
    if pairs is None:
        return Marked(scorer, NOT_TESTED)
    path = home() / "selftest" / f"{_key(scorer.info, weights, pairs)}.json"
    outcome = _kept(path)
    if outcome is None:
        outcome = run(scorer, pairs, context.taxonomy)
        with contextlib.suppress(UsageError):  # a cache that cannot be written only costs time
            write_atomic(path, json.dumps(outcome.to_dict(), ensure_ascii=False, indent=1))
    if outcome.passed:
        return scorer
    if context.options.get("force"):
        return Marked(scorer, "self-test failed", f"self-test failed: {outcome.summary}")
    raise CheckFailed(
        f"{scorer.info.id} fails its self-test: {outcome.summary}; likely causes: "
        f"{'; '.join(outcome.causes)}; --force scores all the same"
    )


def record(folder: Path, context: ScorerContext) -> Outcome | None:
    """Runs the self-test on a scorer's folder and writes the outcome into its configuration.

    Returns:
        The outcome, failed or not; None where there are no pairs for the taxonomy.

    Raises:
        InputError: The folder holds no usable scorer, or the file of pairs cannot be used.
    """
    from flames.scorers import load_scorer
    from flames.scorers.classifier import read_settings, write_settings

    pairs = pairs_for(context)
    if pairs is None:
        return None
    options = {**context.options, "selftest": OFF}
    scorer = load_scorer(str(folder), replace(context, options=options))
    outcome = run(scorer, pairs, context.taxonomy)
    settings = read_settings(folder)
    write_settings(folder, settings.model_copy(update={"selftest": outcome.to_dict()}))
    return outcome


class Marked:
    """A scorer whose every verdict carries a remark in the field `selftest`."""

    def __init__(self, scorer: Scorer, remark: str, note: str | None = None) -> None:
        self._scorer = scorer
        self._remark = remark
        self.info = replace(scorer.info, notes=(*scorer.info.notes, note or remark))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scorer, name)

    def score(self, responses: Sequence[Response]) -> list[Verdict]:
        """Judges a batch; see `flames.scorers.base.Scorer`."""
        return [
            verdict.model_copy(update={"selftest": self._remark})
            for verdict in self._scorer.score(responses)
        ]


def _key(info: ScorerInfo, weights: str, pairs: Pairs) -> str:
    """Everything that the outcome depends on."""
    details: Mapping[str, Any] = info.details
    known = {name: value for name, value in details.items() if name != "selftest"}
    parts = [weights, info.id, info.taxonomy, known, pairs.sha256]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _kept(path: Path) -> Outcome | None:
    try:
        return Outcome.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
