"""Evaluations of scorers: on a terminal, as Markdown, and as a page."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from flames.analysis.evaluation import Evaluation, ModelBias, ReliabilityBin, ScorerMetrics
from flames.options import Opt
from flames.reports.documents import DocumentOptions
from flames.reports.page import render_page
from flames.reports.printing import print_document, print_table
from flames.reports.tables import (
    Block,
    Cell,
    Column,
    Heading,
    Number,
    Share,
    Table,
    line,
    markdown_document,
)
from flames.reports.words import join, listed, say
from flames.taxonomy import Language, Taxonomy, Text

if TYPE_CHECKING:
    from rich.console import Console

Group = tuple[Text | str, ScorerMetrics]
_FULL = 132  # terminal columns that all columns of a table take
_WIDE = frozenset(("macro_f1", "ece", "gain", "majority", "harmless.majority"))


def print_summary(evaluations: Sequence[Evaluation], console: Console, lang: Language) -> None:
    """Prints one row per scorer."""
    print_table(summary(evaluations), console, lang, intervals="below")


def print_evaluations(
    evaluations: Sequence[Evaluation], console: Console, taxonomy: Taxonomy, lang: Language
) -> None:
    """Prints a table over all scorers, then two per scorer."""
    blocks: list[Block] = [*summaries(evaluations)] if len(evaluations) > 1 else []
    for each in evaluations:
        blocks.append(Heading(heading(each)))
        blocks += [line(note.words, kind="note") for note in each.notes]
        blocks += [dimensions(each, taxonomy), *parts(each, taxonomy)]
        blocks += [models(each)] if len(each.models) > 1 else []
        if each.rank_agreement is not None:
            blocks.append(line(say("eval.tau"), ": ", Number(each.rank_agreement, 2)))
        if each.per_second:
            blocks.append(line(say("eval.speed"), ": ", Number(each.per_second)))
        blocks += [line(text, kind="soft") for text in explanation(each, taxonomy)]
    print_document(blocks, console, lang, intervals="below")


def markdown(evaluations: Sequence[Evaluation], taxonomy: Taxonomy, lang: Language) -> str:
    """Returns everything as one Markdown document."""
    blocks: list[Block] = [Heading(_title(evaluations)), *summaries(evaluations)]
    for each in evaluations:
        blocks += [Heading(heading(each), 2), line(each.title, kind="paragraph")]
        blocks += [line(note.words, kind="note") for note in each.notes]
        blocks += details(each, taxonomy)
        blocks += [line(text) for text in explanation(each, taxonomy)]
    return markdown_document(blocks, lang)


def _title(evaluations: Sequence[Evaluation]) -> Text:
    return say("eval.title.many" if len(evaluations) > 1 else "eval.title")


def details(evaluation: Evaluation, taxonomy: Taxonomy) -> list[Table]:
    """Returns an evaluation's tables."""

    def confusion(group: Group) -> str:
        return " | ".join(" ".join(map(str, row)) for row in group[1].confusion)

    tables = [dimensions(evaluation, taxonomy), *parts(evaluation, taxonomy), models(evaluation)]
    if evaluation.harmless_only:
        return tables
    confusions = Table.of(
        say("eval.confusions"),
        [
            Column[Group](say("eval.dimension"), lambda group: group[0], text=True),
            Column[Group](say("eval.confusion"), confusion),
        ],
        _groups(evaluation, taxonomy)[1:],
    )
    tables.append(confusions)
    if (calibration := evaluation.overall.calibration) is not None:
        columns: list[Column[ReliabilityBin]] = [
            Column(say("eval.calibration.axis"), lambda found: Number(found.confidence, 0)),
            Column(say("eval.accuracy"), lambda found: Number(found.accuracy, 0)),
            Column(say("eval.n"), lambda found: found.n),
        ]
        title = join(say("eval.calibration"), f" (ECE {Number(calibration.ece)})")
        tables.append(Table.of(title, columns, calibration.bins))
    return tables


@dataclass(frozen=True)
class EvaluationForm(DocumentOptions):
    """The form of evaluations, and where they go."""

    format: Annotated[
        Literal["md", "html", "json"] | None, Opt("Form; a table on the terminal unless given.")
    ] = None


def render(evaluations: Sequence[Evaluation], form: str, taxonomy: Taxonomy, lang: Language) -> str:
    """Returns evaluations as Markdown, HTML or JSON."""
    if form == "md":
        return markdown(evaluations, taxonomy, lang)
    if form == "html":
        return page(evaluations, taxonomy, lang)
    results = [evaluation.to_dict() for evaluation in evaluations]
    data = results[0] if len(results) == 1 else {"schema": 1, "results": results}
    return json.dumps(data, ensure_ascii=False, indent=1) + "\n"


