"""Labelled responses: the material of training and evaluation."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from flames.errors import InputError, UsageError
from flames.metrics.result import Note
from flames.metrics.whole_columns import whole_rows
from flames.options import Opt, listed
from flames.prompts.sets import known_prompts, load_prompts
from flames.records import Key, Response, Verdict
from flames.scorers.base import ScorerInfo
from flames.scorers.card import kind_of
from flames.scorers.label_rows import (
    Labelled,
    ReadLabels,
    Said,
    StoredLabels,
    several_votes,
    text_of,
)
from flames.scorers.labels import BUNDLED, BundledLabels, label_file, read_labels
from flames.scorers.registry import known_scorers, scorer_notes
from flames.storage.checksums import file_sha256
from flames.storage.record_files import ReadOptions, RecordOptions, read_responses
from flames.taxonomy import Taxonomy
from flames.text import shorten


@dataclass(frozen=True)
class LabelledSet:
    """Labelled responses, their files (name → SHA-256), and how many were left out by reason.

    `name` is that of a known set; the labels of a `binary` one only say harmless (3) or not (1).
    """

    rows: Sequence[Labelled]
    files: Mapping[str, str] = field(default_factory=dict)
    excluded: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    name: str | None = None
    binary: bool = False

    @property
    def synthetic(self) -> bool:
        """Whether any of the responses is of a simulated responder."""
        return bool(_bundled_for(self.models))

    @property
    def models(self) -> tuple[str, ...]:
        """The models of the responses, in order of appearance."""
        return tuple(dict.fromkeys(row.key.model for row in self.rows))

    def of(self, rows: Iterable[Labelled]) -> LabelledSet:
        """Returns the set with other rows."""
        return replace(self, rows=tuple(rows))


LabelFiles = Annotated[
    tuple[str, ...],
    Opt(
        "Verdicts with their responses (JSONL, CSV, XLSX), a run's verdicts, labels:silver or "
        "labels:natural; may be repeated.",
        metavar="FILE|RUN",
    ),
]
"""The option `--labels`."""


@dataclass(frozen=True)
class LabelOptions(RecordOptions):
    """How the user wants label files to be read, in every command that takes `--labels`."""

    prompts: Annotated[
        tuple[str, ...],
        Opt(
            "Prompt sets for labels with only a prompt_id; may be repeated.",
            metavar="SET|PATH",
        ),
    ] = ()
    skip_incomplete: Annotated[
        bool, Opt("Skip and count labels without a text instead of stopping.")
    ] = False

    def read_options(self) -> ReadOptions:
        """Loads the taxonomy and the known prompts for `read_labelled`."""
        options = super().read_options()
        prompts = known_prompts(None if self.taxonomy is None else options.taxonomy)
        for name in self.prompts:
            prompts.update(load_prompts(name, taxonomy=options.taxonomy).by_id)
        return replace(options, prompts=prompts)


def read_labelled(
    files: Sequence[str],
    options: ReadOptions | None = None,
    *,
    prompt_needed: bool = True,
    text_needed: bool = True,
    skip_incomplete: bool = False,
    stored: bool = False,
) -> LabelledSet:
    """Reads labels with their responses from files of verdicts, or bundled ones.

    Several verdicts on one response, in one file or in several, are its annotators' labels;
    so is a mapping `votes` (annotator → score) of a row. Unscored verdicts without votes are left
    out and counted.

    Args:
        options: A prompt text that a row lacks is taken from its known prompts.
        prompt_needed: Whether a row without the prompt's text is incomplete.
        text_needed: Whether one without the response's text is; else no texts are kept.
        skip_incomplete: Leave incomplete rows out and count them; else they are an InputError.
        stored: Make each row anew when it is asked for, so that many fit.
    """
    options = replace(options or ReadOptions(), numbered=True)
    read = ReadLabels(keep_texts=text_needed)
    excluded: Counter[str] = Counter()
    checksums = {}
    for name in files:
        path = label_file(name)
        bundled = BUNDLED.get(name)
        checksums[path.name] = file_sha256(path)
        own = replace(options, model=bundled.name) if bundled else options
        if not text_needed and (whole := whole_rows(path, own)) is not None:
            for unscored, n in read.extend(whole, path.name, name, own.prompts).items():
                excluded[f"unscored: {unscored}"] += n
            del whole  # as large as all the rest
            continue
        for number, verdict in enumerate(read_labels(path, own), start=1):
            reason = _incomplete(verdict, prompt_needed, text_needed)
            if verdict.score is None and not several_votes(verdict):
                excluded[f"unscored: {verdict.unscored}"] += 1
            elif reason is None:
                read.append(verdict, number, path.name, name)
            elif skip_incomplete:
                excluded[reason] += 1
            else:
                raise InputError(_advice(reason, verdict), path=path)
    if not len(read):
        reasons = "; ".join(f"{n:,} × {reason}" for reason, n in excluded.items())
        raise InputError(f"no usable labels{': ' + reasons if reasons else ''}", path=files[0])
    rows = _checked(StoredLabels(read), options.taxonomy)
    models = {part.model for part in rows.columns.parts}
    notes = [note for found in _bundled_for(models) for note in scorer_notes(found.id)]
    ids = {each.id for each in BUNDLED.values()}  # which have notes of their own
    notes += label_notes({said: n for said, n in rows.said().items() if said.scorer not in ids})
    kept = rows if stored else tuple(rows)
    return LabelledSet(kept, checksums, dict(excluded), tuple(notes))


def _checked(rows: StoredLabels, taxonomy: Taxonomy) -> StoredLabels:
    if (apart := rows.apart()) is not None:
        row = rows[apart.row]
        raise InputError(
            f"{row.where} and {apart.place} are on the same prompt, model and sample "
            f"({row.key.prompt_id!r}, {row.key.model!r}, {row.key.sample}), but on different "
            "texts or dimensions"
        )
    if (bad := rows.off_scale(taxonomy)) is not None:
        scale = taxonomy.dimension(bad.dimension).scale
        who, score = next((w, s) for w, s in bad.votes.items() if s not in scale)
        must = f"which must be {listed(scale)} in {bad.dimension}"
        raise InputError(f"{bad.where}: {who!r} gave {score}, {must}", field="votes")
    return rows


def label_notes(said: Mapping[Said, int]) -> tuple[Note, ...]:
    """Returns notes on labels that were given by scorers, and on those of nobody knows whom.

    People's are the labels that name an annotator, `votes`, or a scorer `human:NAME`.

    Args:
        said: How many labels say what.
    """
    kinds = {*known_scorers(), "predicted"} - {"labels"}  # as the released script's rows are read
    bundled = {each.id for each in BUNDLED.values()}
    machines: Counter[str] = Counter()
    unknown = 0
    for each, n in said.items():
        kind = kind_of(each.scorer)
        people = bool(each.annotator or each.votes) or kind == "human"
        if each.scorer in bundled or (kind in kinds and not people):
            machines[each.scorer] += n
        elif not people:
            unknown += n
    notes = []
    if machines:
        names = ", ".join(shorten(name) for name, _ in machines.most_common(3))
        notes.append(Note("machine_labels", n=machines.total(), scorers=names))
    if unknown:
        notes.append(Note("unknown_labels", n=unknown))
    return tuple(notes)


LabelsBy = Literal["people", "machine", "unknown"]
"""Who gave labels; `machine` if not all are by people, `unknown` if the file does not say so."""


def labels_by(notes: Iterable[Note]) -> LabelsBy:
    """Returns who gave the labels that have these notes."""
    codes = {note.code for note in notes}
    if "machine_labels" in codes:
        return "machine"
    return "unknown" if "unknown_labels" in codes else "people"


def _bundled_for(models: Iterable[str]) -> list[BundledLabels]:
    return [b for b in BUNDLED.values() if any(m.startswith(b.responders) for m in models)]


def training_overlap(
    info: ScorerInfo, files: Mapping[str, str], models: Iterable[str] | Mapping[str, int]
) -> tuple[Note, ...]:
    """Returns notes on labels that a scorer may have been trained on (same files and models).

    A scorer that was trained on other prompts of the same models gets a note as well. `models` has
    the model of each labelled response, or how many each has.
    """
    counts = Counter(models)
    notes = []
    for each in info.learnt:
        n = sum(counts[model] for model in each.models)
        if n and not set(each.files).isdisjoint(files.values()):
            notes.append(Note("learnt", scorer=each.scorer, known=n, total=counts.total()))
    return tuple(notes)


def _incomplete(verdict: Verdict, prompt_needed: bool, text_needed: bool) -> str | None:
    if text_needed and not text_of(verdict, "response").strip():
        return "no response text"
    if prompt_needed and not text_of(verdict, "prompt").strip():
        return "no prompt text"
    return None


def _advice(reason: str, verdict: Verdict) -> str:
    who = f"{verdict.prompt_id!r} of {verdict.model!r}"
    if reason == "no prompt text":
        source = verdict.extra.get("prompt_set")
        fetch = f" (`flames prompts fetch {source}`, or" if source == "flames-1k" else " ("
        return (
            f"the prompt {who} has no text here{fetch} --prompts FILE); --skip-incomplete leaves "
            "such labels out"
        )
    return f"the label of {who} has no response text; --skip-incomplete leaves such labels out"


ModelNames = Annotated[
    tuple[str, ...] | None,
    Opt("Only the responses of these models.", metavar="A,B,…", commas=True),
]


@dataclass(frozen=True)
class ResponseSet:
    """Responses to try a scorer on, and the scores that they deserve, where known."""

    responses: Sequence[Response]
    labels: Mapping[Key, int]
    source: str
    files: Mapping[str, str] = field(default_factory=dict)

    def of_models(self, models: Sequence[str] | None) -> ResponseSet:
        """Returns the responses of some models; all if None."""
        if models is None:
            return self
        kept = [response for response in self.responses if response.model in models]
        if not kept:
            known = ", ".join(sorted({response.model for response in self.responses}))
            raise UsageError(f"no response of {', '.join(models)}; there are: {known}")
        return replace(self, responses=kept, source=f"{self.source} ({', '.join(models)})")

    def sample(self, limit: int | None, seed: int) -> ResponseSet:
        """Draws a seeded sample; returns all if `limit` is None."""
        if limit is None or limit >= len(self.responses):
            return self
        drawn = random.Random(seed).sample(list(self.responses), limit)  # noqa: S311
        source = f"{self.source}, a sample of {limit} (seed {seed})"
        return replace(self, responses=drawn, source=source)


def labelled_responses(files: Sequence[str], taxonomy: Taxonomy) -> ResponseSet:
    """Reads labelled responses; labels without a text are skipped and counted in `source`."""
    options = ReadOptions(taxonomy=taxonomy, prompts=known_prompts(taxonomy))
    found = read_labelled(files, options, skip_incomplete=True)
    labels = {row.key: row.score for row in found.rows if row.score is not None}
    responses = [row.response for row in found.rows if row.score is not None]
    skipped = sum(found.excluded.values()) + len(found.rows) - len(responses)
    return ResponseSet(responses, labels, " + ".join(files) + _skipped(skipped), found.files)


def unlabelled_responses(path: str, taxonomy: Taxonomy) -> ResponseSet:
    """Reads a file's responses; those without text or known prompt are skipped and counted."""
    options = ReadOptions(taxonomy=taxonomy, prompts=known_prompts(taxonomy))
    everything = list(read_responses(path, options))
    kept = [r for r in everything if r.scorable and r.prompt and r.dimension]
    return ResponseSet(kept, {}, Path(path).name + _skipped(len(everything) - len(kept)))


def _skipped(count: int) -> str:
    return f", {count} left out" if count else ""
