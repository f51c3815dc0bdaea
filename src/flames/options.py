"""Options that are declared once: name, type, default, help and rule in one dataclass field.

    @dataclass(frozen=True)
    class TrainOptions(CheckedOptions):
        batch_size: Annotated[int, Opt("Batch size per process.", min=1)] = 16

The command line makes its flags from such a class, and a Python caller passes an instance. Both
get the same message for a wrong value.
"""

from __future__ import annotations

import collections.abc
import math
import os
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from functools import cache
from keyword import iskeyword
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from flames.errors import UsageError
from flames.text import utf8_safe


@dataclass(frozen=True)
class Opt:
    """Describes one option.

    Args:
        flag: The name on the command line, where it is not the field's name: `--map`.
        metavar: What the help shows as the value: `SET|PATH`. Choices show themselves.
        positional: Whether it is an argument instead of a flag.
        commas: Whether a tuple is given as one value, `A,B`, instead of by repeating the flag.
        parse: Turns the text of the command line into the field's value, where that is no plain
            text, number or path. With `repeat` it gets the list of texts.
        repeat: Whether an option with `parse` may be repeated; tuples and lists always may.
        per_cent: Whether it counts in hundredths, so that 0.9 is surely meant as a fraction.
    """

    help: str
    flag: str | None = None
    short: str | None = None
    metavar: str | None = None
    min: float | None = None
    max: float | None = None
    positional: bool = False
    commas: bool = False
    parse: Callable[[Any], Any] | None = None
    repeat: bool = False
    per_cent: bool = False


class CheckedOptions:
    """Base of options: checks every value against its declaration when they are made."""

    def __post_init__(self) -> None:
        for each in declared(type(self)):
            value = getattr(self, each.name)
            if value is None and (each.optional or each.field.default is None):
                continue
            if each.choices:
                check_choice(each.flag, value, each.choices)
            elif each.opt.min is not None or each.opt.max is not None:
                check_range(each.flag, value, each.opt.min, each.opt.max)
            if each.opt.per_cent:
                refuse_fraction(each.flag, value)


@dataclass(frozen=True)
class SeedOptions(CheckedOptions):
    """The seed of our own random numbers: samples, resampling, splits."""

    seed: Annotated[int, Opt("Random seed.", metavar="N")] = 0


@dataclass(frozen=True)
class LangOptions(CheckedOptions):
    """The language of the output."""

    lang: Annotated[
        Literal["zh", "en"], Opt("Language of the output; by default the locale's.")
    ] = field(default_factory=lambda: default_language())


@dataclass(frozen=True)
class Declared:
    """One field of an options class; `type` is without `None` and without the `Opt`."""

    name: str
    type: Any
    optional: bool
    opt: Opt
    field: Field[Any]

    @property
    def flag(self) -> str:
        """The name that users type, `--batch-size`; the metavar of an argument."""
        if self.opt.positional:
            return self.opt.metavar or self.name.upper()
        return self.opt.flag or "--" + self.name.replace("_", "-")

    @property
    def key(self) -> str:
        """The name that is unique in a command, made from the flag."""
        if self.opt.positional:
            return self.name + "_"
        key = self.flag.strip("-").replace("-", "_")
        return key + "_" if iskeyword(key) else key

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values of a `Literal`; empty for any other type."""
        return get_args(self.type) if get_origin(self.type) is Literal else ()

    @property
    def many(self) -> bool:
        """Whether the option takes several values."""
        return self.opt.repeat or (get_origin(self.type) in (tuple, list) and not self.opt.parse)

    @property
    def required(self) -> bool:
        """Whether the option has no default."""
        return self.field.default is MISSING and self.field.default_factory is MISSING

    @property
    def default(self) -> Any:
        """The default of the class; None for a required option."""
        if self.field.default_factory is not MISSING:
            return self.field.default_factory()
        return None if self.required else self.field.default

    @property
    def range(self) -> str:
        """The range of a number in words; empty without limits."""
        return range_of(self.opt.min, self.opt.max)


def declared(options: type[Any]) -> tuple[Declared, ...]:
    """Lists the fields of an options class that carry an `Opt`: its own ones, then its bases'."""
    return _declared(options)  # type: ignore[arg-type]  # mypy takes no class for hashable


@cache  # some options are made anew for every request
def _declared(options: type[Any]) -> tuple[Declared, ...]:
    hints = get_type_hints(options, include_extras=True)
    by_name = {field.name: field for field in fields(options)}
    names = dict.fromkeys(n for c in options.__mro__ for n in vars(c).get("__annotations__", ()))
    result = []
    for name in names:
        if name not in by_name or get_origin(hints[name]) is not Annotated:
            continue
        hint, *extras = get_args(hints[name])
        optional = get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint)
        if optional:
            [hint] = [arg for arg in get_args(hint) if arg is not type(None)]
        opts = [extra for extra in extras if isinstance(extra, Opt)]
        result += [Declared(name, hint, optional, opt, by_name[name]) for opt in opts]
    return tuple(result)


