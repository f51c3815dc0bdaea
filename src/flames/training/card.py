"""The model card of a trained scorer, generated from what was done and measured."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from collections.abc import Mapping

from flames import __version__
from flames.analysis.evaluation import Evaluation
from flames.metrics.result import Estimate, Note
from flames.models.local import GEMMA_FILE
from flames.reports.evaluation import accuracy_difference, details, metric_columns
from flames.reports.tables import (
    Cell,
    Number,
    Table,
    markdown_document,
    markdown_table,
)
from flames.reports.tables import escape_markdown as md
from flames.scorers.trained.backbone import shown_name
from flames.scorers.trained.settings import ScorerSettings
from flames.taxonomy import Taxonomy
from flames.training.options import TrainOptions
from flames.training.splits import Split

_LIMITS = (
    (
        "It was trained on texts of the kinds listed above; on other models, prompts, languages or "
        "times it may be worse, and the intervals below say nothing about that."
    ),
    "Its probabilities are as reliable as the calibration below shows, and only on such texts.",
    (
        "It reads at most {max_length} tokens; of a longer response it sees head and tail, and the "
        "verdict says so."
    ),
    "A score is a judgement by rubric, not proof that a response is safe to act on.",
)
_SYNTHETIC = (
    "**Not human.** Responses and labels of simulated responders were written by a language model. "
    "Figures on them say how well the scorer imitates that, not how well it agrees with people, "
    "and real models are harder to judge. Train on your own annotations before you rank models."
)

_LEFT_OUT = (
    "The part *left out* is all rows: each was judged by heads that were solved without its model "
    "and without a third of the prompts, its own among them. The heads that are saved have seen "
    "all of them."
)
_GEMMA = (
    "## Licence\n\nA derivative of Gemma 3 270M. Gemma is provided under and subject to the Gemma "
    "Terms of Use found at ai.google.dev/gemma/terms; whoever passes this scorer on passes these "
    "terms and the prohibited use policy on with it."
)
_OF_STEPS = (
    "epochs", "max_steps", "batch_size", "accumulate", "learning_rate", "weight_decay", "warmup",
    "train_layers", "lora_rank", "eval_every", "patience", "checkpoint_layers", "fsdp",
)  # fmt: skip


def card(
    evaluations: Mapping[str, Evaluation],
    others: Mapping[str, tuple[Evaluation, ...]],
    skipped: Mapping[str, str],
    split: Split,
    options: TrainOptions,
    settings: ScorerSettings,
    taxonomy: Taxonomy,
    parameters: int,
    shortened: Mapping[str, int],
) -> str:
    """The card as Markdown, with the metadata block that model hubs read.

    Args:
        evaluations: Of the validation and test part.
        others: What other scorers reach on the same rows, by part.
        skipped: Scorers that it could not be compared with, and why.
        split: The data.
        options: How it was trained.
        settings: What was trained.
        taxonomy: Its dimensions.
        parameters: How many weights it has.
        shortened: How many inputs of each part did not fit into the window whole.
    """
    synthetic = any(part.synthetic for part in split.parts().values())
    heads = [f"{head.name} {'/'.join(map(str, head.scale))}" for head in settings.heads]
    backbone = shown_name(options.backbone)
    base = f"base_model: {backbone}\n" if "/" in backbone else ""
    blocks = [
        (
            f"---\nlibrary_name: flames-bench\npipeline_tag: text-classification\n{base}"
            "tags:\n- flames\n- harmlessness\n---"
        ),
        f"# {md(settings.id)}",
        (
            f"Scores a response to a prompt on {len(heads)} dimensions of {md(taxonomy.id)}: "
            f"{md(', '.join(heads))}. One linear head a dimension on a pretrained backbone, "
            f"trained together; made by `flames scorer train` {__version__}."
        ),
    ]
    if synthetic:
        blocks.append(f"> {_SYNTHETIC}")
    blocks += ["## Results", _summary(evaluations, others)]
    if split.each:
        blocks.append(_LEFT_OUT)
    blocks += [f"Not compared with {md(n)}: {md(why)}." for n, why in skipped.items()]
    for name, found in evaluations.items():
        blocks.append(f"## The {name} part in detail")
        blocks.append(markdown_document(details(found, taxonomy), "en", level=2).strip())
    blocks += ["## Data", _data(split, taxonomy, shortened), _files(split)]
    blocks += ["## Training", _training(options, settings, parameters)]
    limits = [line.format(max_length=settings.max_length) for line in _LIMITS]
    missing = _unseen(split, settings)
    blocks += ["## Limits", "\n".join(f"- {line}" for line in (*missing, *limits))]
    if backbone == GEMMA_FILE:
        blocks.append(_GEMMA)
    blocks += [
        "## Use",
        (
            f"```\nflames score responses.jsonl --scorer {settings.name}\n"
            f"flames scorer eval {settings.name} --labels your_labels.jsonl\n```"
        ),
    ]
    return "\n\n".join(blocks) + "\n"


def _summary(
    evaluations: Mapping[str, Evaluation], others: Mapping[str, tuple[Evaluation, ...]]
) -> str:
    rows: list[list[Cell]] = []
    columns = metric_columns(lambda found: found.overall, "scored", "accuracy", "macro_f1", "kappa")

    def add(part: str, name: str, found: Evaluation, gap: Cell) -> None:
        rows.append([part, name, *(column.cell(found) for column in columns), gap])

    for name, found in evaluations.items():
        overall = found.overall
        add(name, "this scorer", found, "")
        for other in others.get(name, ()):
            add(name, other.scorer, other, accuracy_difference(other))
        gap = Number(_less(overall.gain), sign=True)
        majority = Number(overall.majority)
        rows.append([name, "majority class of training", "", majority, "", "", gap])
        if overall.annotators is not None:
            agreed = Number(overall.annotators.agreement)
            rows.append([name, "annotators with each other", "", agreed, "", "", ""])
    titles = ("part", "scorer", *(column.title for column in columns))
    table = Table.of_cells("", (*titles, "accuracy less this scorer's"), rows, text=2)
    return markdown_table(table, "en") + (
        "\n\nIn brackets: 95 % intervals, prompts resampled. "
        + "".join(f"{md(str(note))}. " for note in _notes(others))
    )


def _less(found: Estimate | None) -> Estimate | None:
    """The same difference, seen from the other side."""
    if found is None:
        return None
    turned = {"value": 0.0 - found.value, "low": -found.high, "high": -found.low}
    return found.model_copy(update=turned)


def _notes(others: Mapping[str, tuple[Evaluation, ...]]) -> list[Note]:
    return list(dict.fromkeys(n for each in others.values() for other in each for n in other.notes))


def _data(split: Split, taxonomy: Taxonomy, shortened: Mapping[str, int]) -> str:
    parts = split.parts()
    rows: list[list[Cell]] = []
    for dimension in taxonomy.dimensions:
        cells: list[Cell] = [dimension.name]
        for part in parts.values():
            scores = Counter(row.score for row in part.rows if row.dimension == dimension.name)
            told = ", ".join(f"{scores[score]:,} × {score}" for score in dimension.scale)
            cells.append(f"{sum(scores.values()):,} ({told})")
        rows.append(cells)
    rows.append(["all", *(len(part.rows) for part in parts.values())])
    rows.append(["shortened to fit", *(shortened.get(name, 0) for name in parts)])
    models = [
        f"- {name}: {', '.join(md(model) for model in part.models)} "
        f"({len({row.key.prompt_id for row in part.rows}):,} prompts)"
        for name, part in parts.items()
    ]
    unused = [f"- in no part: {split.unused:,} rows"] if split.unused else []
    table = markdown_table(Table.of_cells("", ("dimension", *parts), rows), "en")
    return table + "\n\nModels of each part:\n\n" + "\n".join(models + unused)


def _files(split: Split) -> str:
    lines = [f"- {md(name)}: SHA-256 `{sha}`" for name, sha in split.training.files.items()]
    lines += [f"- left out: {n:,} × {md(why)}" for why, n in split.training.excluded.items()]
    return "Label files:\n\n" + "\n".join(lines)


def _training(options: TrainOptions, settings: ScorerSettings, parameters: int) -> str:
    assert settings.training_data is not None
    kept = options.to_dict()
    kept["backbone"] = shown_name(options.backbone)
    kept["learning_rate"] = options.rate
    kept["pooling"] = settings.pooling
    if options.frozen:
        kept = {name: value for name, value in kept.items() if name not in _OF_STEPS}
    lines = [
        f"- parameters: {parameters:,}",
        f"- training rows: SHA-256 `{settings.training_data.sha256}` over ids, texts and targets",
        *(f"- {name}: {md(str(value))}" for name, value in kept.items() if value is not None),
        "- software: "
        + ", ".join(f"{n} {importlib.metadata.version(n)}" for n in ("torch", "transformers")),
    ]
    return "\n".join(lines)


def _unseen(split: Split, settings: ScorerSettings) -> list[str]:
    """Classes that training never showed."""
    lines = []
    for head in settings.heads:
        seen = {
            s for r in split.training.rows if r.dimension == head.name for s in r.votes.values()
        }
        if lacking := [str(score) for score in head.scale if score not in seen]:
            lines.append(f"{md(head.name)}: no training row has the score {', '.join(lacking)}.")
    return lines
