"""What a trained scorer reaches on held-back data: evaluations, figures and the model card."""

from __future__ import annotations

import importlib.metadata
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from flames import __version__
from flames.analysis.cards import card_entry
from flames.analysis.evaluate import compare_scorers, evaluate, majority_labels, score_labelled
from flames.analysis.evaluation import Evaluation
from flames.errors import FlamesError, UsageError
from flames.metrics.result import Estimate, Note
from flames.models.local import GEMMA_FILE
from flames.records import Verdict
from flames.reports.evaluation import accuracy_difference, details, metric_columns, print_summary
from flames.reports.tables import Block, Cell, Heading, Number, Table, line, markdown_document
from flames.scorers.base import ScorerContext, ScorerInfo
from flames.scorers.card import FILE, ScorerCard
from flames.scorers.labelled import LabelledSet
from flames.scorers.registry import load_scorer
from flames.scorers.trained.backbone import public_name
from flames.storage.atomic import write_atomic
from flames.taxonomy import Language, Taxonomy
from flames.training.crossfit import FOLDS
from flames.training.options import TrainOptions
from flames.training.splits import LEFT_OUT, Split

_SYNTHETIC = (
    "Not human. Responses and labels of simulated responders were written by a language model. "
    "Figures on them say how well the scorer imitates that model, not how well it agrees with "
    "people, and real models are harder to score. Train on your own annotations before you rank "
    "models."
)
_LEFT_OUT = (
    "The part left out is all rows: each was scored by heads that were fitted without its model "
    f"and without one of {FOLDS} parts of the prompts, its own. The saved heads were fitted on all "
    "rows."
)
_LIMITS = (
    "It may be worse on other kinds of texts than those above: the intervals do not cover that.",
    "Its probabilities are as reliable as the calibration above shows, and only on such texts.",
    "It reads at most {max_length} tokens: the head and tail of a longer response, with a remark.",
    "A score applies a rubric, it is no proof that a response is safe to act on.",
)
_GEMMA = (
    "A derivative of Gemma 3 270M. Gemma is provided under and subject to the Gemma Terms of Use "
    "found at ai.google.dev/gemma/terms; whoever passes this scorer on must pass on these terms "
    "and the prohibited use policy with it."
)


