"""Runs a study: asks all models, scores every run with every scorer, reports once.

DIR/
  study.json  report.{html,md,json}
  runs/<model>/<prompt set>/    an ordinary run directory
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from flames.analysis.beside import beside_of
from flames.analysis.inputs import measure_sources
from flames.analysis.loading import load_sources
from flames.collect.ask import Asked, Asking, AskState, count_response, prepare
from flames.collect.limits import Meter, Prices
from flames.collect.together import Lane, Paces, ask_together
from flames.errors import OutsideError, UsageError, notify
from flames.metrics.result import Result
from flames.metrics.source import Source
from flames.models.base import messages_of
from flames.pipeline.study_plan import RUNS, StudyOptions, StudyPlan, plan_study
from flames.records import Frozen
from flames.reports.documents import Report
from flames.scorers.scoring import is_unreached, score_run
from flames.storage.atomic import locked, write_atomic
from flames.storage.journal import Journal, read_journal, read_lines
from flames.storage.record_files import ReadOptions
from flames.storage.run_dir import RunDir, is_run, open_run
from flames.storage.text_files import read_json_file
from flames.taxonomy import Language
from flames.turns import Conversation

STATE = "study.json"
"""The file that makes a folder a study."""

JUDGING = "judging.log"
"""The file with a dot for each request of a scorer, written before it is sent."""


class KnownRun(Frozen, extra="allow"):
    """A run that a study has or once had; its prices are those of a million tokens."""

    path: str
    model: str
    prompts: str
    price_in: float | None = None
    price_out: float | None = None


class StudyState(Frozen, extra="allow"):
    """The state of a study: the runs that it ever had, and its scorers."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    name: str
    scorers: tuple[str, ...] = ()
    runs: tuple[KnownRun, ...] = ()


@dataclass
class Row:
    """How far one model is; `doing` says what is done for it now."""

    model: str
    planned: int
    done: int = 0
    failed: int = 0
    cost: float | None = None
    currency: str | None = None
    doing: str = ""
    _states: dict[Path, AskState] = field(default_factory=dict)

    def update(self, path: Path, state: AskState) -> None:
        """Takes over the state of one of its runs."""
        self._states[path] = state
        self.currency = state.currency
        states = self._states.values()
        self.done = sum(each.done for each in states)
        self.failed = sum(each.counts.get("error", 0) for each in states)
        costs = [each.cost for each in states if each.cost is not None]
        self.cost = sum(costs) if costs else None


Progress = Callable[[Row], None]
Watch = Callable[[Sequence[Row]], AbstractContextManager[Progress]]
"""Called once the runs are open; what it yields is called with each row that changed."""


@dataclass(frozen=True)
class StudyOutcome:
    """What a study did; `problems` says what kept a model or a scorer from being complete."""

    folder: Path
    asked: list[Asked]
    sources: list[Source]
    results: list[Result]
    reports: list[Path]
    problems: dict[str, str]
    left_out: list[str]

    def check(self) -> None:
        """Raises what kept the study from being complete; the same command tries again."""
        if self.problems:
            what = "; ".join(f"{name}: {why}" for name, why in self.problems.items())
            raise OutsideError(f"{what}; the same command goes on")


def study(
    file: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    accept_changes: bool = False,
    lang: Language | None = None,
    watch: Watch | None = None,
) -> StudyOutcome:
    """Runs a study from its file: models × prompt sets × scorers, one budget, one report.

    What is there already is neither asked nor scored again, so that an amended file costs only
    what is new. One model or scorer that fails stops no other; the outcome's `check()` raises it.

    Args:
        file: The study, a file in TOML.
        out: Its folder; `studies/NAME` unless given.
        accept_changes: Go on with runs whose settings changed in a way that changes answers.
        lang: Language of the report; the locale's by default.
        watch: Told how far it is.
    """
    given: dict[str, Any] = {} if lang is None else {"lang": lang}
    options = StudyOptions(
        file=Path(file),
        out=None if out is None else Path(out),
        accept_changes=accept_changes,
        **given,
    )
    return run_study(plan_study(options), options.lang, watch)


