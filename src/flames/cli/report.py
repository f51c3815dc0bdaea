"""`flames report`: what verdicts say, for people and for programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from flames.cli._options import (
    EncodingOption,
    JsonOption,
    Lang,
    MapOption,
    ModelNameOption,
    SeedOption,
    TaxonomyOption,
    TruncatedOption,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flames.analysis.source import Source
    from flames.metrics.correction import Correction
    from flames.metrics.result import Result
    from flames.records import Verdict
    from flames.storage.record_files import ReadOptions
    from flames.taxonomy import Language, Taxonomy


def report(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|RUN…",
            help="Files of verdicts (the released scorer's output, too; - is standard input), "
            "run directories, labels:FILE or labels:silver.",
        ),
    ],
    form: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--format",
            metavar="F",
            help="md, html, json or csv; a table on the terminal otherwise.",
        ),
    ] = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", metavar="FILE", help="Where to write; standard output otherwise."),
    ] = None,
    scorer: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--scorer", metavar="S", help="Report on this scorer's verdicts only."),
    ] = None,
    prompts: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--prompts",
            metavar="SET|PATH",
            help="What was to be asked: names the set of a file, and counts prompts without a "
            "verdict as not asked.",
        ),
    ] = None,
    human: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--human",
            metavar="LABELS",
            help="Human labels on a random part: shows the scorer alone, people alone and the "
            "corrected (prediction-powered) values.",
        ),
    ] = None,
    labels_are_random: Annotated[
        bool,
        typer.Option(
            "--labels-are-random",
            help="The labels are a simple random sample and need no inclusion_probability.",
        ),
    ] = False,
    target_width: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            "--target-width",
            metavar="POINTS",
            min=0.01,
            help="Tell how many more labels would make the corrected interval so wide.",
        ),
    ] = None,
    truncated: TruncatedOption = "scored",
    lang: Lang = "en",
    model: ModelNameOption = None,
    mapping: MapOption = None,
    encoding: EncodingOption = None,
    taxonomy: TaxonomyOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Report rates, scores, intervals and coverage; for a run, (re)write its report as well."""
    from flames.cli._sources import read_sources
    from flames.errors import InputError, UsageError
    from flames.reports.words import language

    if as_json:
        if form not in (None, "json"):
            raise UsageError(f"--json is --format json, not {form}")
        form = "json"
    if form is not None and form not in _FORMS:
        raise UsageError(f"--format takes {', '.join(_FORMS)}, not {form!r}")
    if out is not None and form is None:
        raise UsageError(f"--out needs --format ({', '.join(_FORMS)})")
    if human is None and (labels_are_random or target_width is not None):
        raise UsageError("--labels-are-random and --target-width go with --human")
    if human is not None and form == "csv":
        raise UsageError("--human is shown as a table, md, html or json, not as csv")
    shown = language(lang)
    sources, options = read_sources(
        paths,
        scorer=scorer,
        prompts=prompts,
        truncated=truncated,
        model=model,
        mapping=mapping,
        encoding=encoding,
        taxonomy=taxonomy,
        beside=human,
    )
    values = options.taxonomy
    results = _measured(sources, values, seed)
    corrections: list[Correction] = []
    if human is not None:
        from flames.metrics.correction import correct

        labels = _labels(human, sources, options, labels_are_random)
        try:
            corrections = [
                correct(
                    source,
                    labels,
                    values,
                    random_sample=labels_are_random,
                    target_width=target_width,
                    seed=seed,
                )
                for source in sources
            ]
        except InputError as error:
            raise error.at(human, None) from None
    if form is not None:
        _write(_render(form, sources, results, values, shown, corrections), out)
        return
    _show(paths, sources, results, values, shown, corrections)


_FORMS = ("md", "html", "json", "csv")


def _measured(sources: Sequence[Source], taxonomy: Taxonomy, seed: int) -> list[Result]:
    """A result a source, each by a name of its own, with what its neighbours make worth knowing."""
    from flames.analysis.source import display_names, reworded_notes
    from flames.metrics.rates import measure

    results = []
    names, notes = display_names(sources, beside_scorers=True), reworded_notes(sources)
    for source, name, more in zip(sources, names, notes, strict=True):
        result = measure(source, taxonomy, seed=seed)
        own = {"name": None if name == source.model else name, "notes": result.notes + more}
        results.append(result.model_copy(update=own))
    return results


def _labels(
    path: Path, sources: Sequence[Source], options: ReadOptions, random_sample: bool
) -> list[Verdict]:
    """What people said. A label without model or dimension takes it from what it is on."""
    from dataclasses import replace

    from flames.analysis.loading import load_labels
    from flames.records import Prompt

    models = {source.model for source in sources}
    if options.model is None and len(models) == 1:
        options = replace(options, model=models.pop())
    known = {
        verdict.prompt_id: Prompt.model_construct(
            id=verdict.prompt_id, dimension=verdict.dimension, text=""
        )
        for source in sources
        for verdict in source.verdicts
    }
    options = replace(options, prompts=known)
    return load_labels(path, options=options, random_sample=random_sample)


def _render(
    form: str,
    sources: Sequence[Source],
    results: Sequence[Result],
    taxonomy: Taxonomy,
    lang: Language,
    corrections: Sequence[Correction],
) -> str:
    from flames.reports import report
    from flames.reports.html import render_html

    if form == "json":
        return report.render_json(results, corrections)
    if form == "csv":
        return report.render_csv(results)
    if form == "md":
        return report.render_markdown(results, taxonomy, lang, corrections)
    return render_html(results, sources, taxonomy, lang, corrections)


def _write(text: str, out: Path | None) -> None:
    from flames.storage.atomic import write_atomic

    if out is None:
        typer.echo(text, nl=False)
    else:
        typer.echo(str(write_atomic(out, text)), err=True)


def _show(
    paths: list[str],
    sources: Sequence[Source],
    results: Sequence[Result],
    taxonomy: Taxonomy,
    lang: Language,
    corrections: Sequence[Correction],
) -> None:
    from flames.cli._console import tables
    from flames.reports import report
    from flames.storage.run_dir import is_run, open_run
    from flames.text import for_terminal

    report.print_summary(results, tables(), lang, taxonomy, corrections)
    if len(paths) == 1 and is_run(Path(paths[0])):
        run = open_run(Path(paths[0]))
        for path in report.write_reports(run, sources, results, lang, taxonomy, corrections):
            typer.echo(for_terminal(str(path)), err=True)
