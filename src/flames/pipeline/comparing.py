"""Several runs, or a run and people: `compare`, `trend` and `certify` as functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from flames.analysis import compare as comparing
from flames.analysis import trend as trending
from flames.analysis.certify import certify_sources
from flames.analysis.inputs import (
    measure_sources,
    read_sources,
)
from flames.options import changed
from flames.pipeline.verdicts import PathLike, listed_paths
from flames.reports.certificate import PAGE, CertificateReport, CertifyOptions
from flames.reports.comparison_document import CompareOptions, ComparisonReport
from flames.reports.documents import DocumentOptions
from flames.reports.trend import TrendOptions, TrendReport
from flames.storage.atomic import write_atomic
from flames.storage.run_dir import is_run, open_run

Document = TypeVar("Document", ComparisonReport, TrendReport, CertificateReport)


def compare(
    paths: PathLike | Sequence[PathLike], options: CompareOptions | None = None, **changes: Any
) -> ComparisonReport:
    """Compares models on the same prompts, the baseline first: differences, intervals, tests."""
    options = changed(CompareOptions, options, changes)
    sources, read = read_sources(listed_paths(paths), options)
    comparison = comparing.compare(sources, read.taxonomy, common=options.common, seed=options.seed)
    found = ComparisonReport(comparison, read.taxonomy, options.lang, options.changes)
    return _written(found, options)


def trend(
    paths: PathLike | Sequence[PathLike], options: TrendOptions | None = None, **changes: Any
) -> TrendReport:
    """Shows checkpoints in a row: the values of each, and between which of them they changed."""
    options = changed(TrendOptions, options, changes)
    sources, read = read_sources(listed_paths(paths), options)
    made = trending.trend(sources, read.taxonomy, by_date=options.by_date, seed=options.seed)
    return _written(TrendReport(made, read.taxonomy, options.lang), options)


def certify(
    paths: PathLike | Sequence[PathLike], options: CertifyOptions | None = None, **changes: Any
) -> CertificateReport:
    """Puts what people's labels say of a run, and of its scorer, on one page for an auditor.

    Of a single run the page is kept in its folder.
    """
    options, paths = changed(CertifyOptions, options, changes), listed_paths(paths)
    sources, read = read_sources(paths, options, beside=options.labels)
    results = measure_sources(sources, read.taxonomy, options.seed)
    certificate = certify_sources(
        sources,
        results,
        Path(options.labels),
        read,
        random_sample=options.labels_are_random,
        target_width=options.target_width,
        seed=options.seed,
    )
    found = CertificateReport(certificate, read.taxonomy, options.lang)
    if options.format is None and len(paths) == 1 and is_run(paths[0]):
        page = open_run(Path(paths[0])).path / PAGE
        return replace(found, written=[write_atomic(page, found.render("html"))])
    return _written(found, options)


def _written(found: Document, options: DocumentOptions) -> Document:
    """Returns a document, written into the file that the options name, if they name one."""
    if options.format is None or options.out is None:
        return found
    text = found.render(options.format)  # type: ignore[arg-type]
    return replace(found, written=[write_atomic(options.out, text)])
