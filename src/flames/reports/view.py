"""What every form of the report shows, before it takes a form: rows, words and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from flames.collect.limits import format_money
from flames.errors import InputError
from flames.metrics.correction import Corrected, CorrectedGroup, Correction
from flames.metrics.result import Bounds, Coverage, Group, Note, Overall, Result
from flames.records import PromptSetInfo
from flames.reports.words import DASH, listed, name_of, same, say
from flames.scorers.labels import PREFIX
from flames.taxonomy import Dimension, Taxonomy, Text
from flames.text import shorten


@dataclass(frozen=True)
class GroupRow:
    """One measured group with its names and the scores of its scale, best first."""

    kind: Literal["dimension", "subcomponent", "technique"]
    name: str
    label: Text
    group: Group
    scale: tuple[int, ...]
    parent: str | None = None


def dimension_of(taxonomy: Taxonomy, name: str) -> Dimension | None:
    """Returns the taxonomy's dimension of that name, if it is one."""
    try:
        return taxonomy.dimension(name)
    except InputError:
        return None


def dimension_label(taxonomy: Taxonomy, name: str) -> Text:
    """Returns what a dimension is called; one that the taxonomy lacks by its name."""
    dimension = dimension_of(taxonomy, name)
    return dimension.label if dimension else same(name)


def part_label(taxonomy: Taxonomy, dimension: str, name: str) -> Text:
    """Returns what a subcomponent is called; one that the taxonomy lacks by its name."""
    found = dimension_of(taxonomy, dimension)
    labels = {part.name: part.label for part in (found.subcomponents if found else ())}
    return labels.get(name, same(name))


def score_tone(value: int, scale: Sequence[int]) -> str:
    """Returns the colour class of a score: `s3` for the best, `s1` for the worst."""
    return "s3" if value == scale[0] else "s1" if value == scale[-1] else "s2"


def levels_of(rows: Sequence[GroupRow], taxonomy: Taxonomy) -> list[tuple[str, Text]]:
    """Returns every score in the rows, best first, with what it is called."""
    found = sorted({value for row in rows for value in row.scale}, reverse=True)
    names = {level.score: level.name for level in taxonomy.levels}
    return [(str(value), names.get(value, same(str(value)))) for value in found]


def dimension_rows(result: Result, taxonomy: Taxonomy) -> list[GroupRow]:
    """Returns the dimensions in the taxonomy's order, each followed by its subcomponents."""
    rows: list[GroupRow] = []
    placed: set[str] = set()
    for name in _in_order(result.dimensions, taxonomy):
        dimension = dimension_of(taxonomy, name)
        group = result.dimensions[name]
        scale = dimension.scale if dimension else _scores(group)
        label = dimension_label(taxonomy, name)
        rows.append(GroupRow("dimension", name, label, group, scale))
        for part in dimension.subcomponents if dimension else ():
            # Where two dimensions have a part of the same name, both are named in full.
            for key in (part.name, f"{name} · {part.name}"):
                if found := result.subcomponents.get(key):
                    rows.append(GroupRow("subcomponent", part.name, part.label, found, scale, name))
                    placed.add(key)
    rows += [
        GroupRow("subcomponent", name, same(name), group, _scores(group))
        for name, group in result.subcomponents.items()
        if name not in placed
    ]
    return rows


def technique_rows(result: Result) -> list[GroupRow]:
    """Returns one row per technique."""
    return [
        GroupRow("technique", name, name_of("technique", name), group, _scores(group))
        for name, group in result.techniques.items()
    ]


def _scores(group: Group) -> tuple[int, ...]:
    return tuple(int(score) for score in group.counts)


def bounds(value: Bounds | None) -> str:
    """Returns worst and best case, where they differ."""
    if value is None or value.high - value.low < 1e-9:
        return ""
    return f"{value.low:.1f}{DASH}{value.high:.1f}"


def has_expected(groups: Iterable[Group | Overall]) -> bool:
    """Checks whether any group has a rate that the scorer's probabilities expect."""
    return any(group.expected_harmless_rate is not None for group in groups)


