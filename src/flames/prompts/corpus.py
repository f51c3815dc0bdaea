"""Reads corpora of any size piece by piece: JSON Lines, Parquet, plain text, gz, folders."""

from __future__ import annotations

import codecs
import gzip
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

from pydantic_core import from_json

from flames.errors import FlamesError, InputError, UsageError, need_extra
from flames.storage.text_files import open_binary, without_gz

_BLOCK = 1 << 20  # bytes that are read at a time
_PIECE = 1 << 18  # characters that are handed on at a time
_ROW_LIMIT = 64 << 20  # bytes of a row
_PARQUET_ROWS = 256
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_DECODER = json.JSONDecoder()
_JSON_LINES = {".jsonl", ".ndjson", ".json"}


class Piece(NamedTuple):
    """Texts with the lines that they begin on; of a `flowing` one the next piece is the rest."""

    texts: list[str]
    lines: list[int]
    flowing: bool = False


@dataclass
class Reading:
    """What was read so far; `bytes` are those of the unpacked text."""

    files: int = 0
    bytes: int = 0
    rows: int = 0
    unreadable_rows: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    """Files that were not read, or not to their end, and why."""


def corpus_files(paths: Sequence[str | os.PathLike[str]]) -> Iterator[str]:
    """Yields the files of corpora, those of folders by name.

    Raises:
        InputError: There is no such file or folder.
    """
    for given in (os.fspath(path) for path in paths):
        if not os.path.lexists(given):
            raise InputError("no such file or folder", path=given)
        if not os.path.isdir(given):
            yield given
            continue
        for folder, names, files in os.walk(given):
            names.sort()
            yield from (os.path.join(folder, name) for name in sorted(files))


def read_corpus(path: str, reading: Reading, encoding: str | None = None) -> Iterator[Piece]:
    """Yields the texts of a file, and counts what was read.

    Rows of JSON Lines and Parquet give all their strings, U+0000 between them; so do the elements
    of one JSON array, of which the line is the number. A row that cannot be
    read is counted, and its characters are looked at as plain text. A file that ends badly is
    named in `reading.skipped`; so is one that is no text.
    """
    try:
        with open_binary(path) as file:
            start = file.peek(8192)[:8192] if hasattr(file, "peek") else b""
            if start.startswith(_PARQUET):
                yield from _parquet(path, file, reading)
            elif start.startswith(_GZIP):
                with gzip.GzipFile(fileobj=file) as unpacked:
                    yield from _texts(path, unpacked, reading, encoding)
            else:
                yield from _texts(path, file, reading, encoding)
            reading.files += 1
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        reading.files += 1
        reading.skipped[path] = f"is no whole gzip file: {error}"
    except _Binary:
        reading.skipped[path] = "is no text"
    except UsageError:
        raise
    except FlamesError as error:
        reading.skipped[path] = getattr(error, "message", str(error))
    except OSError as error:
        reading.skipped[path] = f"cannot be read: {error.strerror}"


class _Binary(Exception):
    """A file is no text."""


def _texts(
    path: str, file: IO[bytes] | gzip.GzipFile, reading: Reading, encoding: str | None
) -> Iterator[Piece]:
    first = file.read(_BLOCK)
    codec = encoding or "utf-8"
    if encoding is None and first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        codec = "utf-16"
    elif encoding is None and b"\x00" in first[:8192]:
        raise _Binary
    marks = len(first) - len(first.removeprefix(codecs.BOM_UTF8)) if codec == "utf-8" else 0
    first, reading.bytes = first[marks:], reading.bytes + marks
    suffix = without_gz(path).suffix.lower()
    if suffix == ".json" and not codec.startswith("utf-16"):
        first += file.read(_ROW_LIMIT)
        whole = _json_whole(first, reading, codec)
        if whole is not None:
            return _gathered(whole)
    blocks = _blocks(first, file, reading)
    if suffix in _JSON_LINES and not codec.startswith("utf-16"):
        return _gathered(_json_rows(blocks, reading, codec))
    return _flowing(blocks, reading, codec)


def _json_whole(data: bytes, reading: Reading, codec: str) -> Iterator[tuple[int, str]] | None:
    """Returns the elements of a document that is one array or object; None for any other."""
    try:
        value = _json(data, codec)
    except (ValueError, LookupError):
        return None
    elements = value if isinstance(value, list) else [value]
    reading.bytes += len(data)
    reading.rows += len(elements)
    return enumerate(map(_text_of, elements), start=1)


