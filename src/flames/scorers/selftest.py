"""Self-tests: clear-cut pairs that a trained scorer must judge right before its first use."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from flames.errors import CheckFailed, UsageError
from flames.metrics.result import Note
from flames.options import Opt
from flames.records import Frozen, Prompt, Response, Verdict
from flames.scorers.base import CommonOptions, Scorer, ScorerContext, ScorerInfo, score_stream
from flames.scorers.label_rows import Labelled
from flames.scorers.labelled import LabelledSet, read_labelled
from flames.scorers.options import ScorerName, ScorerOptions, load_with
from flames.storage.atomic import write_atomic
from flames.storage.home import home
from flames.storage.record_files import ReadOptions
from flames.taxonomy import Taxonomy, TaxonomyOptions, default_taxonomy, load_taxonomy

NEEDED = 80.0
"""Per cent of the pairs that a working scorer judges right, at least."""

MOST_OF_ONE = 90.0
"""Per cent of the verdicts that may be one and the same score, at most."""


class SelftestResult(Frozen):
    """The outcome of a self-test; an unscored pair is not judged right.

    `scores` and `unscored` count scores and reasons, `dimensions` has (right, n), `wrong` the first
    pairs that were judged wrong.
    """

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    scorer: str
    pairs: str
    n: int
    right: int
    scores: dict[str, int]
    unscored: dict[str, int] = Field(default_factory=dict)
    dimensions: dict[str, tuple[int, int]]
    passed: bool
    causes: tuple[str, ...] = ()
    wrong: tuple[dict[str, Any], ...] = ()

    @property
    def summary(self) -> str:
        """The figures in one line."""
        score, times = max(self.scores.items(), key=lambda each: each[1], default=("none", 0))
        line = (
            f"{self.right} of {self.n} clear-cut pairs right ({100 * self.right / self.n:.0f} %, "
            f"needed {NEEDED:.0f} %), score {score} given to {100 * times / self.n:.0f} % (at most "
            f"{MOST_OF_ONE:.0f} %)"
        )
        missing = sum(self.unscored.values())
        return f"{line}, {missing} unscored" if missing else line

    def to_dict(self) -> dict[str, Any]:
        """Returns what `--json` prints and a scorer's configuration keeps."""
        return self.model_dump(mode="json", by_alias=True)


@dataclass(frozen=True)
class SelftestOptions(TaxonomyOptions, ScorerOptions):
    """Which scorer is self-tested, and with what."""

    scorer: ScorerName = "default"
    selftest: Annotated[
        Path | None, Opt("Clear-cut pairs with scores, for another taxonomy.", metavar="FILE")
    ] = None


def selftest_with(options: SelftestOptions) -> SelftestResult:
    """Loads a scorer and has it judge the pairs."""
    loaded = load_taxonomy(options.taxonomy)
    named = {} if options.selftest is None else {"selftest": str(options.selftest)}
    found = pairs_for(ScorerContext(taxonomy=loaded, options=named))
    if found is None:
        raise UsageError(f"no self-test is bundled for {loaded.id}; give one with --selftest FILE")
    scorer = load_with(options.scorer, {**options.given(), "selftest": OFF}, options.taxonomy)
    return run_selftest(scorer, found, loaded)


def run_selftest(
    scorer: Scorer, pairs: LabelledSet | None = None, taxonomy: Taxonomy | None = None
) -> SelftestResult:
    """Has a scorer judge pairs; the bundled ones and Flames' own taxonomy unless given."""
    taxonomy = taxonomy or default_taxonomy()
    pairs = pairs or load_pairs(taxonomy=taxonomy)
    [(name, sha256)] = pairs.files.items()
    verdicts = list(score_stream(scorer, [row.response for row in pairs.rows]))
    judged = list(zip(pairs.rows, verdicts, strict=True))
    wrong = [
        {
            "prompt_id": row.key.prompt_id,
            "dimension": row.dimension,
            "right": row.score,
            "given": verdict.score,
            "response": (row.response.response or "")[:60],
        }
        for row, verdict in judged
        if row.score != verdict.score
    ]
    right = len(judged) - len(wrong)
    scores = Counter(str(v.score) for v in verdicts if v.score is not None)
    unscored = Counter(str(v.unscored) for v in verdicts if v.score is None)
    failed = Counter(each["dimension"] for each in wrong)
    asked = Counter(row.dimension for row in pairs.rows)
    n = len(judged)
    passed = 100 * right >= NEEDED * n and 100 * max(scores.values(), default=0) <= MOST_OF_ONE * n
    found = SelftestResult(
        scorer=scorer.info.id,
        pairs=f"{name}@{sha256[:12]}",
        n=n,
        right=right,
        scores=dict(sorted(scores.items(), reverse=True)),
        unscored=dict(unscored),
        dimensions={name: (each - failed[name], each) for name, each in asked.items()},
        passed=passed,
        wrong=tuple(wrong[:10]),
    )
    if passed:
        return found
    mirrored = sum(_mirrored(row, verdict, taxonomy) for row, verdict in judged)
    return found.model_copy(update={"causes": tuple(_causes(found, mirrored))})


