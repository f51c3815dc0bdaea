"""The rules of a gate: its options, and the file that holds them."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from flames.analysis.inputs import VerdictOptions
from flames.analysis.limits import OVERALL, parse_limits, parse_share
from flames.errors import InputError, UsageError
from flames.options import LangOptions, Opt, SeedOptions
from flames.storage.atomic import write_atomic
from flames.storage.record_files import RecordOptions
from flames.taxonomy import Taxonomy

BLOCKED = "blocked"

RULES_FILE = Path("flames-gate.toml")
"""Read from the working folder where a gate is given no rule."""

_LIMITS = ("min", "max_drop")
_SHARES = ("max_unscored", "max_blocked", "max_failed")
_SWITCHES = ("significant", "common")
_KEYS = (*_LIMITS, *_SHARES, *_SWITCHES, "against")


@dataclass(frozen=True)
class Rules:
    """The least harmless rate, the largest fall (in points) and the largest unscored shares.

    Falls need a baseline; with `significant`, a one-sided paired test must confirm them at 5 %,
    corrected over all falls that the gate asks about. Unscored
    responses are `blocked`, or `failed`: all others without a score.
    """

    least: dict[str, float] = field(default_factory=dict)
    most_drop: dict[str, float] = field(default_factory=dict)
    significant: bool = False
    most_unscored: float | None = None
    most_blocked: float | None = None
    most_failed: float | None = None

    @property
    def shares(self) -> dict[str, float]:
        """The largest shares that are limited, by what is counted."""
        given = {
            "unscored": self.most_unscored,
            BLOCKED: self.most_blocked,
            "failed": self.most_failed,
        }
        return {name: most for name, most in given.items() if most is not None}


@dataclass(frozen=True)
class GateOptions(LangOptions, SeedOptions, VerdictOptions, RecordOptions):
    """The rules that verdicts must keep."""

    min: Annotated[
        tuple[str, ...],
        Opt(
            "Minimum harmless rate in per cent, overall or by dimension or part; repeatable.",
            metavar="NAME=RATE",
        ),
    ] = ()
    against: Annotated[str | None, Opt("Run or file to compare with.", metavar="BASE")] = None
    max_drop: Annotated[
        tuple[str, ...],
        Opt(
            "Largest fall of the overall rate (0 unless given); NAME=POINTS for a dimension.",
            metavar="POINTS",
        ),
    ] = ()
    significant: Annotated[
        bool, Opt("Count only a fall that a paired test confirms, corrected over the falls asked.")
    ] = False
    max_unscored: Annotated[
        str | None, Opt("Largest unscored share that is allowed, like 1%.", metavar="SHARE")
    ] = None
    max_blocked: Annotated[
        str | None, Opt("Largest share unscored because it was blocked.", metavar="SHARE")
    ] = None
    max_failed: Annotated[
        str | None, Opt("Largest share unscored for any other reason.", metavar="SHARE")
    ] = None
    common: Annotated[bool, Opt("Compare with BASE on the prompts in common.")] = False
    rules: Annotated[
        Path | None,
        Opt("File of rules; flames-gate.toml here if no rule is given.", metavar="FILE"),
    ] = None
    junit: Annotated[Path | None, Opt("Write JUnit XML.", metavar="FILE")] = None
    summary: Annotated[
        Path | None, Opt("Append a table to this file ($GITHUB_STEP_SUMMARY).", metavar="FILE")
    ] = None

    def with_file(self) -> tuple[GateOptions, RuleFile | None]:
        """Returns these options with a baseline from the file of rules, and that file, if any."""
        path = self.rules
        if path is None:
            given = (getattr(self, name) for name in (*_LIMITS, *_SHARES))
            path = RULES_FILE if RULES_FILE.is_file() and not any(given) else None
        file = None if path is None else RuleFile.read(path)
        against, common = self.against, self.common
        if file is not None:
            against = against or file.against
            common = common or bool(file.content.get("common"))
        if self.significant and against is None:
            raise UsageError("--significant needs --against BASE")
        return replace(self, against=against, common=common), file

    def limits(self, taxonomy: Taxonomy, file: RuleFile | None = None) -> Rules:
        """Reads the rules with the names of a taxonomy; those of the options come first."""
        theirs = Rules() if file is None else file.limits(taxonomy)
        least = parse_limits(self.min, "--min", taxonomy)
        drops = parse_limits(self.max_drop, "--max-drop", taxonomy, default=OVERALL, points=True)
        drops = {**theirs.most_drop, **drops}
        if self.against is not None and not drops:
            drops = {OVERALL: 0.0}
        shares = {
            f"most_{name.removeprefix('max_')}": (
                parse_share(getattr(self, name), f"--{name.replace('_', '-')}"),
                getattr(theirs, f"most_{name.removeprefix('max_')}"),
            )
            for name in _SHARES
        }
        return Rules(
            least={**theirs.least, **least},
            most_drop=drops,
            significant=self.significant or theirs.significant,
            **{name: theirs if ours is None else ours for name, (ours, theirs) in shares.items()},
        )


@dataclass(frozen=True)
class RuleFile:
    """A file of rules: `[min]`, `max_drop`, `max_unscored`, … as the options are called."""

    path: Path
    text: str
    content: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> RuleFile:
        """Reads a file; a key that is no rule is refused with the nearest one."""
        try:
            text = path.read_text("utf-8-sig")
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", path=path) from None
        except UnicodeDecodeError:
            raise InputError("is no TOML in UTF-8", path=path) from None
        try:
            content = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            found = re.search(r" \(at line (\d+), .*\)", str(error))
            what = f"is no TOML: {re.sub(r' [(]at .*[)]', '', str(error))}"
            line = int(found[1]) if found else None
            if line and not text.split("\n")[line - 1].partition("=")[0].isascii():
                what += '; names in Chinese take quotes: "总体" = 60'
            raise InputError(what, path=path, line=line) from None
        file = cls(path, text, content)
        for key, value in content.items():
            if key not in _KEYS:
                close = difflib.get_close_matches(key.replace("-", "_"), _KEYS, n=1)
                cure = (
                    f"; did you mean {close[0]}?" if close else f"; there are: {', '.join(_KEYS)}"
                )
                raise file.wrong(f"unknown rule {key!r}{cure}", key)
            if key in _SWITCHES and not isinstance(value, bool):
                raise file.wrong(f"{key} takes true or false, not {value!r}", key)
            if key == "against" and not (isinstance(value, str) and value.strip()):
                raise file.wrong("against takes the path of a run or file, in quotes", key)
        return file

    @property
    def against(self) -> str | None:
        """The baseline, from the file's folder."""
        given = self.content.get("against")
        return None if given is None else str(self.path.parent / given)

    def limits(self, taxonomy: Taxonomy) -> Rules:
        """Reads the rules with the names of a taxonomy."""
        drops = self.content.get("max_drop", {})
        if not isinstance(drops, dict):
            drops = {OVERALL: drops}
        least = self.content.get("min", {})
        if not isinstance(least, dict):
            raise self.wrong("min is a table: [min] with lines like overall = 60", "min")
        return Rules(
            least=self._named("min", least, taxonomy),
            most_drop=self._named("max_drop", drops, taxonomy, points=True),
            significant=self.content.get("significant", False),
            most_unscored=self._share("max_unscored"),
            most_blocked=self._share("max_blocked"),
            most_failed=self._share("max_failed"),
        )

    def _named(
        self, key: str, table: Mapping[str, Any], taxonomy: Taxonomy, *, points: bool = False
    ) -> dict[str, float]:
        limits: dict[str, float] = {}
        for name, value in table.items():
            text = f"{name}={self._number(key, value, name)}"
            with self._checking(name):
                found = parse_limits([text], key, taxonomy, points=points)
            if limits.keys() & found.keys():
                raise self.wrong(f"{key}: {next(iter(found))} is given twice", name)
            limits |= found
        return limits

    def _share(self, key: str) -> float | None:
        if key not in self.content:
            return None
        with self._checking(key):
            return parse_share(self._number(key, self.content[key], key), key)

    def _number(self, key: str, value: Any, place: str) -> str:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise self.wrong(f'{key} takes a number, or a text like "1%", not {value!r}', place)
        return str(value)

    @contextmanager
    def _checking(self, place: str) -> Iterator[None]:
        try:
            yield
        except UsageError as error:
            raise self.wrong(str(error), place) from None

    def wrong(self, message: str, key: str) -> InputError:
        """Returns the error for a key, with the line that it stands on."""
        name = re.escape(key)
        place = re.compile(rf"""^\s*(?:\[\s*)?["']?{name}["']?\s*[=.\]]""", re.MULTILINE)
        found = place.search(self.text)
        line = self.text.count("\n", 0, found.start(0) + len(found[0]) - 1) + 1 if found else None
        return InputError(message, path=self.path, line=line)


def write_rules(path: Path = RULES_FILE) -> Path:
    """Writes a file of rules to begin with, explained line by line; never over another file."""
    if path.exists():
        raise UsageError(f"{path}: is already there; delete it first, or name another --rules")
    return write_atomic(path, resources.files("flames.data").joinpath(RULES_FILE.name).read_bytes())
