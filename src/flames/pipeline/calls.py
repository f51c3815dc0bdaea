"""One call for each command: its options in, what it found and wrote out.

A function's options are a dataclass (`ReportOptions`), from which the command's flags are made.
They are given as an instance, or each by its name:

    flames.report("runs/deepseek", format="html", out="report.html")
    passed = flames.gate("runs/new", against="runs/old").passed
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, get_args, overload

from flames.analysis import compare as comparing
from flames.analysis import gate as gating
from flames.analysis import trend as trending
from flames.analysis.beside import beside_of, write_disagreements
from flames.analysis.certify import certify_sources
from flames.analysis.gate_rules import GateOptions
from flames.analysis.inputs import (
    MeasureOptions,
    correct_sources,
    measure_sources,
    read_each,
    read_sources,
)
from flames.analysis.loading import load_sources
from flames.collect.ask import Watch, collect
from flames.collect.batch import asking_by
from flames.collect.plan import make_plan
from flames.collect.settings import AskSettings, BatchOptions
from flames.errors import UsageError
from flames.metrics.correction import Correction
from flames.metrics.rates import measure as measure_source
from flames.metrics.result import Result
from flames.metrics.source import Source
from flames.options import check_choice, default_language
from flames.reports.certificate import PAGE, CertificateReport, CertifyOptions
from flames.reports.documents import (
    CompareOptions,
    ComparisonReport,
    DocumentOptions,
    Report,
    ReportOptions,
)
from flames.reports.gate import GateOutcome, GateRule, append_summary, to_junit, to_summary
from flames.reports.report import write_reports
from flames.reports.run_outcome import RunOutcome
from flames.reports.trend import TrendOptions, TrendReport
from flames.scorers.base import Scorer
from flames.scorers.labels import PREFIX, labels_path
from flames.scorers.options import ScoreOptions, load_with
from flames.scorers.ray_pool import Recipe, ray_pool
from flames.scorers.scoring import (
    Line,
    Progress,
    ScorerPool,
    Truncated,
    count_responses,
    is_unreached,
    score_file,
    score_file_to,
    score_run,
)
from flames.storage.atomic import write_atomic
from flames.storage.record_files import ReadOptions
from flames.storage.run_dir import is_run, open_run
from flames.storage.shards import ResponseFiles, Shards, is_file, opened_files
from flames.storage.text_files import stem_of
from flames.taxonomy import Language, Taxonomy, load_taxonomy

PathLike: TypeAlias = str | os.PathLike[str]
Options = TypeVar("Options")
Document = TypeVar("Document", ComparisonReport, TrendReport, CertificateReport)


def run(
    model: Any,
    prompts: Any = "open",
    *,
    scorer: str = "default",
    scorer_options: Mapping[str, Any] | None = None,
    truncated: Truncated = "scored",
    out: PathLike | None = None,
    resume: bool = False,
    accept_changes: bool = False,
    settings: AskSettings | None = None,
    batches: BatchOptions | None = None,
    lang: Language | None = None,
    watch: Watch | None = None,
    **planned: Any,
) -> RunOutcome:
    """Asks a model every prompt of a set, scores the responses, measures and reports.

    Where asking stopped before its end, the outcome's `check()` raises why. While responses are in
    a batch of the provider, nothing is scored, and the outcome has no results.

    Args:
        model, prompts, out, resume, accept_changes, settings, planned: As for `flames.ask`.
        scorer: As for `flames.load_scorer`.
        batches: Whether to ask by batches of the provider.
        lang: Language of the report; the locale's by default.
    """
    check_choice("--truncated", truncated, get_args(Truncated))
    plan = make_plan(model, prompts, **planned)
    loaded = load_with(scorer, scorer_options, plan.taxonomy)
    asked = collect(
        plan,
        out,
        resume=resume,
        accept_changes=accept_changes,
        settings=settings,
        watch=watch,
        asking_by=asking_by(plan, batches or BatchOptions()),
    )
    if asked.state.in_batches:
        return RunOutcome(asked.run, asked, [], [], [], 0)
    taxonomy = asked.run.taxonomy
    if any(True for _ in asked.run.responses()):
        score_run(asked.run, loaded, truncated=truncated)
    sources = load_sources(
        asked.run.path,
        scorer=loaded.info.id,
        options=ReadOptions(taxonomy=taxonomy),
        truncated=truncated,
    )
    results = measure_sources(sources, taxonomy, 0)
    lang = lang or default_language()
    reports = write_reports(asked.run, sources, results, lang, taxonomy)
    lines = (verdict.to_dict() for source in sources for verdict in source.verdicts)
    unreached = sum(map(is_unreached, lines))
    return RunOutcome(asked.run, asked, sources, results, reports, unreached, lang)


ScoreWatch = Callable[[int | None], AbstractContextManager[Progress]]
"""Called with the number of responses, where it is known; what it yields gets every line."""


def score(
    target: PathLike,
    options: ScoreOptions | None = None,
    *,
    watch: ScoreWatch | None = None,
    **changes: Any,
) -> Path | Iterator[Line]:
    """Scores a run into itself, or a file of responses into another one.

    A scoring that was killed continues where it stopped. Returns the file of verdicts; without
    `out`, the lines themselves as they are scored.

    Args:
        target: A run directory, a file, `labels:silver`, or `-` for standard input.
    """
    options = _options(ScoreOptions, options, changes)
    watch = watch or (lambda total: nullcontext(lambda line: None))
    target = os.fspath(target)
    if target.startswith(PREFIX):
        target = str(labels_path(target))
    if is_run(target):
        return _score_run(target, options, watch)
    official = options.format == "official"
    if official and target == "-":
        raise UsageError("--format official needs a file, not standard input")
    read = options.read_options()
    if options.out is None and not official and options.engine == "local" and is_file(target):
        total = _counted(target, read)
        here = load_with(options.scorer, options.given(), options.taxonomy)
        lines = score_file(target, here, options=read, truncated=options.truncated)
        return _scored_lines(watch, total, lines)
    out = options.out
    if out is None and not official:
        raise UsageError("shards, remote files and --engine ray need --out FILE")
    with opened_files(target) as source:
        out = out or Path(target).with_name(f"{stem_of(target)}_predicted.jsonl")
        total = _counted(source, read)
        with _scorer(options, options.taxonomy) as scorer, watch(total) as progress:
            score_file_to(
                source,
                out,
                scorer,
                options=read,
                truncated=options.truncated,
                official=official,
                table=options.table,
                overwrite=options.overwrite,
                progress=progress,
            )
    return out


def _counted(source: ResponseFiles, read: ReadOptions) -> int | None:
    """Reads files to their end: a broken last line is reported before anything is paid for."""
    if isinstance(source, Shards) or os.path.isfile(source):
        return count_responses(source, read)
    return None


def _scorer(
    options: ScoreOptions, taxonomy: Path | Taxonomy | None
) -> AbstractContextManager[Scorer | ScorerPool]:
    """Loads the scorer, in this process or in workers."""
    if options.engine == "local":
        return nullcontext(load_with(options.scorer, options.given(), taxonomy))
    loaded = taxonomy if isinstance(taxonomy, Taxonomy) else load_taxonomy(taxonomy)
    # an explicit taxonomy narrows the known prompts, so Flames' own is left unsaid
    recipe = Recipe(options.scorer, options.given(), None if taxonomy is None else loaded)
    return ray_pool(recipe, options)


def _score_run(target: str, options: ScoreOptions, watch: ScoreWatch) -> Path:
    if options.out is not None or options.format != "jsonl":
        raise UsageError("a run is scored into itself; --out and --format are for files")
    run = open_run(Path(target))
    with _scorer(options, options.taxonomy or run.taxonomy) as scorer, watch(None) as progress:
        return score_run(run, scorer, truncated=options.truncated, progress=progress)


def _scored_lines(watch: ScoreWatch, total: int | None, lines: Iterator[Line]) -> Iterator[Line]:
    with watch(total) as progress:
        for line in lines:
            yield line
            progress(line)


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
    options = _options(MeasureOptions, options, changes)
    sources, read = read_sources(_listed(what), options)
    return measure_sources(sources, read.taxonomy, options.seed)


def report(
    paths: PathLike | Sequence[PathLike], options: ReportOptions | None = None, **changes: Any
) -> Report:
    """Reports rates, scores, intervals and coverage; (re)writes the report of a single run."""
    options, paths = _options(ReportOptions, options, changes), _listed(paths)
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


def compare(
    paths: PathLike | Sequence[PathLike], options: CompareOptions | None = None, **changes: Any
) -> ComparisonReport:
    """Compares models on the same prompts, the baseline first: differences, intervals, tests."""
    options = _options(CompareOptions, options, changes)
    sources, read = read_sources(_listed(paths), options)
    comparison = comparing.compare(sources, read.taxonomy, common=options.common, seed=options.seed)
    found = ComparisonReport(comparison, read.taxonomy, options.lang, options.changes)
    return _written(found, options)


def trend(
    paths: PathLike | Sequence[PathLike], options: TrendOptions | None = None, **changes: Any
) -> TrendReport:
    """Shows checkpoints in a row: the values of each, and between which of them they changed."""
    options = _options(TrendOptions, options, changes)
    sources, read = read_sources(_listed(paths), options)
    made = trending.trend(sources, read.taxonomy, by_date=options.by_date, seed=options.seed)
    return _written(TrendReport(made, read.taxonomy, options.lang), options)


def certify(
    paths: PathLike | Sequence[PathLike], options: CertifyOptions | None = None, **changes: Any
) -> CertificateReport:
    """Puts what people's labels say of a run, and of its scorer, on one page for an auditor.

    Of a single run the page is kept in its folder.
    """
    options, paths = _options(CertifyOptions, options, changes), _listed(paths)
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


def gate(path: PathLike, options: GateOptions | None = None, **changes: Any) -> GateOutcome:
    """Checks a run or file of verdicts against rules; writes JUnit XML and a summary if asked."""
    options, file = _options(GateOptions, options, changes).with_file()
    files = [path] if options.against is None else [path, options.against]
    (sources, *base), read = read_each(files, options)
    taxonomy = read.taxonomy
    checked = gating.check(
        sources,
        options.limits(taxonomy, file),
        base[0] if base else (),
        taxonomy,
        common=options.common,
        seed=options.seed,
    )
    rules = [GateRule.of(each, taxonomy, options.lang) for each in checked]
    if options.junit is not None:
        write_atomic(options.junit, to_junit(rules, options.lang))
    if options.summary is not None:
        append_summary(options.summary, to_summary(rules, options.lang))
    return GateOutcome(rules, options.lang, None if file is None else file.path)


def _written(found: Document, options: DocumentOptions) -> Document:
    """Returns a document, written into the file that the options name, if they name one."""
    if options.format is None or options.out is None:
        return found
    text = found.render(options.format)  # type: ignore[arg-type]
    return replace(found, written=[write_atomic(options.out, text)])


def _listed(paths: PathLike | Sequence[PathLike]) -> Sequence[PathLike]:
    return [paths] if isinstance(paths, str | os.PathLike) else paths


def _options(kind: type[Options], given: Options | None, changes: dict[str, Any]) -> Options:
    return kind(**changes) if given is None else replace(given, **changes)  # type: ignore[type-var]
