"""What may be claimed of a run with people's labels: corrected rates, and how right the scorer is.

One computation for one page: the rates of the scorer, of people, and corrected; the scorer against
the same labels; and how many more labels would make the interval as narrow as wanted.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from flames.analysis.evaluate import evaluate
from flames.analysis.evaluation import Evaluation
from flames.analysis.inputs import check_use, people_labels
from flames.metrics.correction import Correction, correct_for_widths
from flames.metrics.result import Result
from flames.metrics.source import Source
from flames.records import Frozen, Key, Verdict, is_on_other_text, response_of
from flames.scorers.base import ScorerInfo
from flames.scorers.label_rows import Labelled, Said, majority_of
from flames.scorers.labelled import LabelledSet, LabelsBy, label_notes, labels_by
from flames.scorers.labels import label_file
from flames.storage.checksums import file_sha256
from flames.storage.record_files import ReadOptions
from flames.taxonomy import Taxonomy

WIDTHS = (20.0, 10.0, 5.0)
COVERED = 95.0  # per cent of the responses that have to be scored


class Check(Frozen):
    """A condition of the claim: `code` names its sentences, the rest fills them.

    `labelled` counts the labelled responses by dimension, `missing` are those with too few.
    """

    code: str
    met: bool
    values: dict[str, str | int | float] = Field(default_factory=dict)
    labelled: dict[str, int] = Field(default_factory=dict)
    missing: tuple[str, ...] = ()


class Certified(Frozen):
    """One model under one scorer with labels, which are to be people's: `labels_by` says whose.

    `more_labels` maps widths of the interval of the overall harmless rate, in points, to the number
    of labels that are missing; None where labelling everything would not do, or nobody can tell.
    """

    result: Result
    correction: Correction
    evaluation: Evaluation
    more_labels: dict[str, int | None]
    labels_by: LabelsBy
    checks: tuple[Check, ...]

    @property
    def claimable(self) -> bool:
        """Whether all conditions are met."""
        return all(check.met for check in self.checks)


class Certificate(Frozen):
    """What is certified, and the SHA-256 of what it was computed from."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    certified: tuple[Certified, ...]
    files: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON data."""
        return self.model_dump(by_alias=True)


def certify_sources(
    sources: Sequence[Source],
    results: Sequence[Result],
    path: Path,
    read: ReadOptions,
    *,
    random_sample: bool,
    target_width: float,
    seed: int,
) -> Certificate:
    """Puts together what people's labels say of sources and of their scorers."""
    path = label_file(str(path))
    labels = people_labels(sources, path, read, random_sample=random_sample)
    widths = tuple(sorted({*WIDTHS, target_width}, reverse=True))
    made = []
    for source, result in zip(sources, results, strict=True):
        labelled, said = _labelled(source, labels, path)
        check_use([source], labels, path, random_sample=random_sample)
        each = correct_for_widths(
            source, labels, widths, read.taxonomy, random_sample=random_sample, seed=seed
        )
        corrections = dict(zip(widths, each, strict=True))
        info = ScorerInfo(source.scorer, "", read.taxonomy.id, notes=labelled.notes)
        found = evaluate(labelled, source.verdicts, info, read.taxonomy, seed=seed)
        correction = corrections[target_width]
        made.append(
            Certified(
                result=result,
                correction=correction,
                evaluation=found,
                more_labels={f"{w:g}": _more(c) for w, c in corrections.items()},
                labels_by=labels_by(labelled.notes),
                checks=(
                    _people_check(labelled, said),
                    *_checks(result, correction, labelled, read.taxonomy, target_width),
                ),
            )
        )
    files = {str(path.name): file_sha256(path)}
    for source in sources:
        files |= _files_of(source.origin)
    return Certificate(certified=tuple(made), files=files)


def _more(correction: Correction) -> int | None:
    rate = correction.harmless_rate
    return rate.more_labels if rate.reachable and rate.corrected is not None else None


