"""Disguises of Chinese text that its readers still read: pinyin, homophones, split characters, …

Each is a rule that gives the same result for the same text and seed. The words of the tables
(`data/disguises.json`) are this project's own; readings come from pypinyin, traditional characters
from OpenCC.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, Literal, get_args

from flames.errors import MissingExtraError, need_extra
from flames.records import seeded_order

Disguise = Literal[
    "pinyin", "homophones", "split", "traditional", "zero-width", "emoji", "reversed", "english"
]
DISGUISES: tuple[Disguise, ...] = get_args(Disguise)

ZERO_WIDTH = "\u200b"
HIDDEN: frozenset[str] = frozenset({"zero-width"})
"""Disguises by marks that nobody sees."""

_CHINESE = "\u3400-\u9fff"
_BETWEEN = re.compile(rf"(?<=[{_CHINESE}])(?=[{_CHINESE}])")
_WORD = re.compile(rf"[{_CHINESE}]{{2,}}")
_CONTENT = re.compile(
    rf"(?![的了着过得地之是在有没不也都就还又再才很太更最真只要会能可该和与跟或而但如把被给从对向到去来让叫"
    rf"请问说我你您他她它们这那哪谁啥怎么吗呢吧啊个些一二三四五六七八九十百千万两几])[{_CHINESE}]"
)
_CLAUSE = re.compile(r"[^\s，。！？；：、…—“”‘’（）《》「」『』【】,.!?;:()\"'\[\]]+")
_NUMERALS = frozenset("一二三四五六七八九十百千万亿两几半")  # a sound for a number misleads
_UNIT = re.compile(rf"[^{_CHINESE}]+|.")
Order = Callable[[str], str]
"""Sorts texts at random; see `seeded_order`."""


def disguise_text(text: str, disguise: Disguise, seed: int = 0) -> str | None:
    """Returns a text in disguise; None where the disguise changes nothing.

    Raises:
        MissingExtraError: The disguise needs the extra `probes`.
    """
    changed = _RULES[disguise](text, seeded_order(seed))
    return changed if changed != text else None


def need_packages(disguises: Iterable[Disguise]) -> None:
    """Reports a missing extra before anything is done."""
    for disguise in disguises:
        disguise_text("问", disguise)


def traditional(text: str) -> str:
    """Converts to traditional characters (OpenCC's dictionaries)."""
    changed: str = _converter().convert(text)
    return changed


@cache
def to_simplified() -> Mapping[int, str] | None:
    """Returns simplified characters by their traditional ones, for `str.translate`.

    A character at a time, so that both spellings of a text become one. None without the extra
    `probes`.
    """
    try:
        need_extra("probes", "traditional characters as simplified ones", "opencc")
    except MissingExtraError:
        return None
    import opencc

    convert = opencc.OpenCC("t2s").convert
    pairs = ((code, convert(chr(code))) for code in range(0x3400, 0xA000))
    return {code: char for code, char in pairs if char != chr(code)}


def zero_width(text: str) -> str:
    """Inserts a zero-width space between every two Chinese characters."""
    return _BETWEEN.sub(ZERO_WIDTH, text)


def _pinyin(text: str, order: Order) -> str:
    words = _words(text)
    chosen = _some([n for n, word in enumerate(words) if _WORD.fullmatch(word)], words, order)
    return "".join(
        "".join(_read(word, tones=False)) if n in chosen else word for n, word in enumerate(words)
    )


def _homophones(text: str, order: Order) -> str:
    """Replaces one character in half of the words."""
    words = _words(text)
    changed = {n: _misspelt(word, order) for n, word in enumerate(words) if _WORD.fullmatch(word)}
    chosen = _some([n for n, word in changed.items() if word != words[n]], words, order)
    return "".join(changed[n] if n in chosen else word for n, word in enumerate(words))


def _misspelt(word: str, order: Order) -> str:
    readings = _read(word, tones=True)
    others = [_sounding_like(*each, order) for each in zip(word, readings, strict=True)]
    places = [n for n, char in enumerate(word) if others[n] != char and char not in _NUMERALS]
    place = min(places, key=lambda n: order(f"{word}{n}"), default=None)
    return word if place is None else word[:place] + others[place] + word[place + 1 :]


def _split(text: str, order: Order) -> str:
    table = _tables()["split"]
    chosen = _some([n for n, char in enumerate(text) if char in table], text, order)
    return "".join(table[char] if n in chosen else char for n, char in enumerate(text))


def _reversed(text: str, order: Order) -> str:
    """Reverses each clause; numbers and foreign words in it stay as they are."""
    return _CLAUSE.sub(lambda clause: "".join(reversed(_UNIT.findall(clause[0]))), text)


def _swapped(name: str) -> Callable[[str, Order], str]:
    """Returns a rule that replaces the words of a table, the longest first."""
    between = " " if name == "english" else ""

    def rule(text: str, order: Order) -> str:
        table, word = _tables()[name], _pattern(name)
        run = re.compile(f"(?:{word.pattern})+")
        return run.sub(lambda run: between.join(table[w] for w in word.findall(run[0])), text)

    return rule


_RULES: Mapping[Disguise, Callable[[str, Order], str]] = {
    "pinyin": _pinyin,
    "homophones": _homophones,
    "split": _split,
    "traditional": lambda text, order: traditional(text),
    "zero-width": lambda text, order: zero_width(text),
    "emoji": _swapped("emoji"),
    "reversed": _reversed,
    "english": _swapped("english"),
}


def _some(places: Sequence[int], parts: Sequence[str], order: Order) -> frozenset[int]:
    """Draws half of the places, so that the rest keeps the text readable; one where there is one.

    The whole text decides which.
    """
    whole = "".join(parts)
    drawn = sorted(places, key=lambda n: order(f"{n}:{whole}"))
    return frozenset(drawn[: (len(places) + 1) // 2])


def _words(text: str) -> list[str]:
    """Returns a text in words and what stands between them.

    Words are those of pypinyin's list of phrases. It has few, so what is left counts as a word in
    twos, where no grammatical word stands.
    """
    need_extra("probes", "a disguise by sound", "pypinyin")
    from pypinyin.seg.mmseg import seg

    words: list[str] = []
    open_ = ""  # a character that may begin a word
    for part in seg.cut(text):
        alone = len(part) == 1 and _CONTENT.fullmatch(part) is not None
        if open_ and alone:
            words[-1] += part
            open_ = ""
        else:
            words.append(part)
            open_ = part if alone else ""
    return words


def _read(word: str, *, tones: bool) -> list[str]:
    from pypinyin import Style, lazy_pinyin

    return list(lazy_pinyin(word, style=Style.TONE3 if tones else Style.NORMAL))


def _sounding_like(char: str, reading: str, order: Order) -> str:
    """Returns a common character of that reading; the character itself where it is alone."""
    others = [other for other in _by_sound()[reading] if other != char]
    return min(others, key=lambda other: order(f"{char}{other}"), default=char)


@cache
def _by_sound() -> Mapping[str, Sequence[str]]:
    """Returns the common characters (the first level of GB 2312) by their usual reading."""
    codes = (bytes((row, cell)) for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF))
    found: dict[str, list[str]] = defaultdict(list)
    for char in (code.decode("gb2312", "ignore") for code in codes):
        if char:
            found[_read(char, tones=True)[0]].append(char)
    return found


@cache
def _tables() -> Mapping[str, Mapping[str, str]]:
    file = resources.files("flames").joinpath("data", "disguises.json")
    tables: dict[str, dict[str, str]] = json.loads(file.read_text("utf-8"))
    return tables


@cache
def _pattern(name: str) -> re.Pattern[str]:
    words = sorted(_tables()[name], key=len, reverse=True)
    return re.compile("|".join(map(re.escape, words)))


@cache
def _converter() -> Any:
    need_extra("probes", "text in traditional characters", "opencc")
    import opencc

    return opencc.OpenCC("s2t")
