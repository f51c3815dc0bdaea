"""Opening files, and strict JSON from whole text files."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

from pydantic import BaseModel, ValidationError

from flames.errors import InputError

M = TypeVar("M", bound=BaseModel)
STDIN = "-"


def without_gz(path: str) -> Path:
    """Returns a path without the suffix `.gz`."""
    name = Path(path)
    return name.with_suffix("") if name.suffix.lower() == ".gz" else name


def stem_of(path: str | os.PathLike[str]) -> str:
    """Returns the file's name without the suffixes of its format."""
    name = os.fspath(path)
    return "stdin" if name == STDIN else without_gz(name).stem


@contextmanager
def open_binary(path: str) -> Iterator[IO[bytes]]:
    """Opens a file to read bytes, `-` being standard input."""
    if path == STDIN:
        yield sys.stdin.buffer
        return
    try:
        file = open(path, "rb")  # noqa: SIM115  (closed below; only opening may raise ours)
    except FileNotFoundError:
        raise InputError("no such file", path=path) from None
    except IsADirectoryError:
        raise InputError("is a directory, not a file", path=path) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot be read: {reason}", path=path) from None
    with file:
        yield file


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


_STRICT = json.JSONDecoder(parse_constant=_refuse_constant)


def parse_json(
    text: str, path: str | None, line: int | None, decoder: json.JSONDecoder = _STRICT
) -> Any:
    """Parses strict JSON (no NaN), or what another decoder takes."""
    try:
        return decoder.decode(text)
    except json.JSONDecodeError as error:
        where = line if line is not None else error.lineno
        what = f"{error.msg.removesuffix(' at')} at column {error.colno}"
        raise InputError(f"is no JSON: {what}", path=path, line=where) from None
    except RecursionError:
        raise InputError("is JSON nested too deep", path=path, line=line) from None
    except ValueError as error:
        raise InputError(f"is no JSON: {error}", path=path, line=line) from None


def read_text(path: str | os.PathLike[str]) -> str:
    """Returns the content of a text file, without a byte order mark and with LF line ends."""
    try:
        return Path(path).read_text("utf-8-sig")
    except FileNotFoundError:
        raise InputError("no such file", path=path) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from None
    except UnicodeDecodeError:
        raise InputError("is not text in UTF-8", path=path) from None


def read_json_file(model: type[M], path: str | os.PathLike[str], kind: str) -> M:
    """Reads a file of one JSON object of a known form; `kind` names it in the message."""
    try:
        return model.model_validate(parse_json(read_text(path), os.fspath(path), None))
    except ValidationError as error:
        raise InputError.invalid(error, f"is no {kind}", path) from None
