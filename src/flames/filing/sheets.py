"""The workbooks of a filing: the gap list, the questions with their responses, the keywords."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from flames.errors import InputError, need_extra
from flames.filing.check import FilingCheck
from flames.filing.draw import Draw
from flames.filing.outcomes import Outcome
from flames.filing.rules import BANKS, Rules
from flames.records import Prompt
from flames.reports.words import name_of, say
from flames.taxonomy import Language, Text
from flames.text import for_cell, utf8_safe

QUESTIONS = ("序号", "测试题", "一级分类", "二级分类", "模型回答", "是否合格")
KEYWORDS = ("关键词", "一级分类", "二级分类")
"""The columns of the sheets that are handed in; they are Chinese in any language."""

_ROWS, _CELL = 1_048_576, 32_767  # what a worksheet holds
_NO_XML = re.compile("[\ufffe\uffff]")
Value = str | int | None


class Sheet(NamedTuple):
    """A worksheet: its name, its columns with their widths, and its rows."""

    name: str
    header: Sequence[str]
    widths: Sequence[int]
    rows: Iterable[Sequence[Value]]


class Book(NamedTuple):
    """A workbook, and how many texts were longer than a cell and are cut there."""

    data: bytes
    cut: int


def workbook(sheets: Sequence[Sheet], lang: Language = "zh") -> Book:
    """Returns a workbook. Every text is a text, never a formula, number or link.

    What looks like a formula gets a leading quote, since programs copy cells to CSV. A text longer
    than a cell is cut with a remark.

    Raises:
        MissingExtraError: XlsxWriter is not installed.
    """
    need_extra("filing", "writing workbooks", "xlsxwriter")
    import xlsxwriter

    buffer = io.BytesIO()
    as_text = {f"strings_to_{kind}": False for kind in ("formulas", "numbers", "urls")}
    book = xlsxwriter.Workbook(buffer, {"in_memory": True, **as_text})
    head = book.add_format({"bold": True, "bottom": 1})
    body = book.add_format({"text_wrap": True, "valign": "top"})
    cut = 0
    for each in sheets:
        page = book.add_worksheet(each.name)
        page.freeze_panes(1, 0)
        for column, (title, width) in enumerate(zip(each.header, each.widths, strict=True)):
            page.set_column(column, column, width)
            page.write_string(0, column, title, head)
        for row, values in enumerate(each.rows, start=1):
            if row >= _ROWS:
                raise InputError(f"the worksheet {each.name} holds {_ROWS - 1:,} rows at most")
            for column, value in enumerate(values):
                if isinstance(value, str) and value:
                    text, shorter = _text(value, lang)
                    cut += shorter
                    page.write_string(row, column, text, body)
                elif isinstance(value, int):
                    page.write_number(row, column, value, body)
    book.close()
    return Book(buffer.getvalue(), cut)


def _text(value: str, lang: Language) -> tuple[str, bool]:
    safe = str(for_cell(_NO_XML.sub("\N{REPLACEMENT CHARACTER}", utf8_safe(value))))
    if _units(safe) <= _CELL:
        return safe, False
    mark = say("filing.cut", n=f"{len(value):,}")(lang)
    kept = safe[: _CELL - len(mark)]
    while _units(kept) + _units(mark) > _CELL:
        kept = kept[: -max(1, (_units(kept) + _units(mark) - _CELL) // 2)]
    return kept + mark, True


def _units(text: str) -> int:
    """Returns a text's length as spreadsheet programs count it, in units of UTF-16."""
    return len(text.encode("utf-16-le")) // 2


