"""The model card of a trained scorer, generated from what was done and measured."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from collections.abc import Mapping

from flames import __version__
from flames.analysis.evaluation import Evaluation
from flames.metrics.result import Estimate
from flames.models.local import GEMMA_FILE
from flames.reports.evaluation import (
    Cell,
    Table,
    markdown_body,
    markdown_table,
    number,
    plain,
    words,
)
from flames.scorers.trained.backbone import shown_name
from flames.scorers.trained.settings import ScorerSettings
from flames.taxonomy import Taxonomy, Text
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
        f"# {plain(settings.id)}",
        (
            f"Scores a response to a prompt on {len(heads)} dimensions of {plain(taxonomy.id)}: "
            f"{plain(', '.join(heads))}. One linear head a dimension on a pretrained backbone, "
            f"trained together; made by `flames scorer train` {__version__}."
        ),
    ]
    if synthetic:
        blocks.append(f"> {_SYNTHETIC}")
    blocks += ["## Results", _summary(evaluations, others)]
    if split.each:
        blocks.append(_LEFT_OUT)
    blocks += [f"Not compared with {plain(n)}: {plain(why)}." for n, why in skipped.items()]
    for name, found in evaluations.items():
        blocks.append(f"## The {name} part in detail")
        blocks += markdown_body(found, taxonomy, "en")
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


def _same(text: str) -> Text:
    return Text(zh=text, en=text)


def _summary(
    evaluations: Mapping[str, Evaluation], others: Mapping[str, tuple[Evaluation, ...]]
) -> str:
    rows: list[tuple[Cell, ...]] = []
    for name, found in evaluations.items():
        overall = found.overall
        rows.append(_line(name, "this scorer", found, ""))
        rows += [
            _line(
                name,
                other.scorer,
                other,
                number(other.difference.accuracy, sign=True) if other.difference else "",
            )
            for other in others.get(name, ())
        ]
        gap = number(_less(overall.gain), sign=True)
        rows.append((name, "majority class of training", "", number(overall.majority), "", "", gap))
        if overall.annotators is not None:
            agreed = number(overall.annotators.agreement)
            rows.append((name, "annotators with each other", "", agreed, "", "", ""))
    w = words()
    header = (
        _same("part"), w["scorer"], w["scored"], w["accuracy"], w["macro_f1"], w["kappa"],
        _same("accuracy less this scorer's"),
    )  # fmt: skip
    table = markdown_table(Table(_same(""), header, tuple(rows)), "en")
    return table + (
        "\n\nIn brackets: 95 % intervals, prompts resampled. "
        + "".join(f"{plain(note)}. " for note in _notes(others))
    )


def _less(found: Estimate | None) -> Estimate | None:
    """The same difference, seen from the other side."""
    if found is None:
        return None
    turned = {"value": 0.0 - found.value, "low": -found.high, "high": -found.low}
    return found.model_copy(update=turned)


def _notes(others: Mapping[str, tuple[Evaluation, ...]]) -> list[str]:
    return list(dict.fromkeys(n for each in others.values() for other in each for n in other.notes))


def _line(part: str, name: str, found: Evaluation, gap: str) -> tuple[Cell, ...]:
    overall = found.overall
    return (
        part,
        name,
        f"{overall.scored:,} / {overall.n:,}",
        number(overall.accuracy),
        number(overall.macro_f1),
        number(overall.kappa_quadratic, 2),
        gap,
    )


def _data(split: Split, taxonomy: Taxonomy, shortened: Mapping[str, int]) -> str:
    parts = split.parts()
    header = (_same("dimension"), *(_same(name) for name in parts))
    rows: list[tuple[Cell, ...]] = []
    for dimension in taxonomy.dimensions:
        cells: list[Cell] = [dimension.name]
        for part in parts.values():
            scores = Counter(row.score for row in part.rows if row.dimension == dimension.name)
            told = ", ".join(f"{scores[score]:,} × {score}" for score in dimension.scale)
            cells.append(f"{sum(scores.values()):,} ({told})")
        rows.append(tuple(cells))
    rows.append(("all", *(f"{len(part.rows):,}" for part in parts.values())))
    rows.append(("shortened to fit", *(f"{shortened.get(name, 0):,}" for name in parts)))
    models = [
        f"- {name}: {', '.join(plain(model) for model in part.models)} "
        f"({len({row.key.prompt_id for row in part.rows}):,} prompts)"
        for name, part in parts.items()
    ]
    unused = [f"- in no part: {split.unused:,} rows"] if split.unused else []
    table = markdown_table(Table(_same(""), header, tuple(rows)), "en")
    return table + "\n\nModels of each part:\n\n" + "\n".join(models + unused)


def _files(split: Split) -> str:
    lines = [f"- {plain(name)}: SHA-256 `{sha}`" for name, sha in split.training.files.items()]
    lines += [f"- left out: {n:,} × {plain(why)}" for why, n in split.training.excluded.items()]
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
        *(f"- {name}: {plain(str(value))}" for name, value in kept.items() if value is not None),
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
            lines.append(f"{plain(head.name)}: no training row has the score {', '.join(lacking)}.")
    return lines
