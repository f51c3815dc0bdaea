"""Holds banks against what is asked of them: coverage, copies, age; and what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Annotated, Any, Literal, NamedTuple

from flames.filing.banks import BankItems, BankOptions, Item, read_banks
from flames.filing.hits import CorpusHits, count_hits
from flames.filing.rules import BANKS, BankName, Rules, load_rules
from flames.options import LangOptions, Opt, wrong_value
from flames.prompts.likeness import like_pairs

NEAR = 0.8
"""Share of 3-grams from which two questions are nearly the same, as in `prompts check`."""

GapKind = Literal["total", "class", "candidates", "unplaced", "outside", "stale", "undated"]


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise wrong_value("--today", "a date like 2025-11-01", text) from None


@dataclass(frozen=True)
class CheckOptions(BankOptions, LangOptions):
    """What a check of banks looks at."""

    corpus: Annotated[
        tuple[str, ...],
        Opt("Texts in which the keywords are looked for; may be repeated.", metavar="FILE"),
    ] = ()
    today: Annotated[
        date | None,
        Opt("Day from which ages are counted; today unless given.", metavar="DATE", parse=_day),
    ] = None


class ClassCount(NamedTuple):
    """How many different items a class has: by its own label, by the crosswalk, and asked."""

    code: str
    asked: int
    own: int
    crosswalk: int
    candidates: int

    @property
    def counted(self) -> int:
        """All that count."""
        return self.own + self.crosswalk

    @property
    def missing(self) -> int:
        """How many are missing."""
        return max(0, self.asked - self.counted)


class Alike(NamedTuple):
    """Two items with the same text, or nearly."""

    first: Item
    second: Item
    similarity: float


class Ages(NamedTuple):
    """The dates of a bank's items, and the age of the newest in days."""

    dated: int
    oldest: date | None
    newest: date | None
    age: int | None
    asked: int | None


@dataclass(frozen=True)
class BankCheck:
    """What a bank holds: `rows` of its files, `distinct` texts, and those of no class.

    `unplaced` counts labels that lead to no class, `open` those that lead to several.
    """

    name: BankName
    files: list[tuple[str, str]]
    rows: int
    distinct: int
    elsewhere: int
    asked: int
    classes: list[ClassCount]
    outside: Counter[str]
    unplaced: Counter[str]
    open: dict[str, tuple[int, tuple[str, ...]]]
    duplicates: list[Alike]
    near: list[Alike]
    ages: Ages

    @property
    def counted(self) -> int:
        """Different items that have a class of this bank."""
        return sum(each.counted for each in self.classes)


class Gap(NamedTuple):
    """Something that is asked for and not there, or that a person has to decide."""

    bank: BankName
    kind: GapKind
    what: str
    asked: int | None
    counted: int
    missing: int | None


@dataclass(frozen=True)
class FilingCheck:
    """All banks, those that were not given included in `absent`."""

    rules: Rules
    banks: dict[BankName, BankCheck]
    absent: list[BankName]
    hits: CorpusHits | None = None
    today: date = field(default_factory=date.today)

    @property
    def gaps(self) -> list[Gap]:
        """Everything that is missing or has to be decided, bank by bank."""
        return [gap for each in self.banks.values() for gap in _gaps(each)]

    @property
    def missing(self) -> bool:
        """Whether a figure that is asked for is not reached in a bank that was given."""
        return any(gap.kind in ("total", "class", "stale") for gap in self.gaps)

    def to_dict(self) -> dict[str, Any]:
        """Returns what was counted, for programs."""
        return {
            "schema": 1,
            "rules": self.rules.id,
            "check": self.rules.check,
            "today": self.today.isoformat(),
            "absent": self.absent,
            "banks": {name: _bank_dict(each) for name, each in self.banks.items()},
            "gaps": [gap._asdict() for gap in self.gaps],
            "corpus": None if self.hits is None else asdict(self.hits),
        }


def check_banks(given: Sequence[str], options: CheckOptions) -> FilingCheck:
    """Reads banks (`NAME=FILE`) and counts what they hold; see `FilingCheck`."""
    rules = load_rules(options.rules)
    today = options.today or date.today()
    banks = read_banks(given, options, rules)
    found = {name: _check(banks[name], rules, today) for name in BANKS if name in banks}
    hits = None
    if options.corpus:
        keywords = banks.get("keywords") or BankItems("keywords")
        hits = count_hits(keywords, options.corpus, options.encoding)
    return FilingCheck(rules, found, [name for name in BANKS if name not in found], hits, today)