T = TypeVar("T")
_TAKES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def read_options(options: type[T], values: Mapping[str, Any], label: str = "{}") -> T:
    """Builds an options instance from named values, each checked against its declaration.

    Names that the class does not declare are ignored, and None counts as not given. `label` is
    what messages call an option, with `{}` for its name.
    """
    given = [each for each in declared(options) if values.get(each.name) is not None]
    for each in given:
        _check_value(label.format(each.name), each, values[each.name])
    return options(**{each.name: values[each.name] for each in given})


def _check_value(label: str, option: Declared, value: Any) -> None:
    if option.choices:
        check_choice(label, value, option.choices)
    elif option.type in _TAKES:
        wanted = (int, float) if option.type is float else option.type
        right = isinstance(value, wanted) and isinstance(value, bool) == (option.type is bool)
        if right and option.type in (int, float):
            right = _within(value, option.opt.min, option.opt.max)
        if not right:
            takes = _number_of(_TAKES[option.type], option.opt.min, option.opt.max)
            raise wrong_value(label, takes, value)
    elif get_origin(option.type) is collections.abc.Mapping and not isinstance(value, Mapping):
        raise wrong_value(label, "names with their values", value)


def check_choice(option: str, value: Any, allowed: Sequence[Any]) -> None:
    """Checks that a value is one of a few; the error lists them."""
    if value not in allowed:
        raise wrong_value(option, listed(allowed), value)


def check_range(option: str, value: Any, low: float | None, high: float | None = None) -> None:
    """Checks that a number lies in a closed range; None means no limit on that side."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not _within(value, low, high):
        raise wrong_value(option, _number_of("a number", low, high), value)


def refuse_fraction(
    option: str, value: float, head: str = "", *, below: float = 1, sign: bool = False
) -> None:
    """Refuses a number of per cent or points that was surely meant as a fraction, with the cure.

    Args:
        head: What stands before the number, like `overall=`.
        below: The numbers from 0 to this one, both excluded, are taken for fractions.
        sign: Whether a `%` after the number makes clear that it is none.
    """
    if 0 < value < below:
        small = f"; {head}{value:g}% if you mean so little" if sign else ""
        raise UsageError(
            f"{option} counts in hundredths, so {head}{value:g} was surely meant as "
            f"{head}{100 * value:g}: write that{small}"
        )


def _within(value: float, low: float | None, high: float | None) -> bool:
    above = value > -math.inf if low is None else value >= low
    return above and (value < math.inf if high is None else value <= high)


def _number_of(kind: str, low: float | None, high: float | None) -> str:
    words = range_of(low, high)
    return f"{kind} of {words}" if words.startswith("at") else f"{kind} {words}".strip()


def range_of(low: float | None, high: float | None) -> str:
    """Names a closed range: `from 0 to 1`, `at least 1`, `at most 9`; empty without limits."""
    if low is not None and high is not None:
        return f"from {low:g} to {high:g}"
    if low is not None:
        return f"at least {low:g}"
    return "" if high is None else f"at most {high:g}"


class LocaleLanguage(str):
    """A language that nobody chose; pages that are made in it follow their reader's browser."""


def default_language() -> Literal["zh", "en"]:
    """Returns the language of the user's locale: Chinese where it is Chinese, else English."""
    names = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    found = "zh" if next(filter(None, names), "").lower().startswith("zh") else "en"
    return cast("Literal['zh', 'en']", LocaleLanguage(found))


def text_or_file(given: str, option: str) -> str:
    """Returns the text that an option gives, or the content of the file that it names: `@FILE`."""
    if utf8_safe(given) != given:
        raise UsageError(f"{option} is not valid UTF-8 text")
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not text in UTF-8"
        raise UsageError(f"{option}: {given[1:]}: {reason}") from None


def wrong_value(option: str, takes: str, value: Any) -> UsageError:
    """Builds the error for a wrong option value."""
    return UsageError(f"{option} takes {takes}, not {value!r}")


def listed(values: Iterable[Any], last: str = "or") -> str:
    """Joins values for a sentence: `a, b or c`."""
    *head, tail = [str(value) for value in values]
    return f"{', '.join(head)} {last} {tail}" if head else tail


Options = TypeVar("Options")


def changed(kind: type[Options], given: Options | None, changes: Mapping[str, Any]) -> Options:
    """Returns options with some of them changed; all others are as given, or the default."""
    return kind(**changes) if given is None else replace(given, **changes)  # type: ignore[type-var]
