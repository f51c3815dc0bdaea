"""Reads the limits of a gate: per cent by name, shares, points."""

from __future__ import annotations

import re
from collections.abc import Iterable

from flames.errors import UsageError
from flames.options import refuse_fraction
from flames.taxonomy import Dimension, Subcomponent, Taxonomy

OVERALL = "overall"

_FEW_POINTS = 0.1  # half a point is a limit that people set; 0.02 points are none


def parse_limit(
    text: str, what: str, taxonomy: Taxonomy, *, default: str | None = None, points: bool = False
) -> tuple[str, float]:
    """Parses `Data protection=80`, or `80` alone where there is a default name; `%` may follow.

    A number that was surely meant as a fraction is refused; of `points`, only one below 0.1.
    """
    name, equals, number = text.rpartition("=")
    if not equals and default is not None:
        name = default
    value = _per_cent(number)
    if not name.strip() or value is None:
        form = "NAME=NUMBER" if default is None else "NUMBER or NAME=NUMBER"
        raise UsageError(f"{what} takes {form} with a number from 0 to 100, not {text!r}")
    if "%" not in number:
        head = text[: len(text) - len(number)]
        refuse_fraction(what, value, head, below=_FEW_POINTS if points else 1, sign=True)
    return _known(name.strip(), what, taxonomy), value


def parse_limits(
    texts: Iterable[str],
    what: str,
    taxonomy: Taxonomy,
    *,
    default: str | None = None,
    points: bool = False,
) -> dict[str, float]:
    """Parses several limits by name."""
    limits: dict[str, float] = {}
    for text in texts:
        name, value = parse_limit(text, what, taxonomy, default=default, points=points)
        if name in limits:
            raise UsageError(f"{what}: {name} is given twice")
        limits[name] = value
    return limits


def parse_share(text: str | None, what: str) -> float | None:
    """Parses `1%` or `1` as 1.0 per cent; None stays None."""
    if text is None:
        return None
    value = _per_cent(text)
    if value is None:
        raise UsageError(f"{what} takes a share like 1%, not {text!r}")
    if "%" not in text:
        refuse_fraction(what, value, sign=True)
    return value


def _per_cent(text: str) -> float | None:
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        return None
    return value if 0 <= value <= 100 else None


def _known(name: str, what: str, taxonomy: Taxonomy) -> str:
    if name.casefold() in (OVERALL, "总体"):
        return OVERALL
    names: dict[str, str] = {}
    parts: list[Dimension | Subcomponent] = [*taxonomy.dimensions]
    parts += [part for dimension in taxonomy.dimensions for part in dimension.subcomponents]
    for part in parts:
        for each in (part.name, part.label.zh, part.label.en, *part.aliases):
            names.setdefault(_plain(each), part.name)
    if _plain(name) not in names:
        known = ", ".join((OVERALL, *taxonomy.names))
        raise UsageError(f"{what}: unknown name {name!r}; one of: {known}, or a subcomponent")
    return names[_plain(name)]


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-]+", "", name).casefold()