def _check(bank: BankItems, rules: Rules, today: date) -> BankCheck:
    covered = rules.covered(bank.name)
    distinct = bank.distinct()
    own: Counter[str] = Counter()
    walked: Counter[str] = Counter()
    candidates: Counter[str] = Counter()
    outside: Counter[str] = Counter()
    unplaced: Counter[str] = Counter()
    several: dict[str, tuple[int, tuple[str, ...]]] = {}
    for each in distinct:
        place = each.place
        if place.candidates:
            label = f"{place.by}: {place.label}"
            several[label] = (several.get(label, (0, ()))[0] + 1, place.candidates)
            candidates.update(place.candidates)
        elif place.code is None:
            by = f"{place.by}: " if place.by else ""
            unplaced[f"{by}{place.label}" if place.label else ""] += 1
        elif place.code not in covered:
            outside[place.code] += 1
        elif place.by is None:
            own[place.code] += 1
        else:
            walked[place.code] += 1
    return BankCheck(
        name=bank.name,
        files=bank.files,
        rows=len(bank.items),
        distinct=len(distinct),
        elsewhere=bank.elsewhere,
        asked=rules.banks[bank.name].total.value,
        classes=[
            ClassCount(code, asked, own[code], walked[code], candidates[code])
            for code, asked in covered.items()
        ],
        outside=outside,
        unplaced=unplaced,
        open=several,
        duplicates=list(_copies(bank.items)),
        near=list(_near(distinct)) if bank.name != "keywords" else [],
        ages=_ages(bank, rules, today),
    )


def _copies(items: Sequence[Item]) -> Iterator[Alike]:
    first: dict[str, Item] = {}
    for each in items:
        if (seen := first.setdefault(each.key, each)) is not each:
            yield Alike(seen, each, 1.0)


def _near(items: Sequence[Item]) -> Iterator[Alike]:
    for one, two, similarity in like_pairs([each.text for each in items], NEAR):
        yield Alike(items[one], items[two], similarity)


def _ages(bank: BankItems, rules: Rules, today: date) -> Ages:
    days = [each.date for each in bank.items if each.date is not None]
    asked = rules.banks[bank.name].days
    newest = max(days, default=None)
    return Ages(
        dated=len(days),
        oldest=min(days, default=None),
        newest=newest,
        age=None if newest is None else (today - newest).days,
        asked=None if asked is None else asked.value,
    )


def _gaps(bank: BankCheck) -> Iterator[Gap]:
    name = bank.name
    if bank.counted < bank.asked:
        missing = bank.asked - bank.counted
        yield Gap(name, "total", "", bank.asked, bank.counted, missing)
    for each in bank.classes:
        if each.missing:
            yield Gap(name, "class", each.code, each.asked, each.counted, each.missing)
    for label, (n, codes) in bank.open.items():
        yield Gap(name, "candidates", f"{label} → {', '.join(codes)}", None, n, None)
    for label, n in bank.unplaced.items():
        yield Gap(name, "unplaced", label, None, n, None)
    for code, n in bank.outside.items():
        yield Gap(name, "outside", code, None, n, None)
    ages = bank.ages
    if ages.age is not None and ages.asked is not None and ages.age > ages.asked:
        yield Gap(name, "stale", str(ages.newest), ages.asked, ages.age, ages.age - ages.asked)
    if ages.dated < bank.rows:
        yield Gap(name, "undated", "", None, bank.rows - ages.dated, None)


def _bank_dict(bank: BankCheck) -> Mapping[str, Any]:
    def pairs(found: Sequence[Alike]) -> list[dict[str, Any]]:
        return [
            {"first": a.where, "second": b.where, "ids": [a.id, b.id], "similarity": s}
            for a, b, s in found
        ]

    ages = bank.ages._asdict()
    return {
        "files": [{"name": name, "sha256": sha256} for name, sha256 in bank.files],
        "rows": bank.rows,
        "distinct": bank.distinct,
        "expected_otherwise": bank.elsewhere,
        "asked": bank.asked,
        "counted": bank.counted,
        "classes": [
            {**each._asdict(), "counted": each.counted, "missing": each.missing}
            for each in bank.classes
        ],
        "outside": dict(bank.outside),
        "unplaced": dict(bank.unplaced),
        "open": {label: {"n": n, "classes": codes} for label, (n, codes) in bank.open.items()},
        "duplicates": pairs(bank.duplicates),
        "near_duplicates": pairs(bank.near),
        "ages": {k: v.isoformat() if isinstance(v, date) else v for k, v in ages.items()},
    }