def _labelled(
    source: Source, labels: Iterable[Verdict], path: Path
) -> tuple[LabelledSet, Mapping[Said, int]]:
    """Joins labels to the responses of a source, as labels of the scorer are read.

    Also returns how many labels say what.
    """
    judged = {verdict.key: verdict for verdict in source.verdicts}
    given: dict[Key, list[Verdict]] = {}
    for label in labels:
        verdict = judged.get(label.key)
        prompt, response = source.prompts.get(label.prompt_id), source.responses.get(label.key)
        texts = prompt.asked if prompt else None, response.response if response else None
        if verdict is None or label.score is None or is_on_other_text(label, *texts):
            continue
        given.setdefault(label.key, []).append(label)
    rows = []
    for key, own in given.items():
        votes: dict[str, int] = {}
        for place, label in enumerate(own, start=1):
            Said.of(label, path.name, "").add_to(votes, str(place))
        response = source.responses.get(key) or response_of(judged[key])
        verdict = judged[key]
        response = response.model_copy(
            update={"dimension": verdict.dimension, "subcomponent": verdict.subcomponent}
        )
        rows.append(Labelled(response, majority_of(own), votes, path.name))
    said = Counter(Said.of(label, path.name, "") for own in given.values() for label in own)
    files = {path.name: file_sha256(path)}
    return LabelledSet(tuple(rows), files, notes=label_notes(said)), said


def _people_check(labelled: LabelledSet, said: Iterable[Said]) -> Check:
    found = labels_by(labelled.notes)
    machines = (dict(note.params) for note in labelled.notes if note.code == "machine_labels")
    if found == "machine":
        names = str(next(machines)["scorers"])
    else:
        raters = (dict(each.votes) or (each.annotator or each.scorer,) for each in said)
        names = ", ".join(dict.fromkeys(chain.from_iterable(raters)))
    values: dict[str, str | int | float] = {"by": found, "raters": names}
    return Check(code="people", met=found == "people", values=values)


def _checks(
    result: Result,
    correction: Correction,
    labelled: LabelledSet,
    taxonomy: Taxonomy,
    target_width: float,
) -> tuple[Check, ...]:
    use, coverage = correction.labels, result.overall.coverage
    several = sum(len(row.votes) > 1 for row in labelled.rows)
    groups = correction.dimensions
    lacking = [d.name for d in taxonomy.dimensions if not _has_value(correction, d.name)]
    share = 100 * coverage.scored / coverage.prompts if coverage.prompts else 0.0
    rate = correction.harmless_rate.corrected
    width = rate.high - rate.low if rate is not None else None
    return (
        Check(code="random", met=True, values={"stated": int(use.random_sample)}),
        Check(
            code="dimensions",
            met=not lacking,
            labelled={name: group.labelled for name, group in groups.items()},
            missing=tuple(lacking),
        ),
        Check(code="two", met=several > 0, values={"n": several, "all": len(labelled.rows)}),
        Check(
            code="covered",
            met=share >= COVERED,
            values={"scored": coverage.scored, "all": coverage.prompts, "least": COVERED},
        ),
        Check(
            code="width",
            met=width is not None and width <= target_width,
            values={"width": round(width or 0.0, 1), "wanted": target_width},
        ),
    )


def _has_value(correction: Correction, dimension: str) -> bool:
    group = correction.dimensions.get(dimension)
    return group is not None and group.harmless_rate.corrected is not None


def _files_of(origin: Path) -> dict[str, str]:
    if origin.is_dir():
        inside = [origin / name for name in ("manifest.json", "prompts.jsonl", "responses.jsonl")]
        inside += sorted((origin / "verdicts").glob("*.jsonl"))
        found = [path for path in inside if path.is_file()]
        return {os.path.relpath(path, origin.parent): file_sha256(path) for path in found}
    return {origin.name: file_sha256(origin)} if origin.is_file() else {}