def _blocks(first: bytes, file: IO[bytes] | gzip.GzipFile, reading: Reading) -> Iterator[bytes]:
    block = first
    while block:
        reading.bytes += len(block)
        yield block
        block = file.read(_BLOCK)


def _flowing(blocks: Iterable[bytes], reading: Reading, codec: str) -> Iterator[Piece]:
    """Yields plain text; a line that holds what cannot be decoded counts as unreadable."""
    try:
        decoder = codecs.getincrementaldecoder(codec)("replace")
    except LookupError:
        raise UsageError(f"unknown encoding {codec!r}") from None
    line, ended = 1, True
    for block in blocks:
        text = decoder.decode(block)
        if "\ufffd" in text:
            reading.unreadable_rows += sum("\ufffd" in each for each in text.split("\n"))
        if text:
            yield Piece([text], [line], flowing=True)
            ended = text.endswith("\n")
        more = text.count("\n")
        line += more
        reading.rows += more
    reading.rows += not ended


def _gathered(rows: Iterable[tuple[int, str]]) -> Iterator[Piece]:
    texts: list[str] = []
    lines: list[int] = []
    size = 0
    for line, text in rows:
        texts.append(text)
        lines.append(line)
        size += len(text)
        if size >= _PIECE:
            yield Piece(texts, lines)
            texts, lines, size = [], [], 0
    if texts:
        yield Piece(texts, lines)


def _json_rows(blocks: Iterable[bytes], reading: Reading, codec: str) -> Iterator[tuple[int, str]]:
    for number, line in _lines(blocks, reading):
        if not line.strip():
            continue
        reading.rows += 1
        try:
            value = _json(line, codec)
        except ValueError:
            reading.unreadable_rows += 1
            yield number, line.decode(codec, "replace")
        except LookupError:
            raise UsageError(f"unknown encoding {codec!r}") from None
        else:
            yield number, _text_of(value)


def _lines(blocks: Iterable[bytes], reading: Reading) -> Iterator[tuple[int, bytes]]:
    """Yields lines; one that is too long to hold is counted as unreadable and left out."""
    rest, number, dropping = b"", 0, False
    for block in blocks:
        head, *lines = block.split(b"\n")
        rest += head
        for line in lines:
            number += 1
            if not dropping:
                yield number, rest
            rest, dropping = line, False
        if len(rest) > _ROW_LIMIT:
            if not dropping:
                reading.rows += 1
                reading.unreadable_rows += 1
            rest, dropping = b"", True
        elif dropping:
            rest = b""
    if rest and not dropping:
        yield number + 1, rest


def _json(line: bytes, codec: str) -> Any:
    if codec == "utf-8" and line.isascii():  # of other text it is the slower one
        try:
            return from_json(line, cache_strings="none")
        except ValueError:
            pass  # a lone surrogate, which the other parser takes
    text = line.decode(codec)
    try:
        if text[0] == "{":
            value, end = _DECODER.raw_decode(text)
            if not text[end:].strip():
                return value
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _text_of(value: Any) -> str:
    if type(value) is dict:  # most rows hold nothing but plain values
        texts = [each for each in value.values() if type(each) is str]
        if not any(isinstance(each, dict | list) for each in value.values()):
            return texts[0] if len(texts) == 1 else "\0".join(texts)
    return "\0".join(_strings([value]))


def _strings(value: Any) -> Iterator[str]:
    """Yields all strings of a JSON value but the names of fields."""
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict | list | tuple):
            yield from _strings(each)


def _parquet(path: str, file: IO[bytes], reading: Reading) -> Iterator[Piece]:
    need_extra("table", "reading Parquet", "pyarrow.parquet")
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(file)
        done = 0
        for batch in table.iter_batches(batch_size=_PARQUET_ROWS):
            columns = [each for each in batch.columns if _holds_text(each.type)]
            reading.bytes += sum(column.nbytes for column in columns)
            rows = zip(*(column.to_pylist() for column in columns), strict=True)
            texts = ["\0".join(_strings(row)) for row in rows]
            reading.rows += batch.num_rows
            if texts:
                yield Piece(texts, list(range(done + 1, done + len(texts) + 1)))
            done += batch.num_rows
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"is no readable Parquet file: {reason}", path=path) from None


def _holds_text(kind: Any) -> bool:
    from pyarrow import types

    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return True
    if types.is_dictionary(kind):
        return _holds_text(kind.value_type)
    return any(_holds_text(kind.field(place).type) for place in range(kind.num_fields))
