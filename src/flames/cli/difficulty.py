"""`flames prompts difficulty`, `select`: what runs say about the prompts of a set."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import typer

from flames.analysis.difficulty import Answers, gather_answers, measure_difficulty
from flames.analysis.inputs import VerdictOptions, read_each
from flames.analysis.selection import SelectOptions, chosen_rows, select_prompts
from flames.cli._console import JsonOptions, present, say, tables
from flames.cli.prompts import SetArgument
from flames.errors import UsageError
from flames.prompts.sets import load_prompts
from flames.reports.difficulty import DifficultyOptions, DifficultyReport
from flames.reports.selection import selection_document
from flames.storage.atomic import to_jsonl, write_atomic
from flames.taxonomy import Taxonomy


def difficulty(prompts: SetArgument, options: DifficultyOptions) -> None:
    """Measure how hard each prompt is, from what models did on it, with intervals.

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


def select(prompts: SetArgument, options: SelectOptions, output: JsonOptions) -> None:
    """Choose a smaller set that keeps the ranking of models, judged on models held out.

    The balance over subcomponents is that of a sample with --limit. What is lost in rank
    correlation and interval width stands beside what balanced random samples lose.
    """
    if options.n is None or options.out is None:
        raise UsageError("say how many prompts, and where they go: --n N --out FILE")
    if options.out.exists():
        raise UsageError(f"{options.out} is there already; choose another --out")
    answers, taxonomy = _answers(prompts, options.runs, options)
    found = select_prompts(answers, options.n, taxonomy.id, keep=options.keep, seed=options.seed)
    say(str(write_atomic(options.out, to_jsonl(chosen_rows(answers, found)))))
    present(output, found.to_json().rstrip(), selection_document(found), options.lang)


def _answers(
    prompts: str, runs: Sequence[str], options: VerdictOptions
) -> tuple[Answers, Taxonomy]:
    if not runs:
        raise UsageError("name the runs whose responses are used: --runs RUN, once for each")
    sources, read = read_each(runs, options)
    found = load_prompts(prompts, taxonomy=read.taxonomy)
    return gather_answers(found, list(chain.from_iterable(sources)), read.taxonomy), read.taxonomy
