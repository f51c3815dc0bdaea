"""Verdicts of people or of other systems as a scorer, our bundled labels among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from flames.errors import InputError, UsageError
from flames.records import Key, Response, Verdict, is_on_other_text, verdict_for
from flames.scorers.base import BEFORE_PROMPT, ScorerContext, ScorerInfo, majority
from flames.scorers.registry import scorer_notes
from flames.storage.checksums import file_sha256
from flames.storage.record_files import ReadOptions, read_verdicts
from flames.storage.run_dir import VERDICTS, is_run, open_run
from flames.text import shorten

PREFIX = "labels:"


class BundledLabels(NamedTuple):
    """Labelled responses of simulated responders, of the package and under its licence.

    Neither the responses nor the labels are by people. The names of the responders start with
    `responders`.
    """

    name: str
    title: str
    responders: str
    licence: str = "Apache-2.0"

    @property
    def spec(self) -> str:
        """The name to use it by, `labels:NAME`."""
        return PREFIX + self.name

    @property
    def id(self) -> str:
        """The id of the labels as a scorer."""
        return f"{self.spec}@1"

    @property
    def path(self) -> Path:
        """The file."""
        return Path(str(resources.files("flames").joinpath("data", f"{self.name}.jsonl")))


SILVER = BundledLabels("silver", "Silver labels (synthetic)", "sim-")
NATURAL = BundledLabels("natural", "Labels of naturally written responses (not human)", "nat-")
BUNDLED = {labels.spec: labels for labels in (SILVER, NATURAL)}


def labels_path(spec: str) -> Path:
    """Returns the file behind `labels:FILE` or a bundled set, `labels:` being optional."""
    name = spec.removeprefix(PREFIX)
    bundled = BUNDLED.get(PREFIX + name)
    return bundled.path if bundled else Path(name)


def label_file(spec: str) -> Path:
    """Returns the file of labels behind a name; of a run, the verdicts of its one scorer.

    Raises:
        UsageError: A run has verdicts of several scorers, or none.
    """
    path = labels_path(spec)
    if not is_run(path):
        return path
    files = open_run(path).verdict_files()
    if not files:
        raise UsageError(f"{path}: no verdicts yet; flames score {path} gives them")
    if len(files) > 1:
        there = ", ".join(str(file) for file in files.values())
        raise UsageError(f"{path}: verdicts of several scorers; name one file as labels: {there}")
    return next(iter(files.values()))


def read_labels(path: Path, options: ReadOptions) -> Iterator[Verdict]:
    """Yields the labels of a file; those of a run's file of verdicts with their texts."""
    folder = path.parent.parent
    if path.parent.name != VERDICTS or not is_run(folder):
        yield from read_verdicts(path, options)
        return
    run = open_run(folder)
    responses = {response.key: response for response in run.responses()}
    own = replace(options, model=run.model, mapping={}, encoding=None)
    for verdict in read_verdicts(path, own):
        response = responses.get(verdict.key)
        names = ("prompt", "system", "history", "response")
        given = response.to_dict() if response else {}
        yield verdict.model_copy(update={n: given[n] for n in names if n in given})


class LabelScorer:
    """Looks verdicts up by prompt, model and sample.

    Of several verdicts on one response, the score of more than half of them counts; without such
    a majority the response is unscored.
    """

    def __init__(self, info: ScorerInfo, labels: dict[Key, list[Verdict]]) -> None:
        self.info = info
        self._labels = labels
        self._models = {key.model for key in labels}

    def score(self, responses: Sequence[Response]) -> list[Verdict]:
        """Returns one verdict per response; those without a label are unscored."""
        return [self._verdict(response) for response in responses]

    def _verdict(self, response: Response) -> Verdict:
        dimension = response.dimension or ""
        votes = self._labels.get(response.key, [])
        same = [v for v in votes if not is_on_other_text(v, response.asked, response.response)]
        about = [vote for vote in same if vote.dimension == dimension]
        scores = [vote.score for vote in about if vote.score is not None]
        score, reason = majority(scores), "labels disagree"
        if response.model not in self._models:
            reason = "no label of this model"
        elif not votes:
            reason = "no label"
        elif not same:
            reason = "label of another text"
        elif not about:
            reason = "label of another dimension"
        elif not scores:
            reason = about[0].unscored or "no score"
        return verdict_for(
            response,
            scorer=self.info.id,
            score=score,
            unscored=None if score is not None else reason,
            rationale=about[0].rationale if len(about) == 1 else None,
            annotator=about[0].annotator if len(about) == 1 else None,
        )


def load(argument: str, context: ScorerContext) -> LabelScorer:
    """Loads `labels:FILE` (verdicts in any format that Flames reads) or a bundled set."""
    path = label_file(argument)
    bundled = BUNDLED.get(PREFIX + argument)
    options = ReadOptions(taxonomy=context.taxonomy, prompts=context.prompts)
    labels: dict[Key, list[Verdict]] = {}
    for verdict in read_labels(path, options):
        labels.setdefault(verdict.key, []).append(verdict)
    if not labels:
        raise InputError("holds no labels", path=path)
    sha256 = file_sha256(path)
    votes = [vote for given in labels.values() for vote in given]
    scorers = Counter(vote.scorer for vote in votes)
    details = {
        "path": str(path),
        "sha256": sha256,
        "responses": len(labels),
        "labels": len(votes),
        "models": dict(sorted(Counter(key.model for key in labels).items())),
        "dimensions": dict(Counter(vote.dimension for vote in votes)),
        "given by": {shorten(name): n for name, n in scorers.most_common(20)},
    }
    if bundled:
        details["licence"] = bundled.licence
    info = ScorerInfo(
        id=bundled.id if bundled else f"{PREFIX}{path.stem}@{sha256[:8]}",
        title=bundled.title if bundled else f"Labels from {path.name}",
        taxonomy=context.taxonomy.id,
        notes=scorer_notes(bundled.id) if bundled else (),
        details=details,
        probabilities=False,
        reads=BEFORE_PROMPT,
    )
    return LabelScorer(info, labels)
