"""`flames scorer eval`: how good scorers are, measured against labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from flames.cli._options import (
    EncodingOption,
    JsonOption,
    Lang,
    MapOption,
    ModelNameOption,
    QuietOption,
    SeedOption,
    TaxonomyOption,
)
from flames.cli.scorer import app
from flames.cli.scorer._labels import LabelPromptsOption, LabelsOption, SkipIncompleteOption

if TYPE_CHECKING:
    from flames.analysis.evaluation import Evaluation

_FORMS = ("md", "html", "json")


@app.command("eval")
def evaluate(
    scorers: Annotated[
        list[str],
        typer.Argument(
            metavar="SCORER…",
            help="Scorers by name or path, as for --scorer; all are compared with the first.",
        ),
    ],
    labels: LabelsOption,
    prompts: LabelPromptsOption = None,
    form: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--format", metavar="F", help="md, html or json; a table unless given."),
    ] = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", metavar="FILE", help="Where to write; standard output unless given."),
    ] = None,
    model: ModelNameOption = None,
    mapping: MapOption = None,
    encoding: EncodingOption = None,
    taxonomy: TaxonomyOption = None,
    skip_incomplete: SkipIncompleteOption = False,
    scorer_option: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--scorer-option",
            metavar="NAME=VALUE",
            help="An option of the scorers (input_truncation=official, device=cuda); may be "
            "repeated.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Judge scorers although their self-test failed.")
    ] = False,
    lang: Lang = "en",
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Judge scorers against labels: accuracy, F1, kappa, calibration, bias, the models' ranking."""
    from flames.analysis.evaluate import compare_scorers, score_labelled
    from flames.analysis.evaluate import evaluate as measured
    from flames.cli.scorer._labels import read_options
    from flames.cli.scorer._load import load, parse_options
    from flames.errors import UsageError
    from flames.reports.words import language
    from flames.scorers.labelled import read_labelled

    form = "json" if as_json else form
    if form is not None and form not in _FORMS:
        raise UsageError(f"--format takes {', '.join(_FORMS)}, not {form!r}")
    if out is not None and form is None:
        raise UsageError(f"--out needs --format ({', '.join(_FORMS)})")
    shown = language(lang)
    values, options = read_options(taxonomy, prompts, mapping, encoding, model)
    labelled = read_labelled(labels, options, prompt_needed=False, skip_incomplete=skip_incomplete)
    given = {**parse_options(scorer_option), "ignore_selftest": force or None}
    found: list[Evaluation] = []
    first = None
    with _progress(len(labelled.rows), quiet) as told:
        for spec in scorers:
            scorer = load(spec, taxonomy, given, beside=scorers)
            verdicts, seconds = score_labelled(scorer, labelled, progress=told(spec))
            each = measured(labelled, verdicts, scorer.info, values, seconds=seconds, seed=seed)
            if first is None:
                first = verdicts
            else:
                gap = compare_scorers(labelled, verdicts, first, seed=seed)
                each = each.model_copy(update={"difference": gap})
            found.append(each)
    if form is None:
        from rich.console import Console

        from flames.reports.evaluation import print_evaluations

        print_evaluations(found, Console(), values, shown)
        return
    if form == "json":
        import json

        data = found[0].to_dict() if len(found) == 1 else {
            "schema": 1, "results": [each.to_dict() for each in found],
        }  # fmt: skip
        text = json.dumps(data, ensure_ascii=False, indent=1) + "\n"
    else:
        from flames.reports.evaluation import markdown, page

        text = (page if form == "html" else markdown)(found, values, shown)
    if out is None:
        typer.echo(text, nl=False)
        return
    from flames.storage.atomic import write_atomic

    write_atomic(out, text)
    if not quiet:
        typer.echo(f"{out}", err=True)


@contextmanager
def _progress(total: int, quiet: bool) -> Iterator[Callable[[str], Callable[[int], None]]]:
    """A bar a scorer on a terminal, nothing in a pipe."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from flames.text import shorten

    console = Console(stderr=True)
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    off = quiet or not console.is_terminal
    with Progress(*columns, console=console, disable=off, transient=True) as bar:

        def start(name: str) -> Callable[[int], None]:
            task = bar.add_task(shorten(name, 30).replace("[", r"\["), total=total)
            return lambda done: bar.update(task, completed=done)

        yield start
