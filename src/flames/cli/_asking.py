"""What `flames ask` and `flames run` share: plan, asking, the bar, the summary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from flames.cli._ask_options import AskOptions

if TYPE_CHECKING:
    from flames.collect.ask import Asking, AskState, Plan, Progress
    from flames.collect.engine import AskSettings
    from flames.errors import FlamesError
    from flames.storage.run_dir import RunDir


@dataclass(frozen=True)
class Asked:
    """How asking went: the run, how far it is, and what stopped it, if anything did."""

    run: RunDir
    standing: AskState
    stopped: FlamesError | None

    def failure(self) -> FlamesError | None:
        """What the exit code must tell of: what stopped it, or the errors that are left."""
        from flames.errors import OutsideError

        errors = self.standing.counts.get("error", 0)
        if self.stopped is not None or not errors:
            return self.stopped
        return OutsideError(
            f"{errors} of {self.standing.planned} responses ended in an error; "
            "add --resume to ask them again"
        )


def plan(options: AskOptions) -> Plan:
    """What the options ask for.

    Raises:
        UsageError: An option cannot be used, or the model cannot be reached as named.
        InputError: The prompt set cannot be read.
    """
    from flames.collect.ask import Plan
    from flames.models.base import Sampling
    from flames.models.load import ModelOptions, load_model
    from flames.prompts.sets import load_prompts
    from flames.storage.rows import parse_mapping
    from flames.taxonomy import load_taxonomy

    taxonomy = load_taxonomy(options.taxonomy)
    prompts = load_prompts(
        options.prompts,
        taxonomy=taxonomy,
        mapping=parse_mapping(options.mapping),
        encoding=options.encoding,
        limit=options.limit,
        seed=options.seed,
    )
    model = load_model(
        options.model,
        ModelOptions(
            base_url=options.base_url,
            api_key_env=options.api_key_env,
            headers=dict(map(_header, options.header or ())),
            timeout=options.timeout,
            frame=options.frame,
            say=lambda line: say(line, False),
        ),
    )
    sampling = Sampling(
        temperature=options.temperature,
        max_tokens=options.max_tokens,
        seed=options.sampling_seed,
        extra=_object(options.extra_body),
    )
    return Plan(
        model=model,
        prompts=prompts,
        spec=options.model,
        system=_text(options.system, "--system"),
        sampling=sampling,
        samples=options.repeats,
        taxonomy=taxonomy,
    )


def settings(options: AskOptions) -> AskSettings:
    """How hard to try, and how much may be used.

    Raises:
        UsageError: Only one price was given, or a price is none.
    """
    from flames.collect.engine import AskSettings

    return AskSettings(
        concurrency=options.concurrency,
        retries=options.retries,
        max_requests=options.max_requests,
        max_cost=options.max_cost,
        price_in=options.price_in,
        price_out=options.price_out,
    )


def ask_plan(asked: Plan, options: AskOptions) -> Asked:
    """Asks what is missing, with a bar on a terminal; says what came of it."""
    from flames.collect.ask import Asking, prepare
    from flames.errors import OutsideError

    allowed = settings(options)
    run = prepare(asked, options.out, resume=options.resume)
    stopped: FlamesError | None = None
    with Asking(asked, run, allowed) as asking:
        _before(asking, options)
        try:
            with _bar(asking, options.quiet) as told:
                asking.ask(told)
        except OutsideError as error:
            stopped = error
        finally:
            say(_summary(asking), options.quiet)
        return Asked(asking.run, asking.state, stopped)


def say(text: str, quiet: bool) -> None:
    """A line for people, beside the results."""
    from flames.text import for_terminal

    if not quiet:
        typer.echo(for_terminal(text), err=True)


def _before(asking: Asking, options: AskOptions) -> None:
    if asking.dropped:
        say(f"dropped a torn last line of {asking.dropped} bytes", options.quiet)
    standing = asking.state
    if standing.earlier:
        say(f"so far: {_spent(standing)}", options.quiet)
    expected = asking.estimate()
    if expected is None or not expected.requests:
        return
    most = f", at most {expected.most:.4g}" if expected.most is not None else ""
    line = (
        f"estimate: {expected.requests} requests, about {expected.tokens_in} tokens in and "
        f"{expected.tokens_out} out, cost about {expected.cost:.4g}{most}"
    )
    spent = (standing.cost or 0) + (standing.lost_cost or 0)
    if options.max_cost is not None and spent + expected.cost > options.max_cost:
        line += f"; it will stop before it costs {options.max_cost:g}"
    say(line, options.quiet)


@contextmanager
def _bar(asking: Asking, quiet: bool) -> Iterator[Progress]:
    """A bar on a terminal, nothing in a pipe."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("asking", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
        TextColumn("{task.fields[told]}", markup=False),
    )
    shown = console.is_terminal and not quiet
    with Progress(*columns, console=console, disable=not shown, transient=True) as bar:
        start = asking.state
        task = bar.add_task("", total=start.planned, completed=start.done, rate="", told="")

        def told(standing: AskState) -> None:
            speed = bar.tasks[0].speed
            parts = [f"{standing.counts.get('error', 0)} failed"]
            if standing.cost is not None:
                parts.append(f"cost {standing.cost:.4g}")
            if standing.slowed:
                parts.append(f"slowed to {standing.concurrency} at once")
            bar.update(
                task,
                completed=standing.done,
                rate=f"{speed:.1f}/s" if speed else "",
                told=" · ".join(parts),
            )

        yield told


def _summary(asking: Asking) -> str:
    standing = asking.state
    counts = [f"{n} {status}" for status, n in sorted(standing.counts.items()) if n]
    missing = standing.planned - standing.counts.total()
    if missing:
        counts.append(f"{missing} not asked")
    told = f"{asking.run.model}: {', '.join(counts) or 'nothing'}"
    if standing.earlier:
        return f"{told}; {standing.requests} requests now, in all {_spent(standing)}"
    return f"{told}; {_spent(standing)}"


def _spent(standing: AskState) -> str:
    """What the whole run has used."""
    told = f"{standing.earlier + standing.requests} requests"
    if standing.lost:
        told += f" ({standing.lost} of them cut off"
        told += f", up to {standing.lost_cost:.4g})" if standing.lost_cost is not None else ")"
    return told if standing.cost is None else f"{told}, cost {standing.cost:.4g}"


def _header(text: str) -> tuple[str, str]:
    from flames.errors import UsageError

    name, colon, value = text.partition(":")
    usable = colon and name.strip() and text.isascii() and text.isprintable()
    if not usable:
        raise UsageError("--header takes NAME: VALUE in plain ASCII")
    return name.strip(), value.strip()


def _text(given: str | None, option: str) -> str | None:
    from flames.errors import UsageError
    from flames.text import utf8_safe

    if given is not None and utf8_safe(given) != given:
        raise UsageError(f"{option} is no text in UTF-8")
    if given is None or not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not text in UTF-8"
        raise UsageError(f"{option}: {given[1:]}: {reason}") from None


def _object(given: str | None) -> dict[str, Any]:
    from flames.errors import InputError, UsageError
    from flames.storage.rows import parse_json

    text = _text(given, "--extra-body")
    if text is None:
        return {}
    try:
        value = parse_json(text, None, None)
    except InputError as error:
        raise UsageError(f"--extra-body {error}") from None
    if not isinstance(value, dict):
        raise UsageError('--extra-body takes a JSON object like {"top_p": 0.9}')
    return value
