"""`flames score`: verdicts on responses that are there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from flames.cli._options import (
    EncodingOption,
    MapOption,
    ModelNameOption,
    QuietOption,
    ScorerOption,
    TaxonomyOption,
    TruncatedOption,
)

if TYPE_CHECKING:
    from flames.storage.record_files import ReadOptions


def score(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FILE|RUN",
            help="Responses (JSONL, CSV, XLSX; - is standard input), a run directory, or "
            "labels:silver, the bundled simulated responses.",
        ),
    ],
    scorer: ScorerOption = "default",
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", metavar="FILE", help="Where to write; standard output unless given."),
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="F",
            help="jsonl, or official: the released script's, as <input>_predicted.jsonl.",
        ),
    ] = "jsonl",
    prompts: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--prompts",
            metavar="SET|PATH",
            help="Where responses that name no dimension have their prompts; known sets unless "
            "given.",
        ),
    ] = None,
    model: ModelNameOption = None,
    mapping: MapOption = None,
    encoding: EncodingOption = None,
    taxonomy: TaxonomyOption = None,
    truncated: TruncatedOption = "scored",
    force: Annotated[
        bool, typer.Option("--force", help="Score although the scorer's self-test failed.")
    ] = False,
    truncation: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--truncation",
            help="Where a trained scorer shortens long texts: middle of the response, or official "
            "(the end of the input, as the released script).",
        ),
    ] = None,
    base_url: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--base-url", metavar="URL", help="Endpoint of a judge or guard."),
    ] = None,
    api_key_env: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--api-key-env", metavar="NAME", help="Variable that holds its key."),
    ] = None,
    concurrency: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--concurrency", metavar="N", min=1, help="Requests to it at a time."),
    ] = None,
    timeout: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--timeout", metavar="SECONDS", min=0.001, help="For one request to it."),
    ] = None,
    votes: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--votes", metavar="K", min=1, help="Ask a judge K times a response."),
    ] = None,
    judge_lang: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--judge-lang", help="Language that a judge is asked in: zh or en."),
    ] = None,
    judge_prompt: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--judge-prompt", metavar="FILE", help="Your own prompt file for a judge."),
    ] = None,
    scorer_option: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--scorer-option",
            metavar="NAME=VALUE",
            help="Anything else that the scorer understands; may be repeated.",
        ),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Score responses that are there: a file, a pipe or a run; killed, it goes on where it was."""
    from flames.errors import UsageError
    from flames.scorers.labels import PREFIX, labels_path
    from flames.scorers.options import load_with, parse_options

    _one_of("--truncated", truncated, ("scored", "unscored"))
    _one_of("--format", form, ("jsonl", "official"))
    named = {
        "base_url": base_url,
        "api_key_env": api_key_env,
        "concurrency": concurrency,
        "timeout": timeout,
        "votes": votes,
        "lang": judge_lang,
        "prompt": None if judge_prompt is None else str(judge_prompt),
        "ignore_selftest": force or None,
        "input_truncation": truncation,
    }
    given = {name: value for name, value in named.items() if value is not None}
    options = {**parse_options(scorer_option or ()), **given}
    if target.startswith(PREFIX):
        target = str(labels_path(target))
    if target != "-" and Path(target).is_dir():
        if out is not None or form != "jsonl":
            raise UsageError("a run is scored into itself; --out and --format are for files")
        from flames.scorers.scoring import score_run
        from flames.storage.run_dir import open_run

        run = open_run(Path(target))
        judge = load_with(scorer, options, taxonomy or run.taxonomy)
        with _progress(None, quiet) as told:
            written = score_run(run, judge, truncated=truncated, progress=told)  # type: ignore[arg-type]
        _say(f"{written}", quiet)
        return
    read = _read_options(prompts, model, mapping, encoding, taxonomy)
    if form == "official":
        if target == "-":
            raise UsageError("--format official needs a file, not standard input")
        from flames.storage.rows import stem_of

        out = out or Path(target).with_name(f"{stem_of(target)}_predicted.jsonl")
    from flames.records import dump_line
    from flames.scorers.scoring import count_responses, score_file, score_file_to

    # Read to its end first: a broken last line is told before anything is scored or paid for.
    total = count_responses(target, read) if Path(target).is_file() else None
    judge = load_with(scorer, options, taxonomy)
    with _progress(total, quiet) as told:
        if out is None:
            for line in score_file(target, judge, options=read, truncated=truncated):  # type: ignore[arg-type]
                typer.echo(dump_line(line))
                told(line)
            return
        score_file_to(
            target,
            out,
            judge,
            options=read,
            truncated=truncated,  # type: ignore[arg-type]
            official=form == "official",
            progress=told,
        )
    _say(f"{out}", quiet)


def _one_of(option: str, value: str, choices: tuple[str, ...]) -> None:
    from flames.errors import UsageError

    if value not in choices:
        raise UsageError(f"{option} is {' or '.join(choices)}, not {value!r}")


def _read_options(
    prompts: str | None,
    model: str | None,
    mapping: str | None,
    encoding: str | None,
    taxonomy: Path | None,
) -> ReadOptions:
    from flames.prompts.sets import known_prompts, load_prompts
    from flames.storage.record_files import ReadOptions
    from flames.storage.rows import parse_mapping
    from flames.taxonomy import load_taxonomy

    values = load_taxonomy(taxonomy)
    if prompts is None:
        known: Mapping[str, Any] = known_prompts(None if taxonomy is None else values)
    else:
        known = load_prompts(prompts, taxonomy=values).by_id
    return ReadOptions(
        taxonomy=values,
        mapping=parse_mapping(mapping),
        encoding=encoding,
        model=model,
        prompts=known,
    )


@contextmanager
def _progress(total: int | None, quiet: bool) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A bar on a terminal, nothing in a pipe, and a line of what came out at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from flames.records import THOUGHT_ALOUD
    from flames.scorers.scoring import check_reached, is_unreached

    lost = thinking = 0
    scored: Counter[bool] = Counter()
    reasons: Counter[str] = Counter()
    console = Console(stderr=True)
    shown = console.is_terminal and not quiet
    columns = ("scoring", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not shown, transient=True) as bar:
        task = bar.add_task("scoring", total=total)

        def told(line: Mapping[str, Any]) -> None:
            nonlocal lost, thinking
            lost += is_unreached(line)
            thinking += line.get(THOUGHT_ALOUD) is True
            scored[line["score"] is not None] += 1
            if line["score"] is None:
                reasons[str(line.get("unscored"))] += 1
            bar.advance(task)

        yield told
    if reasons:
        why = ", ".join(f"{reason} {n}" for reason, n in reasons.most_common())
        _say(f"{scored[True]} scored, {scored[False]} unscored ({why})", quiet)
    else:
        _say(f"{scored[True]} scored", quiet)
    if thinking:
        moved = "began with thinking (<think>…</think>), which was moved to `reasoning`, not scored"
        _say(f"{thinking} responses {moved}", quiet)
    check_reached(lost, "the same command")


def _say(text: str, quiet: bool) -> None:
    from flames.text import for_terminal

    if not quiet:
        typer.echo(for_terminal(text), err=True)