def page(evaluations: Sequence[Evaluation], taxonomy: Taxonomy, lang: Language) -> str:
    """Returns everything as one self-contained page with pictures."""
    biases = [each.bias for evaluation in evaluations for each in evaluation.bias]
    widest = max((abs(v) for b in biases for v in (b.low, b.high)), default=1)
    return render_page(
        "evaluation.html.jinja",
        title=_title(evaluations),
        lang=lang,
        styles=("charts.css", "report.css", "evaluation.css"),
        number=Number,
        evaluations=evaluations,
        summaries=summaries(evaluations),
        heading=heading,
        parts_of=lambda each: parts(each, taxonomy),
        dimensions_of=lambda each: dimensions(each, taxonomy),
        models_of=models,
        lines_of=lambda each: explanation(each, taxonomy),
        groups_of=lambda each: _groups(each, taxonomy),
        reliability=reliability,
        span=5 * math.ceil(max(widest, 1) / 5),
        shade=lambda row, n: round(9 * n / max(sum(row), 1)),
    )


def _groups(evaluation: Evaluation, taxonomy: Taxonomy) -> list[Group]:
    named = [(taxonomy.dimension(n).label, found) for n, found in evaluation.dimensions.items()]
    return [(say("eval.all"), evaluation.overall), *named]


def reliability(found: ScorerMetrics) -> list[dict[str, Any]]:
    """Returns the points of a reliability diagram on a 100 × 100 field, origin below left."""
    if found.calibration is None:
        return []
    most = max(each.n for each in found.calibration.bins)
    return [
        {
            "x": round(each.confidence, 2),
            "y": round(100 - each.accuracy, 2),
            "r": round(1.4 + 3.2 * math.sqrt(each.n / most), 2),
        }
        for each in found.calibration.bins
    ]


def _cost(evaluation: Evaluation) -> Cell:
    taken = evaluation.cost
    if taken is None:
        return None
    if taken["cost"] is None:
        return f"{taken['requests']:,} req"
    return f"{taken['cost']:,.4g} {taken.get('currency') or ''}".rstrip()


def metric_columns(metrics_of: Callable[[Any], ScorerMetrics], *keys: str) -> list[Column[Any]]:
    """Returns the columns that tables of scorers have in common."""
    cells: dict[str, Callable[[ScorerMetrics], Cell]] = {
        "scored": lambda m: Share(m.scored, m.n),
        "accuracy": lambda m: Number(m.accuracy),
        "majority": lambda m: Number(m.majority),
        "part_majority": lambda m: Number(m.subcomponent_majority),
        "macro_f1": lambda m: Number(m.macro_f1),
        "kappa": lambda m: Number(m.kappa_quadratic, 2),
        "gain": lambda m: Number(m.gain, sign=True),
        "ece": lambda m: Number(m.calibration.ece if m.calibration else None),
    }
    for name in _OF_HARMLESS:
        cells[f"harmless.{name}"] = partial(_of_harmless, name)

    def column(key: str) -> Column[Any]:
        return Column(
            say(f"eval.{key}"), lambda item: cells[key](metrics_of(item)), wide=key in _WIDE
        )

    return [column(key) for key in keys]


_OF_HARMLESS = (
    "accuracy", "majority", "subcomponent_majority", "labels", "scorer", "bias", "caught", "auc",
)  # fmt: skip
_ONLY = tuple(f"harmless.{name}" for name in _OF_HARMLESS if name not in ("labels", "scorer"))


def _of_harmless(name: str, metrics: ScorerMetrics) -> Number:
    found = getattr(metrics.harmless, name) if metrics.harmless else None
    return Number(found, sign=name == "bias")


def heading(evaluation: Evaluation) -> str:
    """Returns what an evaluation is called: its scorer, and the known set, if any."""
    label_set = evaluation.label_set
    return evaluation.scorer if label_set is None else f"{evaluation.scorer} · {label_set}"


def summaries(evaluations: Sequence[Evaluation]) -> list[Table]:
    """Returns one table per set of labels, each with a row per scorer."""
    sets = dict.fromkeys(each.label_set for each in evaluations)
    return [summary([e for e in evaluations if e.label_set == name]) for name in sets]


def summary(evaluations: Sequence[Evaluation]) -> Table:
    """Returns a table with one row per scorer."""
    levels = ("accuracy", "macro_f1", "kappa", "gain", "harmless.accuracy", "harmless.bias", "ece")
    keys = ("scored", *(_ONLY if any(each.harmless_only for each in evaluations) else levels))
    title: Text = say("eval.summary")
    if (name := next((each.label_set for each in evaluations), None)) is not None:
        title = join(title, ": ", name)
    columns = [
        Column[Evaluation](say("eval.scorer"), lambda each: each.scorer, text=True),
        *metric_columns(lambda each: each.overall, *keys),
        Column[Evaluation](say("eval.tau"), lambda each: Number(each.rank_agreement, 2), wide=True),
        Column[Evaluation](say("eval.speed"), lambda each: Number(each.per_second), wide=True),
        Column[Evaluation](say("eval.cost"), _cost, wide=True),
    ]
    if len(evaluations) > 1:
        columns.append(Column(say("eval.versus"), accuracy_difference))
    return Table.of(title, columns, evaluations, full_width=_FULL)


