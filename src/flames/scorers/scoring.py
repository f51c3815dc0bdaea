"""Scores a file or a run, and resumes a scoring that was killed."""

from __future__ import annotations

import gzip
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from flames.errors import InputError, OutsideError, UsageError
from flames.records import SCORABLE, Key, Response, Verdict, carry, dump_line
from flames.scorers.base import Scorer, ScorerInfo, Truncated, batches, score_stream
from flames.scorers.registry import NOTES, scorer_notes
from flames.scorers.replaced import check_official, check_verdicts, is_there, key_of
from flames.scorers.stance import with_stance
from flames.storage.atomic import write_atomic
from flames.storage.journal import Journal, read_lines
from flames.storage.record_files import ReadOptions
from flames.storage.row_files import TableForm, table_bytes
from flames.storage.rows import read_rows
from flames.storage.run_dir import RunDir
from flames.storage.shards import ResponseFiles, Shards, files_of, read_files, shown_name
from flames.storage.unusable import usable


def score_file(
    path: ResponseFiles,
    scorer: Scorer | ScorerPool,
    *,
    options: ReadOptions | None = None,
    truncated: Truncated = "scored",
) -> Iterator[Line]:
    """Scores a file of responses, yielding its lines in order, each with its verdict in it.

    Args:
        path: JSON Lines, CSV, TSV or XLSX, or shards; `-` is JSON Lines on standard input.
        options: How rows are read; `prompts` gives the dimension to those that name none.
    """
    for pairs in _pairs(batches(_read(path, options), scorer), scorer, truncated):
        yield from (carry(response, verdict) for response, verdict in pairs)