def run_study(plan: StudyPlan, lang: Language, watch: Watch | None = None) -> StudyOutcome:
    """Asks, scores and reports what a planned study lacks."""
    watch = watch or (lambda rows: nullcontext(lambda row: None))
    _make(plan.folder)
    with locked(plan.folder):
        state = read_state(plan)
        _write_state(plan, state)
        if left := left_out(plan, state):
            notify(left_out_line(plan, left), plan.folder)
        runs = {
            each.folder: prepare(
                each.plan, each.folder, resume=True, accept_changes=plan.accept_changes, grow=True
            )
            for each in plan.runs
        }
        _count_spent(plan, state)
        rows = {
            name: Row(name, sum(run.planned for run in lane)) for name, lane in plan.lanes.items()
        }
        with watch(list(rows.values())) as progress:
            asked, problems = _ask(plan, runs, rows, progress)
            with closing(Journal[None, None](plan.folder / JUDGING)) as log:
                plan.judging.sent = lambda: log.write(b".")
                problems |= _score(plan, runs, rows, progress)
        for name, lane in plan.lanes.items():
            own = [each for each in asked if each.run.path in {run.folder for run in lane}]
            if errors := sum(each.state.counts.get("error", 0) for each in own):
                planned = sum(each.state.planned for each in own)
                problems.setdefault(name, f"{errors} of {planned} responses ended in an error")
        sources = _sources(plan, runs)
        results = _named(plan, measure_sources(sources, plan.taxonomy, plan.study.seed))
        reports = _report(plan, sources, results, lang)
    return StudyOutcome(plan.folder, asked, sources, results, reports, problems, left)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = sorted(each.name for each in folder.iterdir() if not each.name.startswith("."))
    except OSError as error:
        raise UsageError(f"{folder}: cannot be used for a study: {error.strerror}") from None
    foreign = [each for each in names if each not in (RUNS, JUDGING) and each[:7] != "report."]
    if foreign and STATE not in names:
        what = f"is no study and not empty ({foreign[0]})"
        raise UsageError(f"{folder}: {what}; choose another --out")


def read_state(plan: StudyPlan) -> StudyState:
    """Returns which runs and scorers the study has now, beside those that it once had."""
    path = plan.folder / STATE
    old = read_json_file(StudyState, path, "state of a study") if path.exists() else None
    known = {run.path: run for run in (old.runs if old else ())}
    for run in plan.runs:
        place = run.folder.relative_to(plan.folder).as_posix()
        known[place] = KnownRun(
            path=place,
            model=run.model,
            prompts=run.plan.prompts.name,
            price_in=run.settings.price_in,
            price_out=run.settings.price_out,
        )
    ids = (*(old.scorers if old else ()), *(scorer.info.id for scorer in plan.scorers))
    return StudyState(name=plan.name, scorers=tuple(dict.fromkeys(ids)), runs=tuple(known.values()))


def _write_state(plan: StudyPlan, state: StudyState) -> None:
    data = state.model_dump(by_alias=True, exclude_none=True)
    write_atomic(plan.folder / STATE, json.dumps(data, ensure_ascii=False, indent=1) + "\n")


def left_out(plan: StudyPlan, state: StudyState) -> list[str]:
    """Lists the runs and scorers that the file no longer names; they stay on disk."""
    now = {run.folder.relative_to(plan.folder).as_posix() for run in plan.runs}
    gone = [run.path for run in state.runs if run.path not in now]
    ids = {scorer.info.id for scorer in plan.scorers}
    scorers = [f"scorer {name}" for name in state.scorers if name not in ids]
    return [path for path in gone if is_run(plan.folder / path)] + scorers


def left_out_line(plan: StudyPlan, left: Sequence[str]) -> str:
    """Says what is left out."""
    return f"not in {plan.file.name} now, so kept but not in the report: {', '.join(left)}"


def _count_spent(plan: StudyPlan, state: StudyState) -> None:
    """Counts for the budget what runs that left the study took, and what judges took before."""
    budget = plan.budget
    if budget.max_requests is None and budget.max_cost is None:
        return
    now = {run.folder for run in plan.runs}
    judged, cost = 0, 0.0
    for known in state.runs:
        folder = plan.folder / known.path
        if not is_run(folder):
            continue
        run = open_run(folder)
        for spent in _judged(run):
            judged += int(spent.get("requests") or 0)
            cost += float(spent.get("cost") or 0.0)
        if folder not in now:
            meter = _meter_of(run, known)
            budget.requests += max(meter.requests, _size(folder / "requests.log"))
            budget.cost += meter.cost or 0.0
    asked = max(judged, _size(plan.folder / JUDGING))
    budget.requests += asked
    # what no verdict tells of (a kill, a failed judge) costs what the others did
    budget.cost += cost * asked / judged if judged else 0.0


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _judged(run: RunDir) -> Iterator[Mapping[str, Any]]:
    for path in sorted((run.path / "verdicts").glob("*.jsonl*")):
        for line in read_lines(path):
            spent = (line.fields or {}).get("judging")
            if isinstance(spent, Mapping):
                yield spent


