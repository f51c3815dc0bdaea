"""Asking and scoring as functions: `run` and `score`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeAlias, get_args

from flames.analysis.inputs import (
    measure_sources,
)
from flames.analysis.loading import load_sources
from flames.collect.ask import Watch, collect
from flames.collect.batch import asked_model, asking_by
from flames.collect.plan import make_plan
from flames.collect.settings import AskSettings, BatchOptions
from flames.errors import UsageError
from flames.options import changed, check_choice, default_language
from flames.reports.report import write_reports
from flames.reports.run_outcome import RunOutcome
from flames.scorers.base import Scorer, Truncated
from flames.scorers.labels import PREFIX, labels_path
from flames.scorers.options import ScoreOptions, load_with
from flames.scorers.ray_pool import Recipe, ray_pool
from flames.scorers.scoring import (
    Line,
    Progress,
    ScorerPool,
    count_responses,
    is_unreached,
    score_file,
    score_file_to,
    score_run,
)
from flames.storage.record_files import ReadOptions
from flames.storage.run_dir import is_run, open_run
from flames.storage.shards import ResponseFiles, Shards, is_file, opened_files
from flames.storage.text_files import stem_of
from flames.taxonomy import Language, Taxonomy, load_taxonomy

PathLike: TypeAlias = str | os.PathLike[str]


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
    batches = batches or BatchOptions()
    model = asked_model(model, batches, planned.get("options"))
    plan = make_plan(model, prompts, **planned)
    loaded = load_with(scorer, scorer_options, plan.taxonomy)
    asked = collect(
        plan,
        out,
        resume=resume,
        accept_changes=accept_changes,
        settings=settings,
        watch=watch,
        asking_by=asking_by(plan, batches),
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
    options = changed(ScoreOptions, options, changes)
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
        # a folder without a run or shards is told first
        with nullcontext() if "://" in target else opened_files(target):
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