def score_file_to(
    path: ResponseFiles,
    out: str | os.PathLike[str],
    scorer: Scorer | ScorerPool,
    *,
    options: ReadOptions | None = None,
    truncated: Truncated = "scored",
    official: bool = False,
    table: TableForm | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Scores a file of responses into another file; resumes a scoring that was killed.

    Args:
        out: The file of verdicts; it appears when all is scored, until then `<out>.part` grows.
        official: Write the released script's format: the input's rows as they are, with
            `predicted` (null where a response could not be scored). Not from standard input.
        table: Write a workbook or Parquet instead of JSON Lines.
        overwrite: Replace a file that holds anything but this scorer's verdicts on these responses.

    Raises:
        UsageError: `out` holds anything else, cannot be written, or a journal of other
            responses or another scorer stands beside it.
    """
    target = Path(out)
    if target.exists() and any(target.samefile(each) for each in files_of(path)):
        raise UsageError(f"{target}: is the input itself; choose another --out")
    name = scorer.info.id
    responses = _read(path, options)
    if not overwrite:
        responses = _replacing(target, path, options, name, official)
    with VerdictJournal(target, name, truncated, progress) as journal:
        journal.fill(responses, scorer, carry)
        if table is not None:
            journal.finish_table(table)
        else:
            journal.finish(_official(path, options, journal.part) if official else None)
    return target


def score_run(
    run: RunDir,
    scorer: Scorer | ScorerPool,
    *,
    truncated: Truncated = "scored",
    progress: Progress | None = None,
) -> Path:
    """Scores a run into its file for that scorer, keeping the verdicts that are there.

    Only responses that changed since (an `error` that was asked again) and those that the scorer
    could not score are scored again.
    """
    target = run.verdicts_path(scorer.info.id)
    with VerdictJournal(target, scorer.info.id, truncated, progress) as journal:
        kept = journal.earlier(run.responses())
        journal.fill(
            _some(run.responses(), run.path), scorer, lambda _, verdict: verdict.to_dict(), kept
        )
        journal.finish()
    return target


def is_unreached(line: Mapping[str, Any]) -> bool:
    """Tells whether a verdict has no score because the scorer's model could not be reached."""
    reason = str(line.get("unscored") or "")
    lost = reason == "error" or reason.endswith(": error")
    return lost and line.get("score") is None and line.get("status", "ok") in SCORABLE


def check_reached(lost: int, again: str) -> None:
    """Fails with an OutsideError if the scorer's model could not be reached for some responses."""
    if lost:
        raise OutsideError(
            f"the scorer could not reach what it asks for {lost:,} responses, which are unscored; "
            f"{again} tries them again"
        )


def count_responses(path: ResponseFiles, options: ReadOptions | None = None) -> int:
    """Counts the responses of a file, and checks that all can be scored."""
    return sum(1 for _ in _read(path, options))


def _read(path: ResponseFiles, options: ReadOptions | None) -> Iterator[Response]:
    responses = read_files(path, replace(options or ReadOptions(), placed=True))
    return _some(responses, shown_name(path))


def _some(responses: Iterator[Response], path: str | Path) -> Iterator[Response]:
    first = next(responses, None)
    if first is None:
        raise InputError("holds no responses", path=path)
    yield first
    yield from responses


def _given(path: ResponseFiles, options: ReadOptions | None) -> Iterator[Line]:
    options = options or ReadOptions()
    return (usable(fields, ()) for each in files_of(path) for _, fields in options.rows(each))


def _official(path: ResponseFiles, options: ReadOptions | None, part: Path) -> Iterator[Line]:
    with open(part, "rb") as lines:
        for row, line in zip(_given(path, options), map(json.loads, lines), strict=True):
            for name in ("dimension", "prompt", "response"):
                if row.get(name) is None and name in line:
                    row[name] = line[name]
            yield {**row, "predicted": line["score"]}


def _replacing(
    target: Path, path: ResponseFiles, options: ReadOptions | None, scorer: str, official: bool
) -> Iterator[Response]:
    """Yields the responses of a file; refuses first to lose anything that the target holds."""
    responses = _read(path, options)
    if not is_there(target):
        return responses
    if official:
        check_official(target, _given(path, options))
    elif isinstance(path, Shards) or os.path.isfile(path):
        check_verdicts(target, scorer, _read(path, options))
    else:  # a pipe is read once
        first = next(responses)
        check_verdicts(target, scorer, iter([first]), most=1)
        responses = chain([first], responses)
    return responses


Line = dict[str, Any]
Progress = Callable[[Mapping[str, Any]], None]
"""Called with each verdict line once it is on disk, those found in the journal included."""
Pairs = list[tuple[Response, Verdict]]


@runtime_checkable
class ScorerPool(Protocol):
    """A scorer in other processes, which scores many windows at once; `window` is their size."""

    info: ScorerInfo
    window: int

    def pairs(self, windows: Iterable[list[Response]], truncated: Truncated) -> Iterator[Pairs]:
        """Yields each window's responses with their verdicts, in order."""


def _pairs(
    windows: Iterable[list[Response]], scorer: Scorer | ScorerPool, truncated: Truncated
) -> Iterator[Pairs]:
    if isinstance(scorer, ScorerPool):
        return scorer.pairs(windows, truncated)
    return (list(scored(window, scorer, truncated)) for window in windows)


def scored(
    batch: list[Response], scorer: Scorer, truncated: Truncated
) -> Iterator[tuple[Response, Verdict]]:
    """Yields each response with its verdict, which carries the notes that its id does not imply."""
    verdicts = score_stream(scorer, batch, truncated=truncated == "scored")
    by_id = scorer_notes(scorer.info.id)
    more = [note for note in scorer.info.notes if note not in by_id]
    if notes := [str(note) if note.code == "text" else note.to_dict() for note in more]:
        verdicts = (v.model_copy(update={NOTES: notes}) for v in verdicts)
    return ((r, with_stance(r, v)) for r, v in zip(batch, verdicts, strict=True))


class VerdictJournal:
    """The growing `<file>.part` of one scoring, locked against a second writer."""

    def __init__(
        self, target: Path, scorer_id: str, truncated: Truncated, progress: Progress | None
    ) -> None:
        if target.exists() and not target.is_file():
            raise UsageError(f"{target}: is no regular file; leave --out away to print verdicts")
        self._packed = target.suffix.lower() == ".gz"
        target = Path(os.path.realpath(target))  # a link stays a link
        self.target = target
        self.part = target.with_name(target.name + ".part")
        self._scorer, self._truncated = scorer_id, truncated
        self._progress = progress or (lambda _: None)

    def __enter__(self) -> VerdictJournal:
        self._journal: Journal[None, None] = Journal(self.part)
        return self

    def __exit__(self, *_: object) -> None:
        if self._journal.size == 0:
            self.part.unlink(missing_ok=True)
        self._journal.close()

    def finish(self, lines: Iterable[Line] | None = None) -> None:
        """Moves the journal, or other lines in its place, to the target; compresses a `.gz`."""
        self._journal.sync()
        if lines is None and not self._packed:
            os.replace(self.part, self.target)
            return
        neighbour = self.target.with_name(self.target.name + ".new")
        with open(self.part, "rb") as part, open(neighbour, "wb") as file:
            raw: Iterable[bytes] = part
            if lines is not None:
                raw = ((dump_line(line) + "\n").encode("utf-8") for line in lines)
            packed = gzip.GzipFile("", "wb", fileobj=file, mtime=0) if self._packed else None
            with packed or nullcontext(file) as target:
                target.writelines(raw)
            file.flush()
            os.fsync(file.fileno())
        os.replace(neighbour, self.target)
        self.part.unlink()

    def finish_table(self, form: TableForm) -> None:
        """Writes the journal's lines to the target as a table."""
        self._journal.sync()
        with open(self.part, "rb") as lines:
            write_atomic(self.target, table_bytes(map(json.loads, lines), form))
        self.part.unlink()

    def earlier(self, responses: Iterable[Response]) -> dict[Key, Line]:
        """Returns the lines of the finished file, by key.

        Those of a scoring that was killed join them if the run was asked further since.
        """
        rows = read_rows(self.target) if self.target.exists() else ()
        kept = {key_of(row.fields): row.fields for row in rows}
        begun = [line.fields for line in read_lines(self.part) if line.fields is not None]
        named = all(line.get("scorer") == self._scorer for line in begun)
        held = (self._holds(r, line, strict=False) for r, line in zip(responses, begun))  # noqa: B905
        if begun and named and not all(held):
            kept |= {key_of(line): line for line in begun}
            write_atomic(self.target, ((dump_line(x) + "\n").encode() for x in kept.values()))
            self._journal.cut(0)
        return kept

    def fill(
        self,
        responses: Iterator[Response],
        scorer: Scorer | ScorerPool,
        to_line: Callable[[Response, Verdict], Line],
        kept: Mapping[Key, Line] | None = None,
    ) -> None:
        """Appends one line per response, in order, after those that are there."""
        self._resume(responses)
        # Of a window that has kept lines: its keys in order, and those lines.
        begun: deque[tuple[list[Key], dict[Key, Line]] | None] = deque()

        def windows() -> Iterator[list[Response]]:
            for batch in batches(responses, scorer):
                known = (r for r in batch if kept and self._holds(r, kept.get(r.key)))
                old = {r.key: kept[r.key] for r in known} if kept else {}
                begun.append(([r.key for r in batch], old) if old else None)
                yield [response for response in batch if response.key not in old]

        for pairs in _pairs(windows(), scorer, self._truncated):
            lines = {r.key: to_line(r, v) for r, v in pairs}
            if (known := begun.popleft()) is not None:
                keys, old = known
                lines = {key: old[key] if key in old else lines[key] for key in keys}
            self._journal.append(*map(dump_line, lines.values()))
            for line in lines.values():
                self._progress(line)

    def _resume(self, responses: Iterator[Response]) -> None:
        end = 0
        for line in read_lines(self.part):
            if line.fields is None:
                break
            response = next(responses, None)
            if response is None or not self._holds(response, line.fields, strict=False):
                raise UsageError(
                    f"{self.part}: was begun with other responses, another scorer or other "
                    "options; delete it to start afresh"
                )
            end = line.end
            self._progress(line.fields)
        self._journal.cut(end)

    def _holds(self, response: Response, line: Line | None, *, strict: bool = True) -> bool:
        if line is None or key_of(line) != response.key or line.get("scorer") != self._scorer:
            return False
        now = (response.status, response.response)
        if (line.get("status"), line.get("response", response.response)) != now:
            return False
        if not response.scorable:
            return True
        left_out = response.status == "truncated" and self._truncated == "unscored"
        if left_out != (line.get("unscored") == "truncated"):
            return False
        return not strict or left_out or line.get("score") is not None
