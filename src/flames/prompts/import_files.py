"""The files of a source, wherever they are, and the rows in them."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from flames.errors import FlamesError, InputError, UsageError
from flames.prompts.import_map import ImportMap, Join
from flames.storage.checksums import file_sha256
from flames.storage.decoding import decoded
from flames.storage.download import is_address, read_published
from flames.storage.mapping import MISSING, value_at
from flames.storage.rows import Row, read_rows
from flames.storage.text_files import without_gz

_TEXT = frozenset({".csv", ".tsv", ".json", ".jsonl", ".txt"})
_MOST_UNPACKED = 4 * 2**30


@dataclass(frozen=True)
class SourceFile:
    """A file of a source: where it is now, and what it is called."""

    path: str
    name: str
    sha256: str


@contextmanager
def source_files(source: str | None, spec: ImportMap) -> Iterator[list[SourceFile]]:
    """Yields the files of a source: downloaded, of a mirror, or on disk; archives unpacked.

    Args:
        source: A file, a folder, or a mirror's address; the publisher's files by default.

    Raises:
        UsageError: Nothing was given, and nobody knows where the files are published.
        InputError: The folder holds none of them.
    """
    with TemporaryDirectory(prefix="flames-import-") as folder:
        if source is None or is_address(source):
            paths = _downloaded(source, spec, Path(folder))
        else:
            paths = _on_disk(source, spec)
        files = []
        for number, path in enumerate(paths):
            name, sha256 = os.path.basename(path), file_sha256(path)
            files.append(SourceFile(_unpacked(path, Path(folder, str(number))), name, sha256))
        yield files


def _downloaded(source: str | None, spec: ImportMap, folder: Path) -> list[str]:
    published = spec.published
    if published is None:
        if source is None:
            raise UsageError(f"{spec.name} needs --from PATH|URL")
        places = {source: source}
        by_hand = "; download it by hand and add --from PATH"
    else:
        if source is None and not published.commit:
            where = f"https://github.com/{published.repository}"
            raise UsageError(
                f"{spec.name} is not fetched by itself: get {', '.join(published.files)} from "
                f"{where} and add --from PATH (licence: {spec.licence})"
            )
        places, by_hand = published.places(source), published.by_hand
    paths = []
    for name, place in places.items():
        target = folder / PurePosixPath(name.replace("\\", "/")).name
        target.write_bytes(read_published(place, by_hand))
        paths.append(str(target))
    return paths


def _on_disk(source: str, spec: ImportMap) -> list[str]:
    if not os.path.isdir(source):
        beside = spec.join.files if spec.join else ()
        folder = Path(source).parent
        near = sorted(folder.iterdir()) if beside and folder.is_dir() else []
        others = [path for path in near if _named(path.name, beside) and path.is_file()]
        name = os.path.basename(source)
        return [source, *(str(path) for path in others if path.name != name)]
    published = [PurePosixPath(path).name for path in spec.files]
    names = spec.names or tuple(published)
    order = {name: place for place, name in enumerate(published)}
    files = sorted(path for path in Path(source).rglob("*") if path.is_file())
    files.sort(key=lambda path: order.get(path.name, len(order)))
    files = [path for path in files if not names or _named(path.name, names)]
    if not files:
        raise InputError(f"holds no file of {spec.name}: {', '.join(names)}", path=source)
    return list(map(str, files))


def _named(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def is_companion(file: SourceFile, join: Join | None, given: str | None) -> bool:
    """Tells whether a file only lends its columns to others.

    That is also so of a file that stands beside the only one that the user gave.
    """
    if join is None or not _named(file.name, join.files):
        return False
    beside = given is not None and os.path.isfile(given) and os.path.basename(given) != file.name
    return beside or not join.rows


def _unpacked(path: str, folder: Path) -> str:
    """Returns the file, or the only one with rows in a ZIP archive of another kind."""
    if Path(path).suffix.lower() != ".zip":
        return path
    try:
        with zipfile.ZipFile(path) as archive:
            inside = [
                each
                for each in archive.infolist()
                if not each.is_dir() and not each.filename.startswith("__MACOSX/")
            ]
            if len(inside) != 1:
                raise InputError(f"must hold one file, not {len(inside)}: unpack it", path=path)
            if inside[0].file_size > _MOST_UNPACKED:
                raise InputError(f"holds more than {_MOST_UNPACKED >> 30} GiB", path=path)
            folder.mkdir()
            target = folder / PurePosixPath(inside[0].filename).name
            with archive.open(inside[0]) as packed, open(target, "wb") as file:
                shutil.copyfileobj(packed, file)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"is no whole ZIP archive: {error}", path=path) from None
    return str(target)


def rows_of(
    file: SourceFile, spec: ImportMap, encoding: str | None = None, sheet: str | None = None
) -> Iterator[Row]:
    """Yields the rows of a file, unfolded, with cells of JSON read; errors name the file."""
    try:
        codec = encoding or _encoding(file.path, spec)
        rows = read_rows(file.path, encoding=codec, sheet=sheet, as_is=True)
        for row in _unfolded(rows, spec.unfold):
            for name in spec.json_columns:
                row.fields[name] = _parsed(row.fields.get(name))
            yield row
    except InputError as error:
        raise error.at(file.name, error.line) from None


def _encoding(path: str, spec: ImportMap) -> str | None:
    """Returns the first of the source's encodings that a text file is whole in."""
    if len(spec.encodings) < 2 or without_gz(path).suffix.lower() not in _TEXT:
        return None
    for name in spec.encodings:
        codec = None if name == "utf-8" else name  # a byte order mark counts, too
        try:
            for _ in decoded(path, codec):
                pass
        except FlamesError:
            continue
        return codec
    return None  # the reader says what is wrong


def _unfolded(rows: Iterator[Row], field: str | None) -> Iterator[Row]:
    """Yields the rows that stand in lists of the outer ones; others as they are."""
    if field is None:
        yield from rows
        return
    number = 0
    for row in rows:
        names = [field] if field != "*" else list(row.fields)
        lists = {n: row.fields[n] for n in names if isinstance(row.fields.get(n), list)}
        if not lists:
            number += 1
            yield Row(row.line, dict(row.fields))
        others = {f"above.{n}": v for n, v in row.fields.items() if n not in lists}
        for name, items in lists.items():
            for item in items:
                number += 1
                if not isinstance(item, Mapping):
                    what = f"must be an object, not {type(item).__name__}"
                    raise InputError(f"item {number}: {what}", field=name)
                yield Row(number, {**others, "above.key": name, **item})


def _parsed(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell


def joined(
    files: Sequence[SourceFile], spec: ImportMap, encoding: str | None
) -> Mapping[str, Mapping[str, Any]]:
    """Returns the columns of the companion files by the value that rows are found by."""
    found: dict[str, dict[str, Any]] = {}
    if spec.join is None:
        return found
    plain = spec.model_copy(update={"unfold": None})
    for file in files:
        if not _named(file.name, spec.join.files):
            continue
        for row in rows_of(file, plain, encoding):
            key = value_at(row.fields, spec.join.on)
            if key is not MISSING:
                found.setdefault(str(key).strip(), row.fields)
                continue
            for name, value in row.fields.items():
                if isinstance(value, Mapping):
                    found.setdefault(str(name).strip(), dict(value))
    return found