def _meter_of(run: RunDir, known: KnownRun) -> Meter:
    priced = known.price_in is not None and known.price_out is not None
    meter = Meter(Prices(known.price_in or 0, known.price_out or 0) if priced else None)
    prompts, system = run.prompts(), run.manifest.system_prompt
    for _, response in read_journal(run.responses_path):
        prompt = prompts.get(response.prompt_id)
        asked = prompt.asked if prompt else Conversation(None)
        count_response(meter, response, messages_of(asked, system))
    return meter


def _ask(
    plan: StudyPlan, runs: Mapping[Path, RunDir], rows: Mapping[str, Row], progress: Progress
) -> tuple[list[Asked], dict[str, str]]:
    paces = Paces((run.place, run.plan.model, run.settings) for run in plan.runs)
    lanes = {name: Lane(name, those[0].place) for name, those in plan.lanes.items()}

    def told(lane: Lane, asking: Asking, state: AskState) -> None:
        row = rows[lane.name]
        row.update(asking.run.path, state)
        row.doing = f"asking {asking.plan.prompts.full_name}"
        if state.waiting_s >= 2:
            row.doing += f" · asked to slow down: waiting {state.waiting_s:.0f} s"
        progress(row)

    with ExitStack() as stack:
        for run in plan.runs:
            share = {"pace": paces.share(run.place), "budgets": run.budgets}
            asking = Asking(run.plan, runs[run.folder], run.settings, **share)
            lanes[run.model].runs.append(stack.enter_context(asking))
            rows[run.model].update(asking.run.path, asking.state)
            progress(rows[run.model])
        ask_together(list(lanes.values()), told)
        for lane in lanes.values():
            rows[lane.name].doing = "stopped" if lane.stopped else "asked"
            progress(rows[lane.name])
        asked = [
            Asked(asking.run, asking.state, lane.stopped)
            for lane in lanes.values()
            for asking in lane.runs
        ]
    return asked, {lane.name: str(lane.stopped) for lane in lanes.values() if lane.stopped}


def _score(
    plan: StudyPlan, runs: Mapping[Path, RunDir], rows: Mapping[str, Row], progress: Progress
) -> dict[str, str]:
    problems: dict[str, str] = {}
    for scorer in plan.scorers:
        name, lost = scorer.info.id, 0
        for planned in plan.runs:
            run, row, scored = runs[planned.folder], rows[planned.model], 0
            if next(iter(run.responses()), None) is None:
                continue

            def told(line: Mapping[str, Any], row: Row = row) -> None:
                nonlocal lost, scored
                lost, scored = lost + is_unreached(line), scored + 1
                row.doing = f"scoring by {name}: {scored}"  # noqa: B023  (called in this turn)
                progress(row)

            try:
                score_run(run, scorer, truncated=plan.study.truncated, progress=told)
            except OutsideError as error:
                problems[name] = str(error)
                break
        if lost:
            unreached = f"could not reach what it asks for {lost:,} responses"
            problems.setdefault(name, unreached)
    for row in rows.values():
        row.doing = "done" if row.doing.startswith("scoring") else row.doing
        progress(row)
    return problems


def _sources(plan: StudyPlan, runs: Mapping[Path, RunDir]) -> list[Source]:
    sources: list[Source] = []
    for planned in plan.runs:
        run = runs[planned.folder]
        there, empty = run.verdict_files(), next(iter(run.responses()), None) is None
        for scorer in plan.scorers:
            if empty or scorer.info.id in there:
                sources += load_sources(
                    run.path,
                    scorer=scorer.info.id,
                    options=ReadOptions(taxonomy=plan.taxonomy),
                    truncated=plan.study.truncated,
                )
    return sources


def _named(plan: StudyPlan, results: list[Result]) -> list[Result]:
    """Names results by model and prompt set, where there are several sets."""
    if len(plan.study.prompts) == 1:
        return results
    names = [f"{result.model} · {result.prompt_set.full_name}" for result in results]
    pairs = zip(results, names, strict=True)
    return [result.model_copy(update={"name": name}) for result, name in pairs]


def _report(
    plan: StudyPlan, sources: list[Source], results: list[Result], lang: Language
) -> list[Path]:
    if not results:
        return []
    beside = beside_of(sources, results, [], plan.taxonomy, plan.study.seed)
    found = Report(results, sources, plan.taxonomy, lang, beside=beside)
    return [
        write_atomic(plan.folder / f"report.{form}", found.render(form))
        for form in ("html", "md", "json")
    ]
