"""Hostile text made harmless for the place where it is shown.

Prompts and responses are untrusted. HTML is escaped by the templates; this module serves
terminals, spreadsheets and messages.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

# Controls but tab and newline, and the marks that reorder or hide text: bidirectional
# embeddings, overrides and isolates, zero-width characters, tags, separators, lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"  # letters and marks without a shape
_FORMULA = re.compile(r"^'*\s*[=+\-@＝＋－＠\t\r\n|%]")  # quotes, too: `from_cell` takes one off

_QUOTES = tuple("`'\"“‘「『")
_TAG = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE)


def for_terminal(text: str, *, one_line: bool = True) -> str:
    """Text that cannot move the cursor, colour the screen or reorder what is read.

    Args:
        text: Any text.
        one_line: Also turn line breaks and tabs into spaces.
    """
    text = _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", _ANSI.sub("", text.replace("\r\n", "\n")))
    return re.sub(r"[\n\t]+", " ", text) if one_line else text


def for_cell(value: object) -> object:
    """A CSV cell that no spreadsheet takes for a formula (a leading quote is put before it)."""
    if not isinstance(value, str):
        return value
    value = value.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    value = value.encode("utf-8", "replace").decode("utf-8")
    return "'" + value if _FORMULA.match(value) else value


def from_cell(value: str) -> str:
    """What `for_cell` was given, for a cell that it neutralised."""
    return value[1:] if value[:1] == "'" and _FORMULA.match(value[1:]) else value


def has_visible_text(text: str | None) -> bool:
    """Whether a reader would see anything of a text: not spaces, controls and fillers alone."""
    return any(unicodedata.category(c)[0] not in "CZ" and c not in _BLANK for c in text or "")


def normalize_text(text: str | None) -> str:
    """What a text is compared by: without spaces around it, line ends of one kind."""
    return (text or "").strip().replace("\r\n", "\n")


def texts_differ(first: str | None, second: str | None) -> bool:
    """Whether two texts are both there and not the same."""
    first, second = normalize_text(first), normalize_text(second)
    return bool(first and second) and first != second


def utf8_safe(text: str) -> str:
    """The text with lone surrogates replaced, so that it can be written as UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")


def redact(text: str, secrets: Iterable[str]) -> str:
    """Returns the text with every secret of six characters or more replaced by `***`."""
    for secret in secrets:
        if len(secret) >= 6:
            text = text.replace(secret, "***")
    return text


def shorten(text: str, width: int = 60) -> str:
    """The start of a text on one safe line, cut to `width` terminal columns."""
    safe = for_terminal(text)
    used = 0
    for position, char in enumerate(safe):
        used += 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if used > width:
            return safe[: max(position - 1, 0)] + "…"
    return safe


def split_reasoning(text: str) -> tuple[str, str]:
    """Splits `<think>…</think>` from an answer.

    A closing tag without an opening one ends reasoning that began before the text (some chat
    templates open it in the prompt); an opening tag without a closing one means that the answer
    was never reached, or, within an answer, is a part of it.

    Returns:
        The answer and the reasoning, both stripped where anything was split, else the text as
        it is and nothing.
    """
    tags = list(_TAG.finditer(text))
    if not tags:
        return text, ""
    answer: list[str] = []
    reasoning: list[str] = []
    position = depth = opened = thoughts = 0
    for tag in tags:
        piece = text[position : tag.start()]
        position = tag.end()
        if tag[1]:
            if depth == 0:
                reasoning, answer = [*reasoning, *answer, piece], []
            else:
                reasoning.append(piece)
            depth = 0
        else:
            (reasoning if depth else answer).append(piece)
            if depth == 0:
                depth, opened, thoughts = 1, tag.start(), len(reasoning)
    if depth and has_visible_text("".join(answer)):
        depth, position, reasoning = 0, opened, reasoning[:thoughts]
    (reasoning if depth else answer).append(text[position:])
    return "".join(answer).strip(), "\n".join(filter(None, map(str.strip, reasoning)))


def split_opening(text: str) -> tuple[str, str]:
    """As `split_reasoning`, for responses from elsewhere, which may speak of the tags.

    Only text that begins with a tag, or whose first tag is a closing one (no quotation mark
    before it), is split; any other is the answer as it is.
    """
    tag = _TAG.search(text)
    if tag is None:
        return text, ""
    before = text[: tag.start()]
    if before.endswith(_QUOTES) if tag[1] else has_visible_text(before):
        return text, ""
    return split_reasoning(text if tag[1] else text[tag.start() :])
