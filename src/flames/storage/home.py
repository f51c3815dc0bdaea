"""The folder for fetched and cached files: `FLAMES_HOME`, or the user's cache directory."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from flames.errors import UsageError


def home() -> Path:
    """Returns the folder for prompt sets, models and cached checks; it may not exist yet."""
    try:
        if chosen := os.environ.get("FLAMES_HOME"):
            return Path(chosen).expanduser()
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "flames"
        base = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
        return (Path(base) if base else Path.home() / ".cache") / "flames"
    except RuntimeError:  # pathlib's error for a container's nameless user
        raise UsageError(
            "there is no home directory to keep files in: set FLAMES_HOME to a folder"
        ) from None
