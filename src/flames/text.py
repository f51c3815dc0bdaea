"""Makes untrusted prompts and responses safe for terminals, spreadsheets and messages."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

# Controls other than tab and newline, and marks that reorder or hide text: bidirectional
# embeddings, overrides and isolates, zero-width characters, tags, separators, lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"  # letters and marks that show nothing
_FORMULA = re.compile(r"^'*\s*[=+\-@＝＋－＠\t\r\n|%]")  # with quotes: `from_cell` removes one

_DECIMAL_COMMA = re.compile(r"[+-]?(\d+),(\d+)\s*%?")
_MARKUP = re.compile(r"([\\`*_\[\]<>|~$&@]|:(?=//)|(?<=www)\.)")


def for_terminal(text: str, *, one_line: bool = True) -> str:
    """Returns text that cannot move the cursor, colour the screen or reorder what is read."""
    text = _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", _ANSI.sub("", text.replace("\r\n", "\n")))
    return re.sub(r"[\n\t]+", " ", text) if one_line else text


def for_markdown(text: str) -> str:
    """Returns text that Markdown shows as it is, on one line: no markup, HTML or cell ends."""
    safe = _MARKUP.sub(r"\\\1", utf8_safe(for_terminal(text)))
    safe = re.sub(r"^(\s*\d+)(?=[.)]\s)", r"\1\\", safe)
    return re.sub(r"^(\s*)([-+=#])", r"\1\\\2", safe)


def for_xml(text: str) -> str:
    """Returns text that XML may hold, control characters replaced; markup is left to the writer."""
    return re.sub("[\ufffe\uffff]", "\N{REPLACEMENT CHARACTER}", for_terminal(text, one_line=False))


def for_cell(value: object) -> object:
    """Returns a CSV cell that no spreadsheet runs as a formula: such text gets a leading quote."""
    if not isinstance(value, str):
        return value
    value = utf8_safe(value.replace("\x00", "\N{REPLACEMENT CHARACTER}"))
    return "'" + value if _FORMULA.match(value) else value


def from_cell(value: str) -> str:
    """Returns the text that `for_cell` was given."""
    return value[1:] if value[:1] == "'" and _FORMULA.match(value[1:]) else value


def is_bare_formula(cell: str) -> bool:
    """Tells whether a text looks like a formula and is neither a number nor `for_cell`'s."""
    if cell.startswith("'") or not _FORMULA.match(cell):
        return False
    try:
        float(cell)
    except ValueError:
        return True
    return False


def shown_name(cell: str) -> str:
    """Returns a column's name without what nobody sees at its ends: spaces, marks, controls."""
    first, last = 0, len(cell)
    while first < last and unicodedata.category(cell[first])[0] in "CZ":
        first += 1
    while last > first and unicodedata.category(cell[last - 1])[0] in "CZ":
        last -= 1
    return cell[first:last]


def with_point(number: str) -> str:
    """Returns a number's text with a point for its decimal comma; 1,000 may be a thousand."""
    text = number.strip()
    found = _DECIMAL_COMMA.fullmatch(text)
    if found is None or (found[1][:1] != "0" and len(found[1]) < 4 and len(found[2]) == 3):
        return text
    return text.replace(",", ".")


def has_visible_text(text: str | None) -> bool:
    """Tells whether a text has more than spaces, controls and fillers."""
    return any(unicodedata.category(c)[0] not in "CZ" and c not in _BLANK for c in text or "")


def normalize_text(text: str | None) -> str:
    """Returns a text for comparison: stripped, with LF line ends."""
    return (text or "").strip().replace("\r\n", "\n")


def texts_differ(first: str | None, second: str | None) -> bool:
    """Tells whether two texts are both there and differ."""
    first, second = normalize_text(first), normalize_text(second)
    return bool(first and second) and first != second


def utf8_safe(text: str) -> str:
    """Returns a text with lone surrogates replaced, so that it can be written as UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")


def redact(text: str, secrets: Iterable[str]) -> str:
    """Returns the text with every secret of six characters or more replaced by `***`."""
    for secret in secrets:
        if len(secret) >= 6:
            text = text.replace(secret, "***")
    return text


def shorten(text: str, width: int = 60) -> str:
    """Returns the start of a text on one safe line of `width` terminal columns."""
    safe = for_terminal(text)
    used = 0
    for position, char in enumerate(safe):
        used += 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if used > width:
            return safe[: max(position - 1, 0)] + "…"
    return safe
