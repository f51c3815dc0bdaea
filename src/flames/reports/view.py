"""What every form of the report shows, before it takes a form: rows, words and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from flames.errors import InputError
from flames.metrics.result import Bounds, Coverage, Estimate, Group, Note, Result
from flames.records import PromptSetInfo
from flames.reports.words import load_strings
from flames.taxonomy import Dimension, Language, Taxonomy, Text

Kind = Literal["dimension", "subcomponent", "technique"]

DASH = "–"


@dataclass(frozen=True)
class GroupRow:
    """One measured group with its names and the scores of its scale, best first."""

    kind: Kind
    name: str
    label: Text
    group: Group
    scale: tuple[int, ...]
    parent: str | None = None


class Words:
    """The report's words in one language."""

    def __init__(self, lang: Language) -> None:
        self.lang: Language = lang
        self._texts = load_strings()

    def __call__(self, key: str, /, **values: object) -> str:
        """The words under a key, values filled in."""
        return self._texts[key](self.lang).format(**values)

    def listed(self, texts: Iterable[str], joint: str = "comma") -> str:
        """Texts in a row, joined as the language does (`comma` or `semicolon`); – for none."""
        return self(joint).join(texts) or DASH

    def reasons(self, counts: Mapping[str, int]) -> str:
        """Unscored responses by reason, as a list."""
        return self.listed(f"{reason_text(name)(self.lang)} {n}" for name, n in counts.items())


def plain(name: str) -> Text:
    """A name that is the same in both languages."""
    return Text(zh=name, en=name)


def reason_text(reason: str) -> Text:
    """A reason for being unscored, in words; reasons that we did not give stay as they are."""
    return load_strings().get(f"reason.{reason}") or plain(reason)


def method_text(method: str) -> Text:
    """An interval's method, in words."""
    return load_strings().get(f"method.{method}") or plain(method)


def technique_text(name: str) -> Text:
    """A technique's name, in words."""
    return load_strings().get(f"technique.{name}") or plain(name)


def note_text(note: Note) -> Text:
    """A note in both languages. Until scorers give codes, their sentences are looked up."""
    known = load_strings().items()
    same = (t for key, t in known if key.startswith("note.") and t.en == str(note))
    return next(same, note.words)


def dimension_of(taxonomy: Taxonomy, name: str) -> Dimension | None:
    """The taxonomy's dimension of that name, if it is one."""
    try:
        return taxonomy.dimension(name)
    except InputError:
        return None


