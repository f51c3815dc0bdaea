"""The banks of a filing: questions and keywords with their classes, from files of any shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from flames.errors import InputError, UsageError
from flames.filing.crosswalk import Crosswalk, Place, load_crosswalk, place_by_label
from flames.filing.rules import BankName, Rules, load_rules
from flames.options import Opt
from flames.prompts.known import KNOWN_SETS
from flames.records import Prompt, prompt_id
from flames.storage.checksums import file_sha256
from flames.storage.mapping import MISSING, listed_columns, mapped_fields, parse_mapping, value_at
from flames.storage.record_fields import with_turns
from flames.storage.record_files import SheetOptions
from flames.storage.rows import read_rows
from flames.storage.unusable import usable_value
from flames.text import has_visible_text, shorten

# Columns in which files keep what we need, besides those that `--map` names.
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "prompt": tuple("prompt 测试题 问题 题目 测试问题 question keyword 关键词 词 text".split()),
    "class": tuple("class 二级分类 风险类别 类别 分类 二级类别 category_code aspect 方面".split()),
    "group": tuple("group 一级分类 一级类别".split()),
    "date": tuple("date 日期 入库日期 更新日期 更新时间".split()),
}
_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y年%m月%d日", "%Y%m%d")


@dataclass(frozen=True)
class BankOptions(SheetOptions):
    """How files of banks are read, and what is asked of them."""

    rules: Annotated[
        Path | None, Opt("File of figures (JSON), instead of the bundled ones.", metavar="FILE")
    ] = None
    crosswalk: Annotated[
        Path | None,
        Opt("File that leads from labels of sets to classes (JSON), not the bundled one.",
            metavar="FILE"),
    ] = None  # fmt: skip
    mapping: Annotated[
        Mapping[str, str],
        Opt(
            "Column names of the files, where they differ: prompt=题干,class=类,date=时间.",
            flag="--map",
            metavar="FIELD=COLUMN,…",
            parse=parse_mapping,
        ),
    ] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := self.mapping.keys() - _COLUMNS.keys():
            names = ", ".join(_COLUMNS)
            raise UsageError(f"--map knows no field {min(unknown)!r} of a bank; fields: {names}")


class Item(NamedTuple):
    """A question or keyword; `place` says its class, `file` and `line` where it stands.

    `before` holds the `history` and `system` of a question of several turns; `key` is the id that
    everything that is asked gives.
    """

    id: str
    key: str
    text: str
    before: dict[str, Any]
    place: Place
    date: date | None
    file: str
    line: int

    @property
    def where(self) -> str:
        """File and line."""
        return f"{self.file}:{self.line}"


@dataclass
class BankItems:
    """All items of one bank in the order of the files; `elsewhere` counts rows of other banks."""

    name: BankName
    files: list[tuple[str, str]] = field(default_factory=list)  # name, SHA-256
    items: list[Item] = field(default_factory=list)
    elsewhere: int = 0

    def distinct(self) -> list[Item]:
        """Returns the first item of each text."""
        return list({each.key: each for each in reversed(self.items)}.values())[::-1]


def read_banks(
    given: Sequence[str], options: BankOptions, rules: Rules | None = None
) -> dict[BankName, BankItems]:
    """Reads banks that are given as `NAME=FILE`; several files of a bank are put together.

    Raises:
        InputError: A file cannot be read, or a row has no text.
        UsageError: A bank is not named.
    """
    rules = rules or load_rules(options.rules)
    crosswalk = load_crosswalk(options.crosswalk, rules)
    found: dict[BankName, BankItems] = {}
    mapped: set[str] = set()
    for each in given:
        name, equals, file = each.partition("=")
        if not equals or not file:
            names = ", ".join(rules.banks)
            raise UsageError(f"a bank is given as NAME=FILE, not {each!r}; names: {names}")
        bank = rules.bank_of(name)
        known = found.setdefault(bank, BankItems(bank))
        mapped |= _read(known, file, options, rules, crosswalk)
    for name, column in options.mapping.items():
        if name not in mapped:
            raise UsageError(f"--map {name}={column}: no file has a column {column!r}")
    return found


def _read(
    bank: BankItems, file: str, options: BankOptions, rules: Rules, crosswalk: Crosswalk
) -> set[str]:
    """Reads a file into a bank; returns the mapped fields that it has."""
    known = KNOWN_SETS.get(file)
    if known is not None and not known.present:
        raise UsageError(f"the prompt set {file!r} is not here yet: flames prompts fetch {file}")
    path = str(known.path) if known else file
    expected = rules.banks[bank.name].expected
    before = len(bank.items), bank.elsewhere
    mapped: set[str] = set()
    for line, fields in read_rows(path, encoding=options.encoding, sheet=options.sheet, as_is=True):
        mapped |= mapped_fields([fields], options.mapping)
        try:
            theirs = fields.get("expected")
            if theirs in ("should_refuse", "should_answer") and theirs != (expected or theirs):
                bank.elsewhere += 1
                continue
            bank.items.append(_item(fields, bank.name, (file, line), options, rules, crosswalk))
        except InputError as error:
            raise error.at(path, line) from None
    if before == (len(bank.items), bank.elsewhere):
        raise InputError("holds no rows", path=path)
    bank.files.append((file, file_sha256(path)))
    return mapped


def _item(
    fields: dict[str, Any],
    bank: BankName,
    at: tuple[str, int],
    options: BankOptions,
    rules: Rules,
    crosswalk: Crosswalk,
) -> Item:
    fields = with_turns(fields, Prompt)
    text = _value(fields, "prompt", options, crosswalk.prompt_columns)
    if text is None:
        there = listed_columns(fields)
        raise InputError(f"no column with the text: there are {there}; --map prompt=NAME says it")
    if not isinstance(text, str) or not has_visible_text(text):
        if isinstance(text, bool) or not isinstance(text, int | float):
            raise InputError("must hold a text", field="prompt")
        text = str(text)
    own, group = (_value(fields, name, options) for name in ("class", "group"))
    code = None
    if own is not None and str(own).strip():
        code = rules.class_of(str(own), None if group is None else str(group).split(" ")[0])
    place = Place(code) if code else place_by_label(fields, crosswalk, rules, bank)
    if place.by is None and code is None and own is not None and str(own).strip():
        place = Place(label=str(own).strip())
    given = fields.get("id")
    before = {name: fields[name] for name in ("history", "system") if fields.get(name)}
    if not isinstance(before.get("system", ""), str):
        raise InputError("must be text", field="system")
    key = prompt_id(text, before.get("system"), before.get("history"))
    known = given if isinstance(given, str) and given.strip() else key
    return Item(known, key, text.strip(), before, place, _date(fields, options), *at)


def _value(
    fields: dict[str, Any], name: str, options: BankOptions, more: Sequence[str] = ()
) -> Any:
    columns = [options.mapping[name]] if name in options.mapping else []
    for column in (*columns, *_COLUMNS[name], *more):
        value = value_at(fields, column)
        if value is not MISSING and value is not None and value != "":
            return usable_value(value, name, {name})
    return "" if any(c in fields for c in (*columns, *_COLUMNS[name], *more)) else None


def _date(fields: dict[str, Any], options: BankOptions) -> date | None:
    value = _value(fields, "date", options)
    if value is None or not str(value).strip():
        return None
    text = str(value).strip()
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        pass
    for form in _DATES:
        try:
            return datetime.strptime(text, form).date()
        except ValueError:
            continue
    raise InputError(f"is no date like 2025-11-01: {shorten(text)!r}", field="date")