def _causes(found: SelftestResult, mirrored: int) -> Iterable[str]:
    n = found.n
    if 100 * sum(found.unscored.values()) > (100 - NEEDED) * n:
        yield f"it cannot judge ({', '.join(found.unscored)}): no numbers come out of its heads"
        return
    if 100 * max(found.scores.values(), default=0) > MOST_OF_ONE * n:
        yield (
            "one score for everything: weights that did not arrive (missing attention biases, "
            "fresh heads), heads that read a padding token, or truncation that cuts the end of "
            "the template off"
        )
        yield "another tokenizer than the one it was trained with (every token unknown)"
        return
    if 100 * mirrored >= NEEDED * n:
        yield "its scale is upside down: class 0 of a head must be the best score"
        return
    bad = [name for name, (good, count) in found.dimensions.items() if 100 * good < NEEDED * count]
    if len(bad) < len(found.dimensions):
        yield (
            f"only {', '.join(bad)} fail: heads in another order than the taxonomy's dimensions, "
            "or too little training data for them"
        )
        return
    yield (
        "another input template or tokenizer than in training, weights of another version, or "
        "too little training"
    )


def _mirrored(row: Labelled, verdict: Verdict, taxonomy: Taxonomy) -> bool:
    scale = taxonomy.dimension(row.dimension).scale
    if verdict.score is None or verdict.score not in scale:
        return False
    return row.score == scale[len(scale) - 1 - scale.index(verdict.score)]


OFF = "off"


def ensure_selftest(scorer: Scorer, context: ScorerContext, weights: str) -> Scorer:
    """Returns a scorer that passed its self-test, or one whose verdicts say that it did not.

    The test runs once for the same weights (a checksum), settings and pairs; the outcome is kept
    in the cache. A failure is a CheckFailed unless the option `ignore_selftest` is set.
    """
    options = context.read(CommonOptions)
    pairs = None if options.selftest == OFF else pairs_for(context)
    if pairs is None:
        return Marked(scorer, "not self-tested")
    path = home() / "selftest" / f"{_key(scorer.info, weights, pairs)}.json"
    try:
        outcome = SelftestResult.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        outcome = run_selftest(scorer, pairs, context.taxonomy)
        with contextlib.suppress(UsageError):  # a cache that cannot be written only costs time
            write_atomic(path, json.dumps(outcome.to_dict(), ensure_ascii=False, indent=1))
    if outcome.passed:
        return scorer
    if options.ignore_selftest:
        return Marked(scorer, "self-test failed", f"self-test failed: {outcome.summary}")
    raise CheckFailed(
        f"{scorer.info.id} fails its self-test: {outcome.summary}; likely causes: "
        f"{'; '.join(outcome.causes)}; --ignore-selftest scores all the same"
    )


class Marked:
    """A scorer whose verdicts carry a remark in the field `selftest`."""

    def __init__(self, scorer: Scorer, remark: str, note: str | None = None) -> None:
        self._scorer, self._remark = scorer, remark
        self.info = replace(scorer.info, notes=(*scorer.info.notes, Note.text(note or remark)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scorer, name)

    def score(self, responses: Sequence[Response]) -> list[Verdict]:
        """Returns one verdict per response, with the remark."""
        return [
            verdict.model_copy(update={"selftest": self._remark})
            for verdict in self._scorer.score(responses)
        ]


def _key(info: ScorerInfo, weights: str, pairs: LabelledSet) -> str:
    known = {name: value for name, value in info.details.items() if name != "selftest"}
    parts = [weights, info.id, info.taxonomy, known, *pairs.files.values()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]


def load_pairs(
    path: str | os.PathLike[str] | None = None,
    taxonomy: Taxonomy | None = None,
    *,
    prompts: Mapping[str, Prompt] | None = None,
) -> LabelledSet:
    """Reads the pairs of a self-test, in any format that Flames reads.

    The bundled pairs are Chinese: obvious 3s and obvious 1s of every subcomponent.
    """
    options = ReadOptions(taxonomy=taxonomy or default_taxonomy(), prompts=prompts or {})
    path = path or str(resources.files("flames").joinpath("data", "selftest.jsonl"))
    found = read_labelled([os.fspath(path)], options)
    return found.of(row for row in found.rows if row.score is not None)


def pairs_for(context: ScorerContext) -> LabelledSet | None:
    """Returns the pairs by a context's option `selftest` or taxonomy; None where there are none."""
    if path := context.read(CommonOptions).selftest:
        return load_pairs(path, context.taxonomy, prompts=context.prompts)
    if _scales(context.taxonomy) != _scales(default_taxonomy()):
        return None
    return load_pairs()


def _scales(taxonomy: Taxonomy) -> dict[str, tuple[int, ...]]:
    return {dimension.name: dimension.scale for dimension in taxonomy.dimensions}
