"""`flames prompts difficulty`: what runs say about the prompts of a set."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import typer

from flames.analysis.difficulty import Answers, gather_answers, measure_difficulty
from flames.analysis.inputs import VerdictOptions, read_each
from flames.cli._console import say, tables
from flames.cli.prompts import SetArgument
from flames.errors import UsageError
from flames.prompts.sets import load_prompts
from flames.reports.difficulty import DifficultyOptions, DifficultyReport
from flames.storage.atomic import write_atomic
from flames.taxonomy import Taxonomy


def difficulty(prompts: SetArgument, options: DifficultyOptions) -> None:
    """Measure how hard each prompt is, by what models did on it: shrunken, with intervals.

    Prompts that all models pass or fail are counted, and so are responses without a score: they
    are not failures.
    """
    answers, taxonomy = _answers(prompts, options.runs, options)
    found = measure_difficulty(answers, taxonomy, slopes=options.slopes)
    report = DifficultyReport(found, answers.prompts, taxonomy, options.lang)
    if options.format is None:
        report.print(tables())
    elif options.out is None:
        typer.echo(report.render(options.format), nl=False)
    else:
        say(str(write_atomic(options.out, report.render(options.format))))


def _answers(
    prompts: str, runs: Sequence[str], options: VerdictOptions
) -> tuple[Answers, Taxonomy]:
    if not runs:
        raise UsageError("name the runs whose responses are used: --runs RUN, once for each")
    sources, read = read_each(runs, options)
    found = load_prompts(prompts, taxonomy=read.taxonomy)
    return gather_answers(found, list(chain.from_iterable(sources)), read.taxonomy), read.taxonomy
