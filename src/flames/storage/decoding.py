"""Lines of text files and of standard input: unpacked and decoded."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from flames.errors import InputError, UsageError
from flames.storage.text_files import STDIN, open_binary

_ZIP = b"PK\x03\x04"
_GZIP = b"\x1f\x8b"
_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MARK = "\ufeff"


@contextmanager
def _unpacked(path: str) -> Iterator[IO[bytes]]:
    with open_binary(path) as file:
        if path == STDIN or Path(path).suffix.lower() != ".gz":
            yield file
            return
        packed = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        try:
            yield gzip.GzipFile(fileobj=file) if packed else file  # type: ignore[misc]
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"is no whole gzip file: {error}", path=path) from None


def decoded(path: str, encoding: str | None) -> Iterator[tuple[int, str]]:
    """Yields the lines of a text file, counted from 1, with their ends and without its marks."""
    codec = encoding or "utf-8"
    wide = re.match(r"utf[-_ ]?(16|32)", codec, re.IGNORECASE) is not None
    with _unpacked(path) as file:
        for number, raw in enumerate(file, start=1):
            if number == 1:
                while raw.startswith(codecs.BOM_UTF8):  # some programs put a second one
                    raw = raw.removeprefix(codecs.BOM_UTF8)
                if raw.startswith(_ZIP):
                    raise InputError("is a ZIP or Excel file; name it .xlsx", path=path)
                if encoding is None and raw.startswith(_UTF_16_MARKS):
                    codec, wide = "utf-16", True
                if wide:  # a line break has several bytes there
                    whole = _text(raw + file.read(), codec, encoding, path, 1)
                    lines = io.StringIO(whole.lstrip(_MARK), newline="\n")
                    yield from enumerate(lines, start=1)
                    return
            if b"\x00" in raw and encoding is None:
                raise InputError("is a binary file, not text", path=path, line=number)
            yield number, _text(raw, codec, encoding, path, number)


def _text(raw: bytes, codec: str, given: str | None, path: str, line: int) -> str:
    try:
        return raw.decode(codec)
    except UnicodeDecodeError:
        hint = "--encoding gb18030 may help" if given is None else "try another one"
        raise InputError(f"is not text in {codec.upper()}; {hint}", path=path, line=line) from None
    except LookupError:
        raise UsageError(f"unknown encoding {given!r}") from None
