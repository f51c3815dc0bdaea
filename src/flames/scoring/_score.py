"""Scoring a stream, a file or a run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from flames.errors import InputError, OutsideError, UsageError
from flames.io import ReadOptions, read_responses, read_rows
from flames.records import SCORABLE, Response, carry
from flames.scorers.base import Scorer
from flames.scoring._journal import Journal, Line, Progress, Truncated, batches, judged


class RunLike(Protocol):
    """The part of a run directory that scoring needs (`flames.run.RunDir`)."""

    path: Path

    def responses(self) -> Iterator[Response]: ...

    def verdicts_path(self, scorer_id: str) -> Path: ...


def score_file(
    path: str | os.PathLike[str],
    scorer: Scorer,
    *,
    options: ReadOptions | None = None,
    truncated: Truncated = "scored",
) -> Iterator[Line]:
    """Scores a file of responses, yielding its lines in order, each with its verdict in it.

    Args:
        path: JSON Lines, CSV, TSV or XLSX; `-` is JSON Lines on standard input.
        scorer: What judges.
        options: How rows are read; `prompts` gives the dimension to those that name none.
        truncated: `unscored` leaves truncated responses unscored.

    Raises:
        InputError: A row cannot be used, or has no dimension; or there is none.
    """
    responses = _read(path, options)
    for batch in batches(responses, scorer):
        for response, verdict in judged(batch, scorer, truncated):
            yield carry(response, verdict)


def score_file_to(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    scorer: Scorer,
    *,
    options: ReadOptions | None = None,
    truncated: Truncated = "scored",
    official: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Scores a file of responses into another file, going on where a killed scoring stood.

    Args:
        path: See `score_file`.
        out: The file of verdicts; it appears when all is scored, until then `<out>.part` grows.
        scorer: What judges.
        options: See `score_file`.
        truncated: See `score_file`.
        official: Write the released script's format: the input's rows as they are, with
            `predicted` (null where a response could not be scored). Not from standard input.
        progress: Told of each line.

    Raises:
        InputError: A row cannot be used, or has no dimension; or there is none.
        UsageError: `out` holds something else, cannot be written, or a journal of other
            responses or another scorer stands beside it.
    """
    target = Path(out)
    if os.fspath(path) != "-" and target.exists() and target.samefile(path):
        raise UsageError(f"{target}: is the input itself; choose another --out")
    _refuse_foreign(target)
    with Journal(target, scorer.info.id, truncated, progress) as journal:
        journal.fill(_read(path, options), scorer, carry)
        journal.finish(_official(path, options, journal.part) if official else None)
    return target


def score_run(
    run: RunLike,
    scorer: Scorer,
    *,
    truncated: Truncated = "scored",
    progress: Progress | None = None,
) -> Path:
    """Scores a run into its own file for that scorer; verdicts that stand there are kept.

    Scored again are only responses that changed since (an `error` that was asked again) and
    those that the scorer could not score.

    Args:
        run: The run directory.
        scorer: What judges.
        truncated: `unscored` leaves truncated responses unscored.
        progress: Told of each line.

    Raises:
        InputError: The run holds no responses, or its journal or its verdicts cannot be read.
        UsageError: Another process is scoring it.
    """
    target = Path(run.verdicts_path(scorer.info.id))
    with Journal(target, scorer.info.id, truncated, progress) as journal:
        kept = journal.earlier()
        journal.fill(
            _some(run.responses(), run.path), scorer, lambda _, verdict: verdict.to_dict(), kept
        )
        journal.finish()
    return target


def unreached(line: Mapping[str, Any]) -> bool:
    """Whether a verdict line lacks its score because what the scorer asks could not be reached."""
    reason = str(line.get("unscored") or "")
    lost = reason == "error" or reason.endswith(": error")
    return lost and line.get("score") is None and line.get("status", "ok") in SCORABLE


def check_reached(lost: int, again: str) -> None:
    """Fails where what a scorer asks could not be reached for some responses.

    Args:
        lost: For how many.
        again: The command that tries them again.

    Raises:
        OutsideError: For any.
    """
    if lost:
        raise OutsideError(
            f"the scorer could not reach what it asks for {lost:,} responses, which are unscored; "
            f"{again} tries them again"
        )


def count_responses(path: str | os.PathLike[str], options: ReadOptions | None = None) -> int:
    """Reads a file of responses to its end: how many there are, all of them fit to be scored.

    Raises:
        InputError: A row cannot be used, or has no dimension; or there is none.
    """
    return sum(1 for _ in _read(path, options))


def _read(path: str | os.PathLike[str], options: ReadOptions | None) -> Iterator[Response]:
    responses = read_responses(path, replace(options or ReadOptions(), placed=True))
    return _some(responses, os.fspath(path))


def _some(responses: Iterator[Response], path: str | Path) -> Iterator[Response]:
    """The same, at least one of them."""
    first = next(responses, None)
    if first is None:
        raise InputError("holds no responses", path=path)
    yield first
    yield from responses


def _official(
    path: str | os.PathLike[str], options: ReadOptions | None, part: Path
) -> Iterator[Line]:
    options = options or ReadOptions()
    rows = read_rows(path, mapping=options.mapping, encoding=options.encoding)
    for (_, row), line in zip(rows, _lines(part), strict=True):
        for name in ("dimension", "prompt", "response"):
            if row.get(name) is None and name in line:
                row[name] = line[name]
        yield {**row, "predicted": line["score"]}


def _lines(path: Path) -> Iterator[Line]:
    with open(path, "rb") as file:
        yield from map(json.loads, file)


def _refuse_foreign(target: Path) -> None:
    """Refuses to replace a file that holds no verdicts."""
    if target.exists() and target.stat().st_size:
        first = next(iter(read_rows(target)), None)
        if first is not None and not {"scorer", "predicted"} & first.fields.keys():
            raise UsageError(f"{target}: is there and holds no verdicts; choose another --out")
