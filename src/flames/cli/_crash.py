"""The message for an unforeseen exception: the package at fault, and the traceback."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, entry_points

import typer

from flames import __version__

_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW", re.IGNORECASE)
_CREDENTIALS = re.compile(r"://[^/\s@]+@")
_PLACE = re.compile(r"issue|bug|tracker|repository|source|home", re.IGNORECASE)


def report_crash(error: Exception, argv: Sequence[str]) -> int:
    """Writes the traceback and one line to standard error, and returns the exit code.

    Values of headers and keys that the command line contains or names are removed.
    """
    from flames.text import for_terminal, redact

    plugin = _plugin(error)
    who = f"the package {plugin.name} {plugin.version}" if plugin else f"flames {__version__}"
    line = (
        f"flames: this is a fault of {who}, not of your input: {type(error).__name__}; please "
        f"report it with the traceback above{_where(plugin)}"
    )
    text = "".join(traceback.format_exception(error)) + line
    text = _CREDENTIALS.sub("://***@", redact(text, tuple(_secrets(argv))))
    typer.echo(for_terminal(text, one_line=False), err=True)
    return 70  # EX_SOFTWARE of sysexits.h


def _plugin(error: Exception) -> Distribution | None:
    """Finds the plugin package that raised it, by the modules in the traceback."""
    frames = traceback.walk_tb(error.__traceback__)
    passed = {str(frame.f_globals.get("__name__")).partition(".")[0] for frame, _ in frames}
    for group in ("flames.scorers", "flames.models"):
        for point in entry_points(group=group):
            if point.module.partition(".")[0] in passed - {"flames"}:
                return point.dist
    return None


def _where(plugin: Distribution | None) -> str:
    for each in (plugin.metadata.get_all("Project-URL") or ()) if plugin else ():
        label, _, url = each.partition(",")
        if _PLACE.search(label):
            return f": {url.strip()}"
    return " where you got it from"


def _secrets(argv: Sequence[str]) -> Iterator[str]:
    for name, value in os.environ.items():
        if _SECRET.search(name):
            yield value
    for before, word in zip(("", *argv), argv, strict=False):
        yield os.environ.get(word.rpartition("=")[2], "")  # --api-key-env NAME, api_key_env=NAME
        if before == "--header" or word.startswith("--header="):
            yield from word.partition(":")[2].split()
