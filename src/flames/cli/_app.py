"""The app of all commands, and the exit code and message of what they raise."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from typing import Any

import typer

from flames import __version__
from flames.cli import INTERRUPTED
from flames.cli._commands import COMMANDS, LazyGroup, help_of
from flames.cli._working import working
from flames.errors import FlamesError, Notice
from flames.text import for_terminal

# typer may carry its own copy of click: its exception classes are reached through typer.
_ClickException: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"flames {__version__}")
        raise typer.Exit


def build_app() -> typer.Typer:
    """Builds the whole command line as one typer app."""
    app = typer.Typer(
        name="flames",
        cls=LazyGroup,
        help=help_of("flames"),
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def _root(
        version: bool = typer.Option(
            False, "--version", callback=_version, is_eager=True, help="Show the version."
        ),
    ) -> None:
        pass

    return app


def run(argv: list[str]) -> int:
    """Runs the command line and returns its exit code."""
    _prepare_streams()
    try:
        with warnings.catch_warnings():
            _show_notices(quiet=not {"-q", "--quiet"}.isdisjoint(argv))
            shown = working(argv, COMMANDS, help_of)
            if shown is None:
                return _run(argv)
            shown.start()
            try:
                return _run(argv)
            finally:
                shown.end()
    except Exception as error:  # unforeseen: a CI job must not take it for a failed check
        from flames.cli._crash import report_crash

        return report_crash(error, argv)


def _prepare_streams() -> None:
    """Allows closed output, and prints `?` for characters that its encoding lacks."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "")
        if encoding != "utf8" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _show_notices(quiet: bool) -> None:
    """Prints each `Notice` once, as a line on standard error; none if the command is quiet."""
    others, told = warnings.showwarning, set()

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if not issubclass(category, Notice):
            others(message, category, *place, **more)
        elif str(message) not in told and not quiet:
            told.add(str(message))
            typer.echo(f"flames: {for_terminal(str(message))}", err=True)

    warnings.filterwarnings("always", category=Notice)
    warnings.showwarning = show


def _run(argv: list[str]) -> int:
    try:
        result = build_app()(args=argv, prog_name="flames", standalone_mode=False)
        sys.stdout.flush()
        if result == INTERRUPTED:
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except FlamesError as error:
        return _fail(str(error), error.exit_code)
    except typer.Abort:
        return _fail("stopped", INTERRUPTED)
    except BrokenPipeError:
        return _end_quietly()
    except OSError as error:
        if error.errno in _FULL:
            _end_quietly()
            return _fail(f"output cannot be written: {error.strerror}", 3)
        if error.filename is None:
            raise
        return _fail(f"{error.filename}: {error.strerror}", 2)
    except SystemExit as error:  # typer turns a closed pipe into exit code 1
        if isinstance(error.__context__, BrokenPipeError):
            return _end_quietly()
        raise
    except _ClickException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(str(error), err=True)
            return 2
        format_message = getattr(error, "format_message", None)
        message = str(format_message() if format_message else error)
        return _fail(f"{message} (see --help)", 2) if message else 2


def _end_quietly() -> int:
    """Discards the rest of the output: its reader has left (`| head`), which is no failure."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _fail(message: str, code: int) -> int:
    kind = "error: " if code in (1, 2, 3) else ""
    typer.echo(f"flames: {kind}{for_terminal(message)}", err=True)
    return code
