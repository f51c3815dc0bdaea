"""`flames study`: many models, prompt sets and scorers in one resumable command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from flames.cli._console import JsonOptions, QuietOptions, present, progress_bar, say, tables
from flames.cli.ask import say_reasons, summary
from flames.collect.limits import format_money
from flames.pipeline import study_run
from flames.pipeline.study_plan import Outlook, StudyOptions, StudyPlan, plan_study
from flames.pipeline.study_run import Row, StudyOutcome, left_out, read_state
from flames.records import dump_line
from flames.reports.beside import overview
from flames.reports.printing import print_document
from flames.reports.study import study_blocks
from flames.reports.words import join
from flames.reports.words import say as words
from flames.storage.locks import LockOptions
from flames.text import for_terminal


def study(
    options: StudyOptions,
    output: JsonOptions,
    quiet: QuietOptions,
    locking: LockOptions,
) -> None:
    """Run a study from its file: models × prompt sets × scorers, one budget, one report.

    The same command goes on after a kill, and after a change of the file: it asks and scores only
    what is missing.
    """
    plan = plan_study(options, say=say)
    planned = _planned(plan)
    if options.dry_run:
        present(output, planned, study_blocks(planned), options.lang)
        return
    if not quiet.quiet:
        _say_estimate(planned)
    with locking.applied(say):
        done = study_run.run_study(plan, options.lang, partial(_watch, quiet=quiet.quiet))
    _print(done, plan, options, output, quiet)
    done.check()


def _planned(plan: StudyPlan) -> dict[str, Any]:
    outlook = plan.outlook()
    rows = [_row(each) for each in outlook]
    costs: dict[str, float] = {}
    for row in rows:
        if row["cost"] is not None:
            costs[row["currency"] or ""] = costs.get(row["currency"] or "", 0.0) + row["cost"]
    budget = plan.study.budget
    return {
        "study": str(plan.folder),
        "runs": rows,
        "scorers": {
            scorer.info.id: sum(each.to_score[scorer.info.id] for each in outlook)
            for scorer in plan.scorers
        },
        "requests": sum(row["requests"] for row in rows),
        "costs": costs,
        "max_requests": budget.max_requests,
        "max_cost": budget.max_cost,
        "left_out": left_out(plan, read_state(plan)),
    }


def _row(each: Outlook) -> dict[str, Any]:
    run, estimate = each.run, each.estimate
    return {
        "model": run.model,
        "place": run.place,
        "prompts": run.plan.prompts.name,
        "run": str(run.folder),
        "planned": run.planned,
        "there": each.there,
        "requests": estimate.requests,
        "tokens_in": estimate.tokens_in,
        "tokens_out": estimate.tokens_out,
        "cost": estimate.cost,
        "currency": None if estimate.cost is None else run.settings.currency,
    }


def _say_estimate(planned: dict[str, Any]) -> None:
    if not planned["requests"]:
        return
    costs = " + ".join(format_money(cost, currency) for currency, cost in planned["costs"].items())
    cost = f", cost about {costs}" if costs else ""
    counts = (sum(row[name] for row in planned["runs"]) for name in ("tokens_in", "tokens_out"))
    tokens = "about {} tokens in and {} out".format(*counts)
    say(f"estimate: {planned['requests']} requests, {tokens}{cost}")


@contextmanager
def _watch(rows: Sequence[Row], quiet: bool) -> Iterator[study_run.Progress]:
    """Shows a row with a bar for each model."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[state]}", markup=False),
    )
    with progress_bar(quiet, *columns) as bar:
        tasks = {row.model: _add(bar, row) for row in rows}

        def progress(row: Row) -> None:
            parts = [row.doing, f"{row.failed} failed" if row.failed else ""]
            if row.cost is not None:
                parts.append(f"cost {format_money(row.cost, row.currency)}")
            state = for_terminal(" · ".join(filter(None, parts)))
            bar.update(tasks[row.model], completed=row.done, state=state)

        yield progress


def _add(bar: Progress, row: Row) -> Any:
    return bar.add_task(for_terminal(row.model), total=row.planned, completed=row.done, state="")


def _print(
    done: StudyOutcome,
    plan: StudyPlan,
    options: StudyOptions,
    output: JsonOptions,
    quiet: QuietOptions,
) -> None:
    told = "; ".join(done.problems.values())
    for asked in done.asked:
        if not quiet.quiet:
            say(summary(asked.run, asked.state, asked.run.prompt_set.full_name))
        say_reasons(asked.reasons(), told)
    if not quiet.quiet:
        console = tables(stderr=output.json)
        title = join(words("harmless_rate"), " %, ", words("interval"))
        several = len(plan.scorers) > 1
        blocks = overview(done.results, plan.taxonomy, title, with_scorer=several)
        print_document(blocks, console, options.lang, intervals="below")
    for path in done.reports:
        typer.echo(for_terminal(str(path)), err=output.json)
    if output.json:
        typer.echo(dump_line(_told(done)))


def _told(done: StudyOutcome) -> dict[str, Any]:
    return {
        "study": str(done.folder),
        "runs": [
            {
                "run": str(asked.run.path),
                "model": asked.run.model,
                "prompts": asked.run.prompt_set.name,
                "planned": asked.state.planned,
                "counts": dict(asked.state.counts),
                "errors": asked.reasons(),
                "requests": asked.state.requests,
                "requests_earlier": asked.state.earlier,
                "cost": asked.state.cost,
                "currency": asked.state.currency,
                "stopped": None if asked.stopped is None else str(asked.stopped),
            }
            for asked in done.asked
        ],
        "problems": done.problems,
        "left_out": done.left_out,
        "reports": [str(path) for path in done.reports],
    }