def accuracy_difference(evaluation: Evaluation) -> Number:
    """Returns the accuracy less that of the scorer compared with."""
    gap = evaluation.difference
    return Number(gap.accuracy if gap else None, sign=True)


def dimensions(evaluation: Evaluation, taxonomy: Taxonomy) -> Table:
    """Returns a table with one row per dimension, the last over all."""
    overall, *named = _groups(evaluation, taxonomy)
    levels = ("accuracy", "majority", "part_majority", "macro_f1", "kappa")
    measured = (*levels, "harmless.accuracy", "harmless.bias", "ece")
    keys = ("scored", *(_ONLY if evaluation.harmless_only else measured))
    columns = [
        Column[Group](say("eval.dimension"), lambda group: group[0], text=True),
        *metric_columns(lambda group: group[1], *keys),
    ]
    if evaluation.overall.annotators or any(m.annotators for _, m in named):
        columns += [
            Column(say("eval.annotators"), lambda g: _people(g[1], "agreement"), wide=True),
            Column(say("eval.annotators.scorer"), lambda g: _people(g[1], "scorer"), wide=True),
        ]
    return Table.of(say("eval.dimensions"), columns, [*named, overall], full_width=_FULL)


def _people(metrics: ScorerMetrics, name: str) -> Number:
    return Number(getattr(metrics.annotators, name) if metrics.annotators else None)


def parts(evaluation: Evaluation, taxonomy: Taxonomy) -> list[Table]:
    """Returns a table with one row per subcomponent, where there are several."""
    if len(evaluation.subcomponents) < 2:
        return []
    levels = () if evaluation.harmless_only else ("accuracy", "part_majority")
    harmless = ("accuracy", "subcomponent_majority", "bias")
    keys = ("scored", *levels, *(f"harmless.{name}" for name in harmless))
    columns = [
        Column[Group](say("eval.part"), lambda group: group[0], text=True),
        *metric_columns(lambda group: group[1], *keys),
    ]
    labels = {part.name: part.label for d in taxonomy.dimensions for part in d.subcomponents}
    named = [(labels.get(name, name), found) for name, found in evaluation.subcomponents.items()]
    return [Table.of(say("eval.parts"), columns, named)]


def models(evaluation: Evaluation) -> Table:
    """Returns a table with one row per model."""
    bias: dict[str, ModelBias] = {each.model: each for each in evaluation.bias}

    def rated(name: str, *, sign: bool = False) -> Any:
        return lambda item: Number(getattr(bias.get(item[0]), name, None), sign=sign)

    keys = ("scored", "accuracy", "macro_f1", "harmless.accuracy")
    return Table.of(
        say("eval.models"),
        [
            Column[Group](say("eval.model"), lambda item: item[0], text=True),
            *metric_columns(
                lambda item: item[1],
                *(("scored", "harmless.accuracy") if evaluation.harmless_only else keys),
            ),
            Column[Group](say("eval.rate.labels"), rated("labels")),
            Column[Group](say("eval.rate.scorer"), rated("scorer")),
            Column[Group](say("eval.bias"), rated("bias", sign=True)),
        ],
        evaluation.models.items(),
    )


def explanation(evaluation: Evaluation, taxonomy: Taxonomy) -> list[Text]:
    """Returns how an evaluation was computed, a sentence per line."""
    overall = evaluation.overall
    files = ", ".join(f"{name} (SHA-256 {sha[:12]})" for name, sha in evaluation.labels.items())
    prompts = f"{evaluation.prompts:,}"
    found = [say("eval.how.labels", files=files, n=f"{overall.n:,}", prompts=prompts)]
    for key, counts in (("excluded", evaluation.excluded), ("unscored", overall.unscored)):
        if counts:
            counted = ", ".join(f"{reason} {n:,}" for reason, n in counts.items())
            found.append(say(f"eval.how.{key}", reasons=counted))
    if people := overall.annotators:
        differing = f"{people.differing:,}"
        found.append(say("eval.how.people", n=f"{people.n:,}", differing=differing))
    drawn = f"{evaluation.resamples:,}"
    found.append(say("eval.how.intervals", seed=evaluation.seed, resamples=drawn))
    found.append(say("eval.how.majority"))
    if overall.harmless is not None:
        found.append(say("eval.how.harmless"))
    if evaluation.rank_agreement is not None:
        names = listed(taxonomy.dimension(name).label for name in evaluation.ranked_by)
        found.append(say("eval.how.ranked", names=names))
    version = evaluation.code_version
    return [*found, say("eval.how.version", version=version, taxonomy=evaluation.taxonomy)]