def gap_book(check: FilingCheck, lang: Language) -> Book:
    """Returns the gap list: what is missing, the coverage of each class, and copies."""
    rules = check.rules

    def words(*keys: str) -> list[str]:
        return [say(f"filing.{key}")(lang) for key in keys]

    gaps = [
        (
            rules.banks[gap.bank].name(lang),
            name_of("filing.gap", gap.kind)(lang),
            gap_words(gap.what, rules)(lang),
            gap.asked,
            gap.counted,
            gap.missing,
        )
        for gap in check.gaps
    ]
    coverage = [
        (
            rules.banks[name].name(lang),
            _group_name(each.code, rules),
            each.code,
            rules.classes[each.code].name.zh,
            each.asked,
            each.own,
            each.crosswalk,
            each.missing,
            each.candidates,
        )
        for name, bank in check.banks.items()
        for each in bank.classes
    ]
    copies = [
        (rules.banks[name].name(lang), f"{pair.similarity:.0%}", pair.first.where,
         pair.second.where, pair.first.text, pair.second.text)
        for name, bank in check.banks.items()
        for pair in (*bank.duplicates, *bank.near)
    ]  # fmt: skip
    named = say("filing.code")(lang)
    return workbook(
        [
            Sheet(
                say("filing.gaps")(lang),
                words("bank", "kind", "what", "asked", "counted", "missing"),
                (18, 18, 50, 10, 10, 10),
                gaps,
            ),
            Sheet(
                say("filing.coverage")(lang),
                [
                    say("filing.bank")(lang), "一级分类", named, "二级分类",
                    *words("asked", "own", "crosswalk", "missing", "candidates"),
                ],
                (18, 26, 10, 40, 10, 10, 12, 10, 12),
                coverage,
            ),
            Sheet(
                say("filing.copies")(lang),
                words("bank", "likeness", "first", "second", "text", "other_text"),
                (18, 10, 26, 26, 50, 50),
                copies,
            ),
        ],
        lang,
    )  # fmt: skip


def gap_words(what: str, rules: Rules) -> Text:
    """Returns what a gap is about: a class by code and name, anything else as it is."""
    if what in rules.classes:
        name = rules.classes[what].name
        same_name = what == name.zh
        zh = name.zh if same_name else f"{what} {name.zh}"
        return Text(zh=zh, en=f"{what} {name.en}")
    return Text(zh=what, en=what)


def _group_name(code: str, rules: Rules) -> str:
    group = rules.group_of[code]
    return group.name.zh if group.code == "N" else f"{group.code} {group.name.zh}"


def question_book(outcomes: Sequence[Outcome], rules: Rules) -> Book:
    """Returns the question sheet: one worksheet a bank, in the order of the draw."""
    sheets = []
    for name in BANKS:
        own = [each for each in outcomes if each.bank == name]
        if not own:
            continue
        rows = [
            (
                number,
                question_text(each.prompt),
                *_places(each.prompt.subcomponent or "", rules),
                None if each.response is None else each.response.response,
                pass_words(each),
            )
            for number, each in enumerate(own, start=1)
        ]
        sheets.append(Sheet(rules.banks[name].name.zh, QUESTIONS, (6, 50, 24, 30, 80, 16), rows))
    return workbook(sheets)


def question_text(prompt: Prompt) -> str:
    """Returns a question as the sheet has it: with its system text and earlier turns, if any."""
    turns = [("system", prompt.system)] if prompt.system else []
    turns += [(turn.role, turn.content) for turn in prompt.history or ()]
    if not turns:
        return prompt.text
    whole = [*turns, ("user", prompt.text)]
    return "\n".join(say(f"filing.turn.{role}", text=text).zh for role, text in whole)


def keyword_book(draw: Draw) -> Book:
    """Returns the keyword sheet."""
    rows = [
        (each["keyword"], *_places(each["class"] or "", draw.rules)) for each in draw.keywords()
    ]
    return workbook([Sheet(draw.rules.banks["keywords"].name.zh, KEYWORDS, (30, 30, 44), rows)])


def _places(code: str, rules: Rules) -> tuple[str, str]:
    if code not in rules.classes:
        return "", ""
    return rules.group_of[code].name.zh, rules.classes[code].name.zh


def pass_words(outcome: Outcome) -> str:
    """Returns 合格, 不合格, or why nobody decided, in Chinese."""
    if outcome.passed is None:
        return say("filing.not_decided", why=name_of("filing.state", outcome.state)).zh
    return "合格" if outcome.passed else "不合格"
