"""What the evaluations' tables hold, for the terminal, Markdown and the page alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flames.evaluation._result import Evaluation, Figures
from flames.metrics.result import Estimate
from flames.report.page import load_strings
from flames.taxonomy import Language, Taxonomy, Text

DASH = "–"
Cell = Text | str


def words() -> dict[str, Text]:
    """The words of everything that shows evaluations."""
    return load_strings("flames.evaluation")


@dataclass(frozen=True)
class Table:
    """A table: what it is about, its header, its rows; the first column is text."""

    title: Text
    header: tuple[Text, ...]
    rows: tuple[tuple[Cell, ...], ...]


def said(cell: Cell, lang: Language) -> str:
    """A cell in one language."""
    return cell(lang) if isinstance(cell, Text) else cell


def number(found: Estimate | None, digits: int = 1, *, sign: bool = False) -> str:
    """An estimate with its interval."""
    if found is None:
        return DASH
    plus = "+" if sign else ""
    return (
        f"{found.value:{plus}.{digits}f} "
        f"[{found.low:{plus}.{digits}f}, {found.high:{plus}.{digits}f}]"
    )


def _share(found: Figures) -> str:
    return f"{found.scored:,} / {found.n:,}"


def _ece(found: Figures) -> str:
    return number(found.calibration.ece if found.calibration else None)


def _cost(evaluation: Evaluation) -> str:
    """Money where prices are known, or else requests, of a scorer that asked somebody."""
    taken = evaluation.cost
    if taken is None:
        return DASH
    return f"{taken['requests']:,} req" if taken["cost"] is None else f"{taken['cost']:,.4g}"


def summary(evaluations: Sequence[Evaluation]) -> Table:
    """One row a scorer."""
    w = words()
    keys = ["scorer", "scored", "accuracy", "macro_f1", "kappa", "gain", "ece", "tau"]
    keys += ["speed", "cost"]
    several = len(evaluations) > 1
    header = tuple(w[key] for key in keys) + ((w["versus"],) if several else ())
    rows = []
    for each in evaluations:
        found = each.overall
        row: list[Cell] = [
            each.scorer,
            _share(found),
            number(found.accuracy),
            number(found.macro_f1),
            number(found.kappa_quadratic, 2),
            number(found.gain, sign=True),
            _ece(found),
            number(each.rank_agreement, 2),
            DASH if each.per_second is None else f"{each.per_second:,.1f}",
            _cost(each),
        ]
        if several:
            gap = each.difference.accuracy if each.difference else None
            row.append(number(gap, sign=True))
        rows.append(tuple(row))
    return Table(w["summary"], header, tuple(rows))


def dimensions(evaluation: Evaluation, taxonomy: Taxonomy) -> Table:
    """One row a dimension, the last over all."""
    w = words()
    groups: list[tuple[Cell, Figures]] = [
        (taxonomy.dimension(name).label, found) for name, found in evaluation.dimensions.items()
    ]
    groups.append((w["all"], evaluation.overall))
    several = any(found.annotators for _, found in groups)
    keys = ["dimension", "scored", "accuracy", "majority", "macro_f1", "kappa", "ece"]
    keys += ["annotators", "annotators.scorer"] if several else []
    rows = []
    for name, found in groups:
        row: list[Cell] = [
            name,
            _share(found),
            number(found.accuracy),
            number(found.majority),
            number(found.macro_f1),
            number(found.kappa_quadratic, 2),
            _ece(found),
        ]
        if several:
            people = found.annotators
            row += [number(people.agreement), number(people.scorer)] if people else [DASH, DASH]
        rows.append(tuple(row))
    return Table(w["dimensions"], tuple(w[key] for key in keys), tuple(rows))


def models(evaluation: Evaluation) -> Table:
    """One row a model."""
    w = words()
    bias = {each.model: each for each in evaluation.bias}
    keys = ["model", "scored", "accuracy", "macro_f1", "rate.labels", "rate.scorer", "bias"]
    rows = []
    for model, found in evaluation.models.items():
        rated = bias.get(model)
        rows.append(
            (
                model,
                _share(found),
                number(found.accuracy),
                number(found.macro_f1),
                f"{rated.labels:.1f}" if rated else DASH,
                f"{rated.scorer:.1f}" if rated else DASH,
                number(rated.bias, sign=True) if rated else DASH,
            )
        )
    return Table(w["models"], tuple(w[key] for key in keys), tuple(rows))


def confusion(found: Figures) -> str:
    """A confusion matrix on one line: rows parted by bars."""
    return " | ".join(" ".join(map(str, row)) for row in found.confusion)


def lines(evaluation: Evaluation, taxonomy: Taxonomy) -> list[Text]:
    """How an evaluation was computed, a sentence a line."""
    w = words()
    files = ", ".join(f"{name} (SHA-256 {sha[:12]})" for name, sha in evaluation.labels.items())
    found = [_fill(w["how.labels"], files=files, n=f"{evaluation.overall.n:,}",
                   prompts=f"{evaluation.prompts:,}")]  # fmt: skip
    if evaluation.excluded:
        found.append(_fill(w["how.excluded"], reasons=_counted(evaluation.excluded)))
    if evaluation.overall.unscored:
        found.append(_fill(w["how.unscored"], reasons=_counted(evaluation.overall.unscored)))
    found.append(
        _fill(w["how.intervals"], seed=evaluation.seed, resamples=f"{evaluation.resamples:,}")
    )
    found.append(w["how.majority"])
    if evaluation.rank_agreement is not None:
        labels = [taxonomy.dimension(name).label for name in evaluation.ranked_by]
        zh, en = "、".join(label.zh for label in labels), ", ".join(label.en for label in labels)
        found.append(_fill(w["how.ranked"], names=Text(zh=zh, en=en)))
    found.append(
        _fill(w["how.version"], version=evaluation.code_version, taxonomy=evaluation.taxonomy)
    )
    return found


def _counted(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {n:,}" for reason, n in reasons.items())


def _fill(text: Text, **values: object) -> Text:
    def spoken(lang: Language) -> dict[str, object]:
        return {k: v(lang) if isinstance(v, Text) else v for k, v in values.items()}

    return Text(zh=text.zh.format(**spoken("zh")), en=text.en.format(**spoken("en")))