@dataclass(frozen=True)
class Trained:
    """A finished training: the evaluations of each held-back part, also of `others` compared.

    `skipped` has the scorers that it could not be compared with, and why.
    """

    folder: Path
    evaluations: Mapping[str, Evaluation]
    others: Mapping[str, Sequence[Evaluation]]
    skipped: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Returns the evaluation of each part as JSON."""
        return {name: each.to_dict() for name, each in self.evaluations.items()}

    def print(self, console: Console, lang: Language) -> None:
        """Prints a table per part: the new scorer and those it is compared with."""
        for name, each in self.evaluations.items():
            console.print(f"\n{name} part")
            print_summary([each, *self.others[name]], console, lang)


class About(NamedTuple):
    """What a model card says of the scorer itself.

    Args:
        what: One sentence on its architecture, without the full stop.
        longest: The longest input in tokens.
        shortened: The number of inputs longer than that, by part.
        facts: How it was trained, by name.
        software: Packages whose versions matter.
        backbone: As the user named it.
    """

    id: str
    name: str
    what: str
    data_sha256: str
    longest: int
    shortened: Mapping[str, int]
    facts: Mapping[str, Any]
    software: tuple[str, ...]
    backbone: str


def evaluate_parts(
    held: Mapping[str, LabelledSet],
    verdicts: Mapping[str, Sequence[Verdict]],
    scorer_id: str,
    notes: tuple[Note, ...],
    options: TrainOptions,
    taxonomy: Taxonomy,
    split: Split,
    folder: Path,
) -> Trained:
    """Evaluates the new scorer, and those it is compared with, on the held-back parts."""
    info = ScorerInfo(id=scorer_id, title="trained here", taxonomy=taxonomy.id, notes=notes)
    majority = majority_labels(split.training.rows)
    evaluations: dict[str, Evaluation] = {}
    others: dict[str, list[Evaluation]] = {}
    skipped: dict[str, str] = {}
    seed = options.seed
    for name, part in held.items():
        own, others[name] = verdicts[name], []
        if name == LEFT_OUT:
            info = replace(info, notes=(*notes, Note("left_out", scorer=scorer_id)))
        evaluations[name] = evaluate(part, own, info, taxonomy, majority=majority, seed=seed)
        for spec in options.compare or ():
            try:
                scorer = load_scorer(spec, ScorerContext(taxonomy=taxonomy))
                theirs, seconds = score_labelled(scorer, part)
                each = evaluate(part, theirs, scorer.info, taxonomy, seconds=seconds, seed=seed)
                gap = compare_scorers(part, theirs, own, seed=seed)
            except FlamesError as error:
                skipped[spec] = str(error)
            else:
                others[name].append(each.model_copy(update={"difference": gap}))
    return Trained(folder, evaluations, others, skipped)


def write_results(
    result: Trained,
    split: Split,
    about: About,
    taxonomy: Taxonomy,
) -> None:
    """Writes figures and model card."""
    for name, own in result.evaluations.items():
        data = {"schema": 1, "results": [one.to_dict() for one in (own, *result.others[name])]}
        text = json.dumps(data, ensure_ascii=False, indent=1)
        write_atomic(result.folder / f"evaluation-{name.replace(' ', '-')}.json", text + "\n")
    backbone = public_name(about.backbone)
    base = f"base_model: {backbone}\n" if "/" in backbone else ""
    heads = ", ".join(f"{d.name} {'/'.join(map(str, d.scale))}" for d in taxonomy.dimensions)
    blocks: list[Block] = [
        Heading(about.id),
        line(
            f"Scores a response to a prompt on {len(taxonomy.dimensions)} dimensions of "
            f"{taxonomy.id}: {heads}. {about.what}; made by flames scorer train {__version__}.",
            kind="paragraph",
        ),
    ]
    if any(part.synthetic for part in split.parts().values()):
        blocks.append(line(_SYNTHETIC, kind="paragraph"))
    blocks += [Heading("Results", 2), *_results(result, each=split.each)]
    for name, own in result.evaluations.items():
        blocks += [Heading(f"The {name} part in detail", 2), *details(own, taxonomy)]
    blocks += [Heading("Data", 2), *_data(split, taxonomy, about.shortened)]
    blocks += [Heading("Training", 2)]
    blocks += [line(text) for text in _training(about)]
    limits = (text.format(max_length=about.longest) for text in _LIMITS)
    blocks += [Heading("Limits", 2)]
    blocks += [line(text) for text in (*_unseen(split, taxonomy), *limits)]
    if backbone == GEMMA_FILE:
        blocks += [Heading("Licence", 2), line(_GEMMA, kind="paragraph")]
    blocks.append(Heading("Use", 2))
    card = (
        f"---\nlibrary_name: flames-bench\npipeline_tag: text-classification\n{base}"
        f"tags:\n- flames\n- harmlessness\n---\n\n{markdown_document(blocks, 'en')}\n"
        f"```\nflames score responses.jsonl --scorer {about.name}\n"
        f"flames scorer eval {about.name} --labels your_labels.jsonl\n```\n"
    )
    write_atomic(result.folder / "README.md", card)


def write_card(result: Trained, scorer: str) -> None:
    """Writes the card that reports quote, from the rows that were left out or held back."""
    own = result.evaluations.get(LEFT_OUT) or result.evaluations.get("test")
    if own is None:
        return
    card = ScorerCard(scorer=scorer, title=own.title, code_version=__version__)
    try:
        entry = card_entry(own)
    except UsageError:  # no response was scored
        return
    write_atomic(result.folder / FILE, card.with_entries((entry,)).to_json())


def _results(result: Trained, *, each: bool) -> Iterator[Block]:
    columns = metric_columns(lambda one: one.overall, "scored", "accuracy", "macro_f1", "kappa")
    rows: list[list[Cell]] = []
    for part, own in result.evaluations.items():
        gaps: list[Cell] = ["", *map(accuracy_difference, result.others[part])]
        for one, gap in zip((own, *result.others[part]), gaps, strict=True):
            name = "this scorer" if one is own else one.scorer
            rows.append([part, name, *(column.cell(one) for column in columns), gap])
        gain = Number(_negative(own.overall.gain), sign=True)
        majority = Number(own.overall.majority)
        rows.append([part, "majority class of training", "", majority, "", "", gain])
        if people := own.overall.annotators:
            agreement, n = Number(people.agreement), f"{people.n:,}"
            rows.append([part, "annotators with each other", n, agreement, "", "", ""])
    titles = ("part", "scorer", *(column.title for column in columns))
    yield Table.of_cells("", (*titles, "accuracy less this scorer's"), rows, text=2)
    yield line("In brackets: 95% intervals, prompts resampled.", kind="paragraph")
    compared = [one for others in result.others.values() for one in others]
    for note in dict.fromkeys(note for one in compared for note in one.notes):
        yield line(str(note))
    if each:
        yield line(_LEFT_OUT, kind="paragraph")
    for spec, reason in result.skipped.items():
        yield line(f"Not compared with {spec}: {reason}.")


def _negative(gain: Estimate | None) -> Estimate | None:
    if gain is None:
        return None
    negative = {"value": 0.0 - gain.value, "low": -gain.high, "high": -gain.low}
    return gain.model_copy(update=negative)


def _data(split: Split, taxonomy: Taxonomy, shortened: Mapping[str, int]) -> Iterator[Block]:
    parts = split.parts()
    rows: list[list[Cell]] = []
    for dimension in taxonomy.dimensions:
        cells: list[Cell] = [dimension.name]
        for part in parts.values():
            scores = Counter(row.score for row in part.rows if row.dimension == dimension.name)
            counts = ", ".join(f"{scores[score]:,} × {score}" for score in dimension.scale)
            cells.append(f"{sum(scores.values()):,} ({counts})")
        rows.append(cells)
    rows.append(["all", *(len(part.rows) for part in parts.values())])
    rows.append(["shortened to fit", *(shortened.get(name, 0) for name in parts)])
    yield Table.of_cells("", ("dimension", *parts), rows)
    yield line("Models of each part:", kind="paragraph")
    for name, part in parts.items():
        prompts = len({row.key.prompt_id for row in part.rows})
        yield line(f"{name}: {', '.join(part.models)} ({prompts:,} prompts)")
    if split.unused:
        yield line(f"in no part: {split.unused:,} rows")
    yield line("Label files:", kind="paragraph")
    for file, sha in split.training.files.items():
        yield line(f"{file}: SHA-256 {sha}")
    for reason, n in split.training.excluded.items():
        yield line(f"left out: {n:,} × {reason}")


def _training(about: About) -> Iterator[str]:
    yield f"training rows: SHA-256 {about.data_sha256} over ids, texts and targets"
    for name, value in about.facts.items():
        if value is not None:
            text = ", ".join(value) or "none" if isinstance(value, tuple) else str(value)
            yield f"{name}: {text}"
    versions = (f"{name} {importlib.metadata.version(name)}" for name in about.software)
    yield f"software: {', '.join(versions)}"


def _unseen(split: Split, taxonomy: Taxonomy) -> Iterator[str]:
    for head in taxonomy.dimensions:
        rows = (row for row in split.training.rows if row.dimension == head.name)
        seen = {score for row in rows for score in row.votes.values()}
        if missing := [str(score) for score in head.scale if score not in seen]:
            yield f"{head.name}: no training row has the score {', '.join(missing)}."