def scale_of(taxonomy: Taxonomy, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """The scores of a dimension, best first."""
    dimension = dimension_of(taxonomy, name)
    return dimension.scale if dimension else default


def score_tone(value: int, scale: Sequence[int]) -> str:
    """The colour class of a score: `s3` for the best, `s1` for the worst, `s2` between."""
    return "s3" if value == scale[0] else "s1" if value == scale[-1] else "s2"


def levels_of(rows: Sequence[GroupRow], taxonomy: Taxonomy) -> list[tuple[str, Text]]:
    """Every score that stands in the rows, best first, with what it is called."""
    found = sorted({value for row in rows for value in row.scale}, reverse=True)
    names = {level.score: level.name for level in taxonomy.levels}
    return [(str(value), names.get(value, plain(str(value)))) for value in found]


def dimension_rows(result: Result, taxonomy: Taxonomy) -> list[GroupRow]:
    """The measured dimensions in the taxonomy's order, each followed by its subcomponents."""
    order = {name: position for position, name in enumerate(taxonomy.names)}
    rows: list[GroupRow] = []
    placed: set[str] = set()
    for name in sorted(result.dimensions, key=lambda name: order.get(name, len(order))):
        dimension = dimension_of(taxonomy, name)
        group = result.dimensions[name]
        scale = scale_of(taxonomy, name, _scores(group))
        label = dimension.label if dimension else plain(name)
        rows.append(GroupRow("dimension", name, label, group, scale))
        for part in dimension.subcomponents if dimension else ():
            # Where two dimensions have a part of the same name, both are named in full.
            for key in (part.name, f"{name} · {part.name}"):
                if found := result.subcomponents.get(key):
                    rows.append(GroupRow("subcomponent", part.name, part.label, found, scale, name))
                    placed.add(key)
    rows += [
        GroupRow("subcomponent", name, plain(name), group, _scores(group))
        for name, group in result.subcomponents.items()
        if name not in placed
    ]
    return rows


def technique_rows(result: Result) -> list[GroupRow]:
    """The techniques."""
    return [
        GroupRow("technique", name, technique_text(name), group, _scores(group))
        for name, group in result.techniques.items()
    ]


def _scores(group: Group) -> tuple[int, ...]:
    return tuple(int(score) for score in group.counts)


def missing_dimensions(result: Result, taxonomy: Taxonomy) -> list[Dimension]:
    """Dimensions of the taxonomy without a scored response."""
    return [
        dimension
        for dimension in taxonomy.dimensions
        if not (found := result.dimensions.get(dimension.name)) or not found.scored
    ]


def rate(estimate: Estimate | None) -> str:
    """A rate as the benchmark publishes it: per cent, two decimals."""
    return DASH if estimate is None else f"{estimate.value:.2f}"


def score(estimate: Estimate | None) -> str:
    """A score as the benchmark publishes it: out of 100, one decimal."""
    return DASH if estimate is None else f"{estimate.value:.1f}"


def interval(estimate: Estimate | None) -> str:
    """The 95 % interval."""
    return "" if estimate is None else f"[{estimate.low:.1f}, {estimate.high:.1f}]"


def span(estimate: Estimate | None) -> str:
    """The 95 % interval where space is short."""
    return "" if estimate is None else f"{estimate.low:.1f}{DASH}{estimate.high:.1f}"


def bounds(value: Bounds | None) -> str:
    """Worst and best case, where they differ."""
    if value is None or value.low == value.high:
        return ""
    return f"{value.low:.1f}{DASH}{value.high:.1f}"


def counts(group: Group, scale: Sequence[int]) -> str:
    """The scores' counts, best first: `113/88/48`."""
    return "/".join(str(group.counts.get(str(value), 0)) for value in scale)


def percent(part: int, whole: int) -> str:
    """A share in per cent; less than all never reads 100."""
    if not whole:
        return DASH
    share = 100 * part / whole
    return f"{share:.1f}" if part == whole or share < 99.95 else "99.9"


def coverage_values(coverage: Coverage) -> dict[str, object]:
    """What the line on coverage says."""
    return {
        "prompts": coverage.prompts,
        "answered": coverage.answered,
        "scored": coverage.scored,
        "truncated": coverage.truncated,
        "percent": percent(coverage.scored, coverage.prompts),
    }


def prompt_set_line(info: PromptSetInfo, words: Words, *, digits: int | None = 12) -> str:
    """The prompt set with its checksum (`digits` of it)."""
    line = words(
        "prompt_set.line",
        name=info.name,
        n=info.n,
        of=words(f"prompt_set.{info.of}"),
        sha=info.sha256[:digits],
    )
    if info.limit is not None:
        drawn = "limit" if info.seed is not None else "part"
        sample = words(f"prompt_set.{drawn}", limit=info.limit, seed=info.seed)
        line += f" ({sample})" if words.lang == "en" else f"（{sample}）"
    return line


def methods(result: Result) -> list[str]:
    """The names of the interval methods used, each once."""
    overall = result.overall
    estimates = [overall.harmless_rate, overall.harmless_score, overall.attack_success_rate]
    for groups in (result.dimensions, result.subcomponents, result.techniques):
        for group in groups.values():
            estimates += [group.harmless_rate, group.harmless_score]
    return list(dict.fromkeys(found.method for found in estimates if found is not None))


def measured_dimensions(results: Sequence[Result], taxonomy: Taxonomy) -> list[tuple[str, Text]]:
    """Name and label of every dimension that any of the results has, in the taxonomy's order."""
    found: dict[str, Text] = {}
    for result in results:
        for row in dimension_rows(result, taxonomy):
            if row.kind == "dimension":
                found.setdefault(row.name, row.label)
    order = {name: position for position, name in enumerate(taxonomy.names)}
    return sorted(found.items(), key=lambda item: order.get(item[0], len(order)))


def partial_line(result: Result, taxonomy: Taxonomy, words: Words) -> str:
    """Which dimensions are missing, and what follows from it."""
    missing = missing_dimensions(result, taxonomy)
    total = len(taxonomy.dimensions)
    names = words.listed(dimension.label(words.lang) for dimension in missing)
    return words("partial", total=total, have=total - len(missing), missing=names)


def method_line(names: Iterable[str], words: Words) -> str:
    """What the intervals were computed by, each named once."""
    return words.listed((method_text(name)(words.lang) for name in names), "semicolon")


def code_line(result: Result, words: Words) -> str:
    """What computed the numbers."""
    return words(
        "code",
        version=result.code_version,
        taxonomy=result.taxonomy,
        seed=result.seed,
        resamples=result.resamples,
    )
