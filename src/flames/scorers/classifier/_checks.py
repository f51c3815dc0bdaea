"""What breaks while a scorer is loaded, in one line of our own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

from flames.errors import FlamesError, InputError


@contextlib.contextmanager
def read_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Tells whatever breaks while a folder is loaded in one line of our own."""
    try:
        yield
    except FlamesError:
        raise
    except Exception as error:  # transformers, safetensors and torch raise all kinds
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(f"is a broken scorer: {reason}", path=path) from error


def check_loaded(info: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Refuses a model some of whose weights were not what its configuration says."""
    for key, what in (
        ("mismatched_keys", "weights of the wrong shape"),
        ("missing_keys", "weights are missing"),
        ("unexpected_keys", "unknown weights"),
        ("error_msgs", "unreadable weights"),
    ):
        found = sorted(
            f"{each[0]} {tuple(each[1])} instead of {tuple(each[2])}"
            if isinstance(each, tuple)
            else str(each)
            for each in info.get(key) or ()
        )
        if found:
            more = f" and {len(found) - 3} more" if len(found) > 3 else ""
            message = f"is a broken scorer, {what}: {', '.join(found[:3])}{more}"
            raise InputError(message, path=path)
