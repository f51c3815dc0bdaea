"""The command line: thin commands over the public API.

Command modules import nothing heavy at their top (no pydantic, numpy, openai): what a command
needs is imported when it runs, so that `flames --help` stays instant.
"""

from __future__ import annotations

import os
import sys

import typer

from flames import __version__
from flames.errors import FlamesError

__all__ = ["build_app", "main"]

# typer may carry its own copy of click: its exception classes are reached through typer.
_ClickException: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)

_INTERRUPTED = 130  # also what typer makes of Ctrl-C


def _version(show: bool) -> None:
    if show:
        typer.echo(f"flames {__version__}")
        raise typer.Exit


def build_app() -> typer.Typer:
    """The whole command line as one typer app."""
    from flames.cli import _commands

    app = typer.Typer(
        name="flames",
        help="Measure how well Chinese-speaking language models keep human values.",
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
        """Measure how well Chinese-speaking language models keep human values."""

    _commands.register(app)
    return app


def main(argv: list[str] | None = None) -> None:
    """Runs the command line and exits: 0 fine, 1 a check failed, 2 bad input, 3 outside failure."""
    sys.exit(_run(sys.argv[1:] if argv is None else argv))


def _run(argv: list[str]) -> int:
    try:
        result = build_app()(args=argv, prog_name="flames", standalone_mode=False)
        sys.stdout.flush()
        if result == _INTERRUPTED:
            return _say("stopped; what was done so far is kept", _INTERRUPTED)
        return result if isinstance(result, int) else 0
    except FlamesError as error:
        return _say(str(error), error.exit_code)
    except typer.Abort:
        return _say("stopped", _INTERRUPTED)
    except KeyboardInterrupt:
        return _say("stopped; what was done so far is kept", _INTERRUPTED)
    except BrokenPipeError:
        return _nobody_reads()
    except SystemExit as error:  # what typer makes of a closed pipe: exit code 1
        if isinstance(error.__context__, BrokenPipeError):
            return _nobody_reads()
        raise
    except _ClickException as error:
        format_message = getattr(error, "format_message", None)
        message = str(format_message() if format_message else error)
        return _say(f"{message} (see --help)", 2) if message else 2


def _nobody_reads() -> int:
    """Whoever read our output has enough of it (`| head`), which is no failure."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _say(message: str, code: int) -> int:
    from flames.text import for_terminal

    kind = "error: " if code in (1, 2, 3) else ""
    typer.echo(f"flames: {kind}{for_terminal(message)}", err=True)
    return code
