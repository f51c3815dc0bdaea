"""`flames score`: verdicts on responses that are there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from flames.cli._console import QuietOptions, progress_bar, say
from flames.pipeline import runs
from flames.records import PARTLY_READ, THOUGHT_ALOUD, dump_line
from flames.scorers import scoring
from flames.scorers.options import ScoreOptions
from flames.scorers.scoring import check_reached, is_unreached
from flames.storage.locks import LockOptions


def score(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FILE|RUN",
            help="Responses (JSONL, CSV, XLSX; - is standard input), a run directory, or "
            "labels:silver and labels:natural, bundled simulated responses.",
        ),
    ],
    options: ScoreOptions,
    quiet: QuietOptions,
    locking: LockOptions,
) -> None:
    """Score responses from a file, a pipe or a run; continue if it was killed."""
    with locking.applied(say):
        done = runs.score(target, options, watch=partial(_watch, quiet=quiet.quiet))
    if not isinstance(done, Path):
        for line in done:
            typer.echo(dump_line(line))
    elif not quiet.quiet:
        say(str(done))


@contextmanager
def _watch(total: int | None, quiet: bool) -> Iterator[scoring.Progress]:
    """Shows a progress bar on a terminal, and prints the counts at the end."""
    lost = thinking = partly = 0
    scored: Counter[bool] = Counter()
    reasons: Counter[str] = Counter()
    with progress_bar(quiet) as bar:
        task = bar.add_task("scoring", total=total)

        def progress(line: Mapping[str, Any]) -> None:
            nonlocal lost, thinking, partly
            lost += is_unreached(line)
            thinking += line.get(THOUGHT_ALOUD) is True
            partly += line.get(PARTLY_READ) is True
            scored[line["score"] is not None] += 1
            if line["score"] is None:
                reasons[str(line.get("unscored"))] += 1
            bar.advance(task)

        yield progress
    if not quiet:
        why = ", ".join(f"{reason} {n}" for reason, n in reasons.most_common())
        say(f"{scored[True]} scored" + (f", {scored[False]} unscored ({why})" if why else ""))
        if thinking:
            moved = "which was moved to `reasoning`, not scored"
            say(f"{thinking} responses began with thinking (<think>…</think>), {moved}")
        if partly:
            why = "as they or their prompts are too long for it"
            say(f"responses that the scorer read only in part, {why}: {partly}")
    check_reached(lost, "the same command")
