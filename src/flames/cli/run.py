"""`flames run`: ask, score and report in one go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Optional

import typer

from flames.cli._ask_options import AskOptions, with_ask_options
from flames.cli._options import JsonOption, Lang, ScorerOption, TruncatedOption

if TYPE_CHECKING:
    from flames.scorers.base import Scorer
    from flames.scorers.scoring import Truncated
    from flames.storage.run_dir import RunDir
    from flames.taxonomy import Language


@with_ask_options
def run(
    options: AskOptions,
    scorer: ScorerOption = "default",
    scorer_option: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--scorer-option",
            metavar="NAME=VALUE",
            help="Anything else that the scorer understands; may be repeated.",
        ),
    ] = None,
    truncated: TruncatedOption = "scored",
    lang: Lang = "en",
    as_json: JsonOption = False,
) -> None:
    """Ask a model every prompt of a set, score the responses, measure and report.

    Killed at any moment, it goes on with --resume and asks nothing twice.
    """
    from flames.cli._asking import ask_plan, plan
    from flames.errors import UsageError
    from flames.reports.words import language
    from flames.scorers.options import load_with, parse_options
    from flames.scorers.scoring import check_reached

    shown = language(lang)
    if truncated not in ("scored", "unscored"):
        raise UsageError(f"--truncated takes scored or unscored, not {truncated!r}")
    wanted = plan(options)
    judge = load_with(scorer, parse_options(scorer_option or ()), options.taxonomy)
    asked = ask_plan(wanted, options)
    lost = _report(asked.run, judge, truncated, shown, options.quiet, as_json)  # type: ignore[arg-type]
    if failure := asked.failure():
        raise failure
    check_reached(lost, "the same command with --resume")


def _report(
    run: RunDir,
    scorer: Scorer,
    truncated: Truncated,
    lang: Language,
    quiet: bool,
    as_json: bool,
) -> int:
    """Scores and reports; how many responses the scorer could not reach its endpoint for.

    With JSON on standard output, everything else goes to standard error.
    """
    from flames.analysis.loading import load_sources
    from flames.cli._console import tables
    from flames.metrics.rates import measure
    from flames.reports.report import print_summary, render_json, write_reports
    from flames.scorers.scoring import is_unreached, score_run
    from flames.storage.record_files import ReadOptions
    from flames.text import for_terminal

    if any(True for _ in run.responses()):
        score_run(run, scorer, truncated=truncated)
    options = ReadOptions(taxonomy=run.taxonomy)
    sources = load_sources(run.path, scorer=scorer.info.id, options=options, truncated=truncated)
    results = [measure(source, run.taxonomy) for source in sources]
    written = write_reports(run, sources, results, lang, run.taxonomy)
    if not quiet:
        print_summary(results, tables(stderr=as_json), lang, run.taxonomy)
    for path in written:
        typer.echo(for_terminal(str(path)), err=as_json)
    if as_json:
        typer.echo(render_json(results), nl=False)
    return sum(is_unreached(verdict.to_dict()) for each in sources for verdict in each.verdicts)
