"""Commands from options classes, and the list of commands that is read without importing them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer.main
from typer.testing import CliRunner

from flames.cli import build_app
from flames.cli._commands import COMMANDS, LazyGroup, help_of
from flames.cli._declare import build_command
from flames.errors import UsageError
from flames.options import CheckedOptions, Opt, default_language


def pairs(texts: list[str]) -> dict[str, str]:
    if any("=" not in text for text in texts):
        raise UsageError("--pair takes NAME=VALUE")
    return dict(text.split("=", 1) for text in texts)


@dataclass(frozen=True)
class Options(CheckedOptions):
    files: Annotated[tuple[str, ...], Opt("Files to read.", metavar="FILE", positional=True)]
    out: Annotated[Path, Opt("Where to write.", metavar="FILE")]
    form: Annotated[Literal["md", "html"], Opt("The form.", flag="--format")] = "md"
    top: Annotated[int | None, Opt("How many.", metavar="N", min=1)] = None
    share: Annotated[float, Opt("How much.", min=0, max=1)] = 0.5
    names: Annotated[tuple[str, ...], Opt("Names.", metavar="A,B", commas=True)] = ("a", "b")
    tags: Annotated[tuple[int, ...], Opt("Tags.")] = (1, 2)
    pair: Annotated[Mapping[str, str], Opt("Pairs.", parse=pairs, repeat=True)] = field(
        default_factory=dict
    )
    home: Annotated[Path, Opt("A folder.")] = Path("here")
    quiet: Annotated[bool, Opt("Print nothing.", short="-q")] = False
    keep: Annotated[bool, Opt("Keep it.")] = True
    rate: Annotated[float, Opt("In per cent.", max=100, per_cent=True)] = 95.0
    hidden: str = "no option"


@dataclass(frozen=True)
class Sharing:
    top: Annotated[int | None, Opt("How many.", min=1)] = None


@dataclass(frozen=True)
class Clashing:
    top: Annotated[str | None, Opt("The top.")] = None


@dataclass(frozen=True)
class Renamed:
    top: Annotated[int | None, Opt("The top.", flag="--summit")] = None


seen: list[Any] = []


def collect(
    options: Options, sharing: Sharing, plain: Annotated[str, typer.Option(help="Plain.")] = "p"
) -> None:
    """Collect things.

    And keep them.
    """
    seen[:] = [options, sharing, plain]


def call(*words: str) -> Any:
    build_command("collect", collect).main(args=list(words), standalone_mode=False)
    return seen[0]


def test_every_field_becomes_a_flag_of_its_type() -> None:
    got = call("x", "y", "--out", "o", "--format", "html", "--top", "3", "--share", "1",
               "--names", "c，d", "--tags", "7", "--tags", "8", "--pair", "k=v", "--home", "h",
               "-q", "--no-keep", "--plain", "z")  # fmt: skip
    assert got == Options(
        ("x", "y"),
        Path("o"),
        "html",
        3,
        1.0,
        ("c", "d"),
        (7, 8),
        {"k": "v"},
        Path("h"),
        True,
        False,
    )
    assert seen[1:] == [Sharing(3), "z"]


def test_what_is_not_given_is_the_default_of_the_class() -> None:
    assert call("x", "--out", "o") == Options(("x",), Path("o"))
    assert seen[1:] == [Sharing(), "p"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x"], "Missing option '--out'"),
        (["--out", "o"], "Missing argument 'FILE'"),
        (["x", "--out", "o", "--top", "many"], "'--top'"),
        (["x", "--out", "o", "--hidden", "x"], "No such option: --hidden"),
        (["x", "--out", "o", "--format", "pdf"], "--format takes md or html, not 'pdf'"),
        (["x", "--out", "o", "--top", "0"], "--top takes a number of at least 1, not 0"),
        (["x", "--out", "o", "--share", "2"], "--share takes a number from 0 to 1, not 2"),
        (["x", "--out", "o", "--rate", "0.9"], "0.9 was surely meant as 90: write that"),
        (["x", "--out", "o", "--pair", "k"], "--pair takes NAME=VALUE"),
    ],
)
def test_wrong_values_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(Exception) as caught:
        call(*words)
    format_message = getattr(caught.value, "format_message", lambda: caught.value)
    assert message in str(format_message())


def test_the_help_shows_metavars_choices_ranges_and_defaults() -> None:
    command = build_command("collect", collect)
    text = CliRunner().invoke(_group(command), ["collect", "--help"]).output
    plain = " ".join(text.split())
    for expected in (
        "collect [OPTIONS] FILE...",
        "Collect things. And keep them.",
        "FILE Files to read. [required]",
        "--out FILE Where to write. [required]",
        "--format md|html The form. [default: md]",
        "--top N How many. [at least 1]",
        "--share <float> How much. [from 0 to 1] [default: 0.5]",
        "--names A,B Names. [default: a, b]",
        "[default: 1, 2]",
        "A folder. [default: here]",
        "-q, --quiet Print nothing.",
        "--keep / --no-keep",
    ):
        assert expected in plain, text
    assert "{" not in plain


def _group(command: Any) -> typer.Typer:
    class One(LazyGroup):
        def __init__(self, **given: Any) -> None:
            super().__init__(**given)
            self.commands = {command.name: command}

    app = typer.Typer(cls=One, rich_markup_mode=None)
    app.callback()(lambda: None)
    return app


def test_one_flag_means_one_thing() -> None:
    def clash(options: Sharing, other: Clashing) -> None:
        """Clash."""

    with pytest.raises(TypeError, match="--top is declared with two types"):
        build_command("clash", clash)


def test_fields_of_one_name_may_have_flags_of_their_own() -> None:
    def tell(options: Sharing, other: Renamed) -> None:
        """Tell."""
        seen[:] = [options.top, other.top]

    build_command("tell", tell).main(["--top", "1", "--summit", "2"], standalone_mode=False)
    assert seen == [1, 2]


def _all(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        yield f"{path} {name}".strip(), command
        if hasattr(command, "commands"):
            yield from _all(command, f"{path} {name}".strip())


def test_the_list_of_commands_says_what_their_help_says() -> None:
    listed = dict(_all(typer.main.get_command(build_app())))
    assert {"run", "scorer train", "annotate user add"} <= listed.keys()
    for path, command in listed.items():
        assert command.get_short_help_str(500) == help_of(path), path
        assert getattr(command, "rich_markup_mode", None) is None


@pytest.mark.parametrize("words", [[], ["scorer"], ["annotate"]])
def test_help_of_a_group_imports_no_command(words: list[str]) -> None:
    code = (
        "import sys, atexit; from flames.cli import main; "
        "atexit.register(lambda: print(*sorted(n for n in sys.modules if 'flames' in n))); "
        f"main([*{words!r}, '--help'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1].split()
    assert set(loaded) <= {
        "flames", "flames.cli", "flames.cli._app", "flames.cli._commands", "flames.cli._declare",
        "flames.cli._working", "flames.errors", "flames.options", "flames.text",
    }  # fmt: skip
    assert "Commands:" in done.stdout


def test_a_report_imports_nothing_to_ask_fetch_or_draw_with() -> None:
    code = (
        "import sys, atexit; from flames.cli import main; "
        "atexit.register(lambda: print(*sys.modules)); main(['report', 'labels:silver'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1].split()
    assert "flames.reports.report" in loaded
    assert not {
        "asyncio", "http.client", "jinja2", "openai", "scipy", "flames.reports.html",
        "flames.scorers.scoring", "flames.scorers.stance",
    } & set(loaded)  # fmt: skip


def test_names_are_completed() -> None:
    shell = {**os.environ, "_FLAMES_COMPLETE": "complete_bash", "COMP_CWORD": "2"}
    words = {"COMP_WORDS": "flames scorer se", **shell}
    done = subprocess.run(
        [sys.executable, "-c", "from flames.cli import build_app; build_app()(prog_name='flames')"],
        capture_output=True,
        text=True,
        env=words,
        check=False,
    )
    assert done.stdout.split() == ["selftest"]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "de_DE.UTF-8"}, "en"),
        ({"LANG": "en_US", "LC_MESSAGES": "C", "LC_ALL": "zh_TW"}, "zh"),
        ({"LANG": "zh_CN", "LC_ALL": ""}, "zh"),
    ],
)
def test_the_locale_decides_the_language(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert default_language() == expected


def test_help_follows_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    group = typer.main.get_command(build_app())
    assert help_of("score").startswith("给已有的回复打分")
    assert group.commands["score"].help.startswith(help_of("score"))  # type: ignore[attr-defined]
    assert COMMANDS.keys() == group.commands.keys()  # type: ignore[attr-defined]