def expected_on(group: Group | Overall, scored: int) -> Text:
    """Returns on how many of the scored responses an expected rate is, unless on all."""
    if group.with_probabilities == scored:
        return same("")
    return say("expected.on", n=group.with_probabilities, scored=scored)


def is_apart(group: Group | Overall) -> bool:
    """Checks whether the expected rate lies outside the interval of the counted one."""
    counted, expected = group.harmless_rate, group.expected_harmless_rate
    if counted is None or expected is None:
        return False
    return not counted.low <= expected.value <= counted.high


def counts(group: Group, scale: Sequence[int]) -> str:
    """Returns the scores' counts, best first: `113/88/48`."""
    return "/".join(str(group.counts.get(str(value), 0)) for value in scale)


def percent(part: int, whole: int) -> str:
    """Returns a share in per cent; less than all never reads 100."""
    if not whole:
        return DASH
    share = 100 * part / whole
    return f"{share:.1f}" if part == whole or share < 99.95 else "99.9"


def measured_dimensions(results: Sequence[Result], taxonomy: Taxonomy) -> list[tuple[str, Text]]:
    """Returns name and label of every measured dimension, in the taxonomy's order."""
    found = dict.fromkeys(name for result in results for name in result.dimensions)
    return [(name, dimension_label(taxonomy, name)) for name in _in_order(found, taxonomy)]


def _in_order(dimensions: Iterable[str], taxonomy: Taxonomy) -> list[str]:
    """Puts names into the taxonomy's order, those that it lacks last."""
    order = {name: position for position, name in enumerate(taxonomy.names)}
    return sorted(dimensions, key=lambda name: order.get(name, len(order)))


def partial_line(result: Result, taxonomy: Taxonomy) -> Text:
    """Returns which dimensions are missing, and what follows from it."""
    scored = {name for name, group in result.dimensions.items() if group.scored}
    missing = [d.label for d in taxonomy.dimensions if d.name not in scored]
    total = len(taxonomy.dimensions)
    return say("partial", total=total, have=total - len(missing), missing=listed(missing))


def coverage_line(coverage: Coverage) -> Text:
    """Returns how many responses were answered, scored and truncated."""
    share = percent(coverage.scored, coverage.prompts)
    return say("coverage.line", **coverage.model_dump(exclude={"unscored"}), percent=share)


def prompt_set_line(info: PromptSetInfo, *, digits: int | None = 12) -> Text:
    """Returns the prompt set with its checksum (`digits` of it)."""
    of = say(f"prompt_set.{info.of}")
    line = say("prompt_set.line", name=info.full_name, n=info.n, of=of, sha=info.sha256[:digits])
    if info.limit is None:
        return line
    drawn = "limit" if info.seed is not None else "part"
    sample = say(f"prompt_set.{drawn}", limit=info.limit, seed=info.seed)
    return Text(zh=f"{line.zh}（{sample.zh}）", en=f"{line.en} ({sample.en})")


def method_line(result: Result | Correction) -> Text:
    """Returns what the intervals were computed by, each method named once."""
    found = dict.fromkeys(_methods(result.model_dump()))
    return listed((name_of("method", name) for name in found), "semicolon")


def _methods(data: object) -> Iterator[str]:
    """Yields the method of every estimate in the data of a result, in its order."""
    if isinstance(data, dict):
        if isinstance(method := data.get("method"), str):
            yield method
        for value in data.values():
            yield from _methods(value)


def code_line(result: Result) -> Text:
    """Returns what computed the numbers."""
    values = {name: getattr(result, name) for name in ("taxonomy", "seed", "resamples")}
    return say("code", version=result.code_version, **values)


