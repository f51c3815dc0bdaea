"""One call for each command: its options in, what it found and wrote out.

A function's options are a dataclass (`ReportOptions`), from which the command's flags are made.
They are given as an instance, or each by its name:

    flames.report("runs/deepseek", format="html", out="report.html")
    passed = flames.gate("runs/new", against="runs/old").passed
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, overload

from flames.analysis.beside import beside_of, write_disagreements
from flames.analysis.inputs import (
    MeasureOptions,
    correct_sources,
    measure_sources,
    read_sources,
)
from flames.metrics.correction import Correction
from flames.metrics.rates import measure as measure_source
from flames.metrics.result import Result
from flames.metrics.source import Source
from flames.options import changed
from flames.reports.documents import (
    Report,
    ReportOptions,
)
from flames.reports.report import write_reports
from flames.storage.atomic import write_atomic
from flames.storage.run_dir import is_run, open_run
from flames.taxonomy import Taxonomy

PathLike: TypeAlias = str | os.PathLike[str]


@overload
def measure(what: Source, taxonomy: Taxonomy | None = None, /, *, seed: int = 0) -> Result: ...


@overload
def measure(
    what: PathLike | Sequence[PathLike], options: MeasureOptions | None = None, /, **changes: Any
) -> list[Result]: ...


def measure(what: Any, options: Any = None, /, **changes: Any) -> Any:
    """Measures rates, scores, intervals and coverage.

    Args:
        what: A source, which has one result; or files of verdicts and runs, which have one per
            model and scorer.
        options: Of a source its taxonomy; of files which verdicts are taken, and how.
    """
    if isinstance(what, Source):
        return measure_source(what, *([] if options is None else [options]), **changes)
    options = changed(MeasureOptions, options, changes)
    sources, read = read_sources(listed_paths(what), options)
    return measure_sources(sources, read.taxonomy, options.seed)


def report(
    paths: PathLike | Sequence[PathLike], options: ReportOptions | None = None, **changes: Any
) -> Report:
    """Reports rates, scores, intervals and coverage; (re)writes the report of a single run."""
    options, paths = changed(ReportOptions, options, changes), listed_paths(paths)
    sources, read = read_sources(paths, options, beside=options.human)
    taxonomy = read.taxonomy
    others = read_sources(options.beside, options)[0] if options.beside else []
    measured = measure_sources([*sources, *others], taxonomy, options.seed, options.blocked)
    results = measured[: len(sources)]
    corrections: list[Correction] = []
    if options.human is not None:
        corrections = correct_sources(
            sources,
            options.human,
            read,
            random_sample=options.labels_are_random,
            target_width=options.target_width,
            seed=options.seed,
        )
    beside = beside_of(sources, results, measured[len(sources) :], taxonomy, options.seed)
    if options.disagreements is not None:
        write_disagreements(beside, options.disagreements)
    found = Report(results, sources, taxonomy, options.lang, corrections, beside)
    if options.format is not None and options.out is not None:
        return replace(found, written=[write_atomic(options.out, found.parts(options.format))])
    if options.format is None and len(paths) == 1 and is_run(paths[0]):
        run = open_run(Path(paths[0]))
        made = write_reports(run, sources, results, options.lang, taxonomy, corrections, beside)
        return replace(found, written=made)
    return found


def listed_paths(paths: PathLike | Sequence[PathLike]) -> Sequence[PathLike]:
    """Returns paths as a list; a single one may stand alone."""
    return [paths] if isinstance(paths, str | os.PathLike) else paths
