"""Many files as one: folders and patterns of shards, here or where fsspec reaches (`s3://…`).

Remote files are copied into a folder of this machine first and read from there, so that everything
that reads them sees the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from glob import glob, has_magic
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory

from flames.errors import InputError, OutsideError, UsageError, need_extra
from flames.records import Response
from flames.storage.record_files import ReadOptions, read_responses
from flames.storage.run_dir import is_run
from flames.storage.text_files import STDIN, stem_of
from flames.text import normalize_text, shorten

_SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")


@dataclass(frozen=True)
class Shards:
    """Files of responses that are read one after another.

    Args:
        name: What stands for `model` in rows that name none: the folder's name.
        files: The files in order.
        shown: Their names in messages, as the user knows them.
    """

    name: str
    files: tuple[str, ...]
    shown: tuple[str, ...]


ResponseFiles = str | os.PathLike[str] | Shards
"""A file of responses (`-` is standard input), or shards."""


@contextmanager
def opened_files(target: str) -> Iterator[ResponseFiles]:
    """Finds the files behind a name; copies them here for as long as they are used."""
    if target == STDIN:
        yield target
    elif "://" in target:
        with TemporaryDirectory(prefix="flames-shards-") as folder:
            yield _fetched(target, folder)
    elif os.path.isdir(target) and not is_run(target):
        yield _listed(target, [p for s in _SUFFIXES for p in glob(f"{glob_escape(target)}/*{s}")])
    elif has_magic(target) and not os.path.exists(target):
        yield _listed(target, [path for path in glob(target) if os.path.isfile(path)])
    else:
        yield target


def is_file(target: str) -> bool:
    """Tells whether a name is that of one file here, or of standard input."""
    remote = "://" in target
    return not (remote or os.path.isdir(target) or (has_magic(target) and not _there(target)))


def _there(target: str) -> bool:
    return os.path.exists(target)


def glob_escape(path: str) -> str:
    """Returns a path as a pattern that matches it alone."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in path)


def _listed(target: str, found: list[str]) -> Shards:
    files = tuple(sorted(found))
    if not files:
        what = " or ".join(_SUFFIXES)
        raise InputError(f"holds no run and no shards ({what})", path=target)
    return Shards(_name(target), files, files)


def _name(target: str) -> str:
    parts = [part for part in target.rstrip("/").split("/") if not has_magic(part)]
    return stem_of(parts[-1]) if parts else "shards"


def _fetched(target: str, folder: str) -> ResponseFiles:
    need_extra("scale", f"reading {target.partition(':')[0]}://", "fsspec")
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(target)
        if has_magic(path):
            found = [each for each in system.glob(path) if system.isfile(each)]
        elif system.isdir(path):
            found = [each for each in system.ls(path, detail=False) if each.endswith(_SUFFIXES)]
        else:
            found = [path]
        shown = tuple(system.unstrip_protocol(each) for each in sorted(found))
        files = []
        for number, each in enumerate(sorted(found)):
            own = Path(folder) / str(number)
            own.mkdir()
            files.append(str(own / Path(each).name))
            system.get_file(each, files[-1])
    except ImportError as error:
        raise UsageError(f"{target}: needs another package: {error}") from None
    except FileNotFoundError:
        raise InputError("no such file", path=target) from None
    except ValueError as error:  # an unknown protocol
        raise UsageError(f"{target}: {error}") from None
    except Exception as error:  # each file system has its own
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise OutsideError(f"{target}: cannot be fetched: {reason}") from None
    if not files:
        raise InputError("matches no file", path=target)
    return Shards(_name(target), tuple(files), shown)


def read_files(source: ResponseFiles, options: ReadOptions) -> Iterator[Response]:
    """Yields the responses of a source; those of shards are checked against each other too."""
    if not isinstance(source, Shards):
        yield from read_responses(source, options)
        return
    options = replace(options, model=options.model or source.name)
    keys: dict[bytes, int] = {}
    texts: dict[bytes, tuple[bytes, int]] = {}
    for number, (path, shown) in enumerate(zip(source.files, source.shown, strict=True)):
        try:
            for response in read_responses(path, options):
                earlier = keys.setdefault(_digest(repr(response.key)), number)
                if earlier != number:
                    raise InputError(_same("prompt, model and sample", response, source, earlier))
                if text := normalize_text(response.prompt or ""):
                    own = (_digest(text), number)
                    known = texts.setdefault(_digest(response.prompt_id), own)
                    if known[0] != own[0]:
                        raise InputError(_same("prompt_id, but another prompt,", response, source,
                                               known[1]))  # fmt: skip
                yield response
        except InputError as error:
            raise InputError(
                error.message, path=shown, line=error.line, field=error.field
            ) from None


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).digest()


def _same(what: str, response: Response, source: Shards, earlier: int) -> str:
    key = response.key
    which = f"{shorten(key.prompt_id)}, {shorten(key.model)}, {key.sample}"
    return f"has a response with the same {what} as {source.shown[earlier]}: {which}"


def files_of(source: ResponseFiles) -> tuple[str, ...]:
    """Returns the files of a source; none for standard input."""
    if isinstance(source, Shards):
        return source.files
    return () if os.fspath(source) == STDIN else (os.fspath(source),)


def shown_name(source: ResponseFiles) -> str:
    """Returns a source's name for messages."""
    return source.name if isinstance(source, Shards) else os.fspath(source)