def conditions_line(result: Result) -> Text | None:
    """Returns how and when the model was asked, as far as it is known."""
    known = result.conditions
    if known is None:
        return None
    parts = [same(f"{name} {value}") for name, value in known.of_settings().items()]
    if known.system_prompt:
        parts.append(say("conditions.system", text=shorten(known.system_prompt, 60)))
    if known.endpoint:
        parts.insert(0, say("conditions.endpoint", endpoint=known.endpoint))
    if known.started:
        days = dict.fromkeys(time[:10] for time in (known.started, known.ended) if time)
        parts.insert(0, say("conditions.when", days=" – ".join(days)))
    if known.requests is not None:
        parts.append(say("conditions.requests", n=f"{known.requests:,}"))
    if known.by_batch is not None:
        parts.append(say("conditions.batch", n=f"{known.by_batch:,}"))
    if known.tokens_in or known.tokens_out:
        counts = {"sent": f"{known.tokens_in or 0:,}", "got": f"{known.tokens_out or 0:,}"}
        parts.append(say("conditions.tokens", **counts))
    if known.cost is not None:
        parts.append(say("conditions.cost", cost=format_money(known.cost, known.currency)))
    if known.duration_s is not None:
        parts.append(say("conditions.duration", time=str(timedelta(seconds=known.duration_s))))
    return listed(parts, "semicolon")


def human_rows(correction: Correction, taxonomy: Taxonomy) -> list[tuple[Text, CorrectedGroup]]:
    """Returns overall (where there is one), then the dimensions, each with what it is called."""
    groups = correction.dimensions
    rows = [(dimension_label(taxonomy, name), group) for name, group in groups.items()]
    if correction.harmless_rate.scorer is None:
        return rows
    measured = [groups[name] for name in correction.measured or groups]
    overall = CorrectedGroup(
        scored=sum(group.scored for group in measured),
        labelled=sum(group.labelled for group in measured),
        harmless_rate=correction.harmless_rate,
        harmless_score=correction.harmless_score,
    )
    whole = len(measured) == len(groups)
    name = say("overall.short" if whole else "overall.of", n=len(measured), total=len(groups))
    return [(name, overall), *rows]


def label_lines(correction: Correction, taxonomy: Taxonomy) -> list[Text]:
    """Returns which labels were used, which not and why, how they were drawn, and the notes."""
    use = correction.labels
    raters = [say("human.unnamed") if _is_made_up(name) else name for name in use.raters]
    lines = [say("human.used", used=use.used, raters=listed(raters))]
    reasons = ("other", "changed", "unscored", "unjudged")
    unused = {reason: getattr(use, reason) for reason in reasons}
    if any(unused.values()):
        why = [say(f"human.{reason}", n=n) for reason, n in unused.items() if n]
        lines.append(say("human.unused", reasons=listed(why, "semicolon")))
    lines.append(say("human.random" if use.random_sample else "human.weighted"))
    if use.target_width is not None:
        lines.append(_labels_needed(correction.harmless_rate, use.target_width))
    lines += [note_line(note, taxonomy) for note in correction.notes]
    return [*lines, say("methods", methods=method_line(correction))]


def _is_made_up(rater: str) -> bool:
    """Tells whether a label's file named nobody, so that only the model gave it a name."""
    return rater.startswith(PREFIX) and "@" not in rater


def note_line(note: Note, taxonomy: Taxonomy) -> Text:
    """Returns a note's sentence with the dimensions' names in either language."""
    values: dict[str, Any] = dict(note.params)
    if not values.keys() & {"dimension", "dimensions"}:
        return note.words
    if "dimension" in values:
        values["dimension"] = dimension_label(taxonomy, values["dimension"])
    if "dimensions" in values:
        names = values["dimensions"].split(", ")
        values["dimensions"] = listed(dimension_label(taxonomy, name) for name in names)
    return say(f"note.{note.code}", **values)


def _labels_needed(value: Corrected, width: float) -> Text:
    key = "more" if value.more_labels else "enough"
    if value.corrected is None:
        key = "more_unknown"
    elif not value.reachable:
        key = "unreachable"
    return say(f"human.{key}", width=f"{width:g}", n=value.more_labels)
