"""Untrusted text on its way into a page: marks that hide or reorder text are shown by number."""

from __future__ import annotations

import re
import unicodedata

from markupsafe import Markup, escape

# What `flames.text` replaces for terminals, here shown instead; line breaks are kept.
_HIDDEN = re.compile(
    "(?:[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f])"
)
_JOINER = "\u200d"
_MOST = 2_000
"""Marks shown by number; beyond that many a text is an attack, and they become `�`."""


def visible(text: str | None) -> Markup:
    """A text as HTML: escaped, and what cannot be seen made visible.

    A joiner between two emoji stays what it is; a run of the same mark is shown once with its
    length.
    """
    plain = (text or "").replace("\r\n", "\n").replace("\r", "\n")
    parts: list[Markup] = []
    end = shown = 0
    position = 0
    while found := _HIDDEN.search(plain, position):
        start, mark = found.start(), found[0]
        position = start + 1
        if mark == _JOINER and _between_emoji(plain, start):
            continue
        while position < len(plain) and plain[position] == mark:
            position += 1
        parts.append(escape(plain[end:start]))
        parts.append(_badge(mark, position - start) if shown < _MOST else Markup("\ufffd"))
        shown, end = shown + 1, position
    parts.append(escape(plain[end:]))
    return Markup("").join(parts)


def _between_emoji(text: str, at: int) -> bool:
    around = text[max(at - 1, 0) : at] + text[at + 1 : at + 2]
    return len(around) == 2 and all(
        unicodedata.category(char) in ("So", "Sk", "Mn") for char in around
    )


def _badge(mark: str, length: int) -> Markup:
    number = f"U+{ord(mark):04X}" + (f"×{length}" if length > 1 else "")
    name = unicodedata.name(mark, "CONTROL")
    return Markup('<span class="mark" title="{}">{}</span>').format(name, number)
