"""`flames run` and `flames ask`: collect a model's responses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from flames.cli._console import (
    JsonOptions,
    QuietOptions,
    progress_bar,
    say,
    tables,
    tell,
)
from flames.collect import ask as collecting
from flames.collect.ask import Asking, AskState
from flames.collect.batch import asked_model, asking_by
from flames.collect.limits import format_money
from flames.collect.plan import AskOptions, make_plan
from flames.collect.settings import AskSettings, BatchOptions
from flames.metrics.failures import MOST_REASONS
from flames.models.base import Sampling
from flames.models.load import ModelOptions
from flames.options import LangOptions
from flames.pipeline import runs
from flames.records import IN_THOUGHT
from flames.reports.report import print_summary, render_json
from flames.scorers.options import ScoringOptions
from flames.storage.locks import LockOptions
from flames.storage.run_dir import RunDir
from flames.text import for_terminal

_CURE = "give --price-in and --price-out, or see flames models prices"
_STARTING = ("out", "resume", "accept_changes")


def telling(quiet: QuietOptions) -> Callable[[str], None]:
    """Returns what prints lines for people, unless the command is quiet."""
    return (lambda line: None) if quiet.quiet else say


def run(
    asking: AskOptions,
    reach: ModelOptions,
    sampling: Sampling,
    settings: AskSettings,
    batches: BatchOptions,
    scoring: ScoringOptions,
    language: LangOptions,
    output: JsonOptions,
    quiet: QuietOptions,
    locking: LockOptions,
) -> None:
    """Ask a model every prompt of a set, score the responses, measure and report.

    If it is killed at any moment, --resume continues it and asks nothing twice.
    """
    with locking.applied(say):
        done = runs.run(
            **vars(asking),
            options=replace(reach, say=say),  # prints its licence, for example
            sampling=sampling,
            settings=settings,
            batches=replace(batches, say=telling(quiet)),
            **vars(scoring),
            lang=language.lang,
            watch=partial(watch, quiet=quiet.quiet),
        )
    failure, scored = done.asked.failure(), any(r.overall.coverage.scored for r in done.results)
    if not quiet.quiet and not done.asked.state.in_batches:
        console, told = tables(stderr=output.json), str(failure or "")
        print_summary(done.results, console, language.lang, done.run.taxonomy, told=told)
    if scored or quiet.quiet:
        say_reasons(done.asked.reasons(), str(failure or ""))
    for path in done.reports:
        typer.echo(for_terminal(str(path)), err=output.json)
    if output.json:
        typer.echo(render_json(done.results), nl=False)
    done.check()


def ask(
    asking: AskOptions,
    reach: ModelOptions,
    sampling: Sampling,
    settings: AskSettings,
    batches: BatchOptions,
    printing: JsonOptions,
    quiet: QuietOptions,
    locking: LockOptions,
) -> None:
    """Ask a model every prompt of a set; print the run directory that holds the responses.

    If it is killed at any moment, --resume continues it and asks nothing twice.
    """
    planned = {n: v for n, v in vars(asking).items() if n not in _STARTING}
    planned["model"] = asked_model(asking.model, batches, reach)
    plan = make_plan(**planned, options=replace(reach, say=say), sampling=sampling)
    with locking.applied(say):
        asked = collecting.collect(
            plan,
            asking.out,
            resume=asking.resume,
            accept_changes=asking.accept_changes,
            settings=settings,
            watch=partial(watch, quiet=quiet.quiet),
            asking_by=asking_by(plan, replace(batches, say=telling(quiet))),
        )
    state, path, reasons = asked.state, str(asked.run.path), asked.reasons()
    data = {
        "run": path,
        "model": asked.run.model,
        "planned": state.planned,
        "counts": dict(state.counts),
        "errors": reasons,
        "requests": state.requests,
        "requests_earlier": state.earlier,
        "requests_lost": state.lost,
        "cost": state.cost,
        "cost_lost": state.lost_cost,
        "currency": state.currency,
        "in_batches": state.in_batches,
        "stopped": None if asked.stopped is None else str(asked.stopped),
    }
    tell(printing, data, [path])
    failure = asked.failure()
    say_reasons(reasons, str(failure or ""))
    if failure is not None:
        raise failure


def say_reasons(reasons: Mapping[str, int], told: str) -> None:
    """Prints how often what was said, without what is `told` by the failure that follows."""
    new = [(words, n) for words, n in reasons.items() if not words or words not in told]
    for words, n in new[:MOST_REASONS]:
        say(f"{n} × {words or 'no reason given'}")
    if len(new) > MOST_REASONS:
        rest = sum(n for _, n in new[MOST_REASONS:])
        say(f"{rest} × other reasons; `error` in responses.jsonl has each")


@contextmanager
def watch(asking: Asking, quiet: bool) -> Iterator[collecting.Progress]:
    """Prints the estimate before asking and the counts after it; between them a progress bar."""
    if not quiet:
        _print_before(asking)
    columns = (
        TextColumn("asking", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
        TextColumn("{task.fields[state]}", markup=False),
    )
    try:
        with progress_bar(quiet, *columns) as bar:
            start = asking.state
            task = bar.add_task("", total=start.planned, completed=start.done, rate="", state="")

            def progress(state: AskState) -> None:
                speed = bar.tasks[0].speed
                parts = [f"{state.counts.get('error', 0)} failed"]
                if state.cost is not None:
                    parts.append(f"cost {format_money(state.cost, state.currency)}")
                if state.waiting_s >= 2:
                    parts.append(f"asked to slow down: waiting {state.waiting_s:.0f} s")
                elif state.a_minute is not None:
                    parts.append(f"slowed to {state.a_minute:.3g} a minute")
                rate = f"{speed:.1f}/s" if speed else ""
                bar.update(task, completed=state.done, rate=rate, state=" · ".join(parts))

            yield progress
    finally:
        if not quiet:
            say(summary(asking.run, asking.state))
            if changed := asking.changes.told():
                words = ", ".join(f"{name} ({how})" for name, how in changed.items())
                say(f"the endpoint takes other parameters, as the manifest says: {words}")
            if asking.counts[IN_THOUGHT]:
                say("what is truncated in thought needs a larger --max-tokens, in another run")


def _print_before(asking: Asking) -> None:
    if asking.dropped:
        say(f"dropped a torn last line of {asking.dropped} bytes")
    state = asking.state
    if state.earlier:
        say(f"so far: {_used(state)}")
    expected = asking.estimate()
    if not expected.requests:
        return
    settings = asking.collector.settings
    line = (
        f"estimate: {expected.requests} requests, about {expected.tokens_in} tokens in and "
        f"{expected.tokens_out} out"
    )
    if expected.cost is None:
        if "base_url" in asking.plan.model.describe():  # others cost nothing, or nobody knows
            say(f"{line}; cost unknown: no price is known for {asking.plan.spec}, {_CURE}")
        return
    line += f", cost about {format_money(expected.cost, settings.currency)}"
    if expected.most is not None:
        line += f", at most {format_money(expected.most, settings.currency)}"
    spent = (state.cost or 0) + (state.lost_cost or 0)
    if settings.max_cost is not None and spent + expected.cost > settings.max_cost:
        line += f"; it will stop before it costs {format_money(settings.max_cost, state.currency)}"
    if settings.price_source is not None:
        line += f" (prices: {settings.price_source})"
    say(line)


def summary(run: RunDir, state: AskState, prompts: str = "") -> str:
    """Returns how the responses of a run ended, and what they took."""
    counts = [f"{n} {status}" for status, n in sorted(state.counts.items()) if n]
    if state.in_batches:
        counts.append(f"{state.in_batches} in a batch")
    missing = state.planned - state.counts.total() - state.in_batches
    if missing > 0:
        counts.append(f"{missing} not asked")
    name = f"{run.model} on {prompts}" if prompts else run.model
    line = f"{name}: {', '.join(counts) or 'nothing'}"
    now = f"{state.requests} requests now, in all " if state.earlier else ""
    return f"{line}; {now}{_used(state)}"


def _used(state: AskState) -> str:
    line = f"{state.earlier + state.requests} requests"
    if state.lost:
        line += f" ({state.lost} of them cut off"
        lost = state.lost_cost
        line += ")" if lost is None else f", up to {format_money(lost, state.currency)})"
    if state.cost is None:
        return line
    return f"{line}, cost {format_money(state.cost, state.currency)}"
