"""Untrusted texts for pages: escaped, with what hides or reorders text shown, and folded if huge.

Characters that show nothing are shown by their number, long runs of them and of blanks as one mark
with their count. Of a text without end a page shows the start; the rest can be unfolded as far as
a browser bears it, and the page says how much there is.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from itertools import groupby

from markupsafe import Markup, escape

from flames.reports.words import load_strings

SHOWN_CHARACTERS, SHOWN_LINES = 100_000, 2_000
FOLDED_CHARACTERS, FOLDED_LINES = 500_000, 20_000

# What `flames.text` replaces for terminals, here shown instead; line breaks are kept. And letters,
# signs and selectors that show nothing: Hangul, Khmer and Braille blanks, the grapheme joiner,
# variation selectors, controls of musical and shorthand notation, and all that Unicode sets aside.
_CLASS = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff0-\ufffb\ud800-\udfff\U000e0000-\U000e0fff"
    "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
)
_HIDDEN = re.compile(f"[{_CLASS}]+")
_BLANKS = " \t\n\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_RUN = re.compile(  # from the start of a run alone, or many short ones would take long
    f"(?<![{_CLASS}])[{_CLASS}]{{9,}}|(?P<blank>(?<![{_BLANKS}])[{_BLANKS}]{{100,}})"
)
_JOINER, _EMOJI_STYLE, _KEYCAP = "\u200d", "\ufe0e\ufe0f", "\u20e3"
_FOLD_COSTS = 100  # of the characters that a page shows: what the mark of a run is worth
_MOST = 2_000  # characters shown by number; a text with more is an attack, the rest become `�`
_KINDS = 6  # different characters that the mark of a mixed run names

Translate = Callable[..., str]


def mark_hidden_characters(text: str | None, t: Translate | None = None) -> Markup:
    """Escapes a text for HTML, shows hidden characters by number, and folds what is huge.

    `t` gives strings of the page, for what is said of folded parts; English ones by default.
    """
    plain = (text or "").replace("\r\n", "\n").replace("\r", "\n")
    return _Page(t or _english).show(plain)


def _english(key: str, **values: str) -> str:
    return load_strings()[key].en.format(**values)


class _Page:
    """The budget of one text on a page, and what has been spent of it."""

    def __init__(self, t: Translate) -> None:
        self.t = t
        self.marks = _MOST
        self.characters, self.lines = SHOWN_CHARACTERS, SHOWN_LINES
        self.parts: list[Markup] = []

    def show(self, plain: str) -> Markup:
        at = 0
        while found := _RUN.search(plain, at, at + max(self.characters, 0) + 100):
            cut = self._add(plain, at, found.start())
            run = _RUN.match(plain, cut)  # in its whole length
            if cut < found.start() or self.characters <= 0 or run is None:
                return self._end(plain, cut)
            self.parts.append(self._fold(run[0], blank=run["blank"] is not None))
            self.characters -= _FOLD_COSTS
            at = run.end()
        return self._end(plain, self._add(plain, at, len(plain)))

    def _add(self, plain: str, start: int, end: int) -> int:
        """Adds what the budget allows of a stretch; returns where it stopped."""
        end = min(end, start + max(self.characters, 0))
        stretch = plain[start:end]
        lines = stretch.split("\n", self.lines)
        if len(lines) > self.lines:
            stretch = "\n".join(lines[: self.lines])
        self.lines -= min(len(lines) - 1, self.lines)
        self.characters -= len(stretch)
        self.parts.append(self._marked(stretch))
        return start + len(stretch)

    def _end(self, plain: str, cut: int) -> Markup:
        if rest := plain[cut:]:
            self.parts.append(self._rest(rest))
        return Markup("").join(self.parts)

    def _marked(self, stretch: str) -> Markup:
        return Markup(_HIDDEN.sub(self._mark, escape(stretch)))  # noqa: S704  (escaped)

    def _mark(self, found: re.Match[str]) -> str:
        if self.marks <= 0:
            return "\ufffd"
        shown, at = "", found.start()
        for char, group in groupby(found[0]):
            length = len(list(group))
            if length == 1 and _belongs_to_emoji(found.string, at):
                shown += char
            else:
                shown += _badge(char, length)
                self.marks -= 1
            at += length
        return shown

    def _fold(self, run: str, *, blank: bool) -> Markup:
        if blank:
            said = self.t("text.blank", n=f"{len(run):,}", lines=f"{run.count(chr(10)):,}")
            return Markup('\n<span class="mark">{}</span>\n').format(said)
        kinds = sorted(set(run))
        if len(kinds) == 1:
            return _badge(kinds[0], len(run))
        named = " ".join(f"U+{ord(char):04X}" for char in kinds[:_KINDS])
        said = self.t("text.hidden", n=f"{len(run):,}")
        return Markup('<span class="mark">{}: {}{}</span>').format(
            said, named, " …" if len(kinds) > _KINDS else ""
        )

    def _rest(self, rest: str) -> Markup:
        """Folds what is beyond the budget, and says how much it is and what no page shows."""
        lines = rest[:FOLDED_CHARACTERS].split("\n", FOLDED_LINES)
        kept = "\n".join(lines[:FOLDED_LINES])
        size = {"n": f"{len(rest):,}", "lines": f"{rest.count(chr(10)):,}"}
        left = len(rest) - len(kept)
        beyond = self.t("text.beyond", n=f"{left:,}") if left else ""
        return Markup(
            '<details class="mark rest"><summary class="mark">{}</summary>'
            '<span class="mark whole">{}</span> <span class="mark">{}</span></details>'
        ).format(self.t("text.rest", **size), _HIDDEN.sub("\ufffd", kept), beyond)


def _belongs_to_emoji(text: str, at: int) -> bool:
    """Tells whether a joiner or style selector does what it is there for."""
    before, char, after = text[max(at - 1, 0) : at], text[at], text[at + 1 : at + 2]
    if char in _EMOJI_STYLE:
        return _is_symbol(before) or (before in "0123456789#*" and after == _KEYCAP)
    return char == _JOINER and _is_symbol(before) and _is_symbol(after)


def _is_symbol(char: str) -> bool:
    return bool(char) and unicodedata.category(char) in ("So", "Sk", "Sm", "Mn")


def _badge(mark: str, length: int) -> Markup:
    number = f"U+{ord(mark):04X}" + (f"×{length:,}" if length > 1 else "")
    name = unicodedata.name(mark, "CONTROL")
    return Markup('<span class="mark" title="{}">{}</span>').format(name, number)
