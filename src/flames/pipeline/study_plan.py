"""What a study asks and scores: its file turned into runs, scorers and one budget."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from flames.collect.limits import Budget, CostEstimate, estimate_cost
from flames.collect.plan import Plan, make_plan
from flames.collect.settings import AskSettings
from flames.collect.together import HERE, place_of
from flames.errors import FlamesError, UsageError
from flames.models.base import Sampling
from flames.models.load import ModelOptions
from flames.options import LangOptions, Opt, listed, text_or_file
from flames.pipeline.study_file import StudyFile, StudyModel, StudyPrompts, read_study
from flames.prompts.known import KNOWN_SETS
from flames.prompts.sets import PromptSet, load_prompts
from flames.records import Key
from flames.scorers.base import Scorer
from flames.scorers.options import load_with
from flames.storage.run_dir import RunDir, is_run, open_run, safe_name
from flames.storage.run_start import prompts_gone
from flames.taxonomy import Taxonomy, load_taxonomy

RUNS = "runs"
_SAMPLING = {
    "temperature": "temperature",
    "max_tokens": "max_tokens",
    "sampling_seed": "seed",
    "extra_body": "extra",
}


@dataclass(frozen=True, kw_only=True)
class StudyOptions(LangOptions):
    """Which study is run, and where."""

    file: Annotated[Path, Opt("The study: a file in TOML.", metavar="STUDY.toml", positional=True)]
    out: Annotated[
        Path | None, Opt("Folder of the study; studies/NAME unless given.", metavar="DIR")
    ] = None
    dry_run: Annotated[bool, Opt("Show what would be asked and scored, and stop.")] = False
    accept_changes: Annotated[
        bool, Opt("Continue runs even with settings that change their answers; each tells them.")
    ] = False


@dataclass(frozen=True)
class StudyRun:
    """One run of a study: a model on a prompt set."""

    plan: Plan
    settings: AskSettings
    folder: Path
    place: str
    budgets: tuple[Budget, ...]

    @property
    def model(self) -> str:
        """The name that the responses are recorded under."""
        return self.plan.model.name

    @property
    def planned(self) -> int:
        """Number of responses of the complete run."""
        return len(self.plan.prompts.prompts) * self.plan.samples

    @cached_property
    def there(self) -> RunDir | None:
        """The run as it is, before it is gone on with."""
        return open_run(self.folder) if is_run(self.folder) else None


@dataclass(frozen=True)
class Outlook:
    """What one run still needs."""

    run: StudyRun
    there: int
    estimate: CostEstimate
    to_score: Mapping[str, int]


@dataclass(frozen=True)
class StudyPlan:
    """A whole study, ready to be run; `judging` counts the requests of its scorers."""

    name: str
    file: Path
    folder: Path
    study: StudyFile
    runs: tuple[StudyRun, ...]
    scorers: tuple[Scorer, ...]
    budget: Budget
    judging: Budget
    taxonomy: Taxonomy
    accept_changes: bool = False

    @property
    def lanes(self) -> dict[str, list[StudyRun]]:
        """The runs of each model."""
        lanes: dict[str, list[StudyRun]] = {}
        for run in self.runs:
            lanes.setdefault(run.model, []).append(run)
        return lanes

    def outlook(self) -> list[Outlook]:
        """Returns for each run what is there and what it still needs."""
        return [_outlook(run, self.scorers) for run in self.runs]


def _outlook(run: StudyRun, scorers: Iterable[Scorer]) -> Outlook:
    there, known = run.there, run.there.settled() if run.there else set()
    prompts = [
        prompt
        for sample in range(run.plan.samples)
        for prompt in run.plan.prompts.prompts
        if Key(prompt.id, there.model if there else run.model, sample) not in known
    ]
    sampling = run.plan.sampling.over(run.plan.model.defaults)
    asked = (run.plan.messages(prompt) for prompt in prompts)
    estimate = estimate_cost(asked, run.settings.prices, max_tokens=sampling.max_tokens)
    files = there.verdict_files() if there else {}
    scored = {name: path.read_bytes().count(b"\n") for name, path in files.items()}
    to_score = {s.info.id: max(0, run.planned - scored.get(s.info.id, 0)) for s in scorers}
    return Outlook(run, run.planned - len(prompts), estimate, to_score)


def plan_study(options: StudyOptions, **reach: Any) -> StudyPlan:
    """Reads a study and loads its models, prompt sets and scorers; nothing is asked or written.

    `reach` are fields of the models' `ModelOptions`, like `say`.
    """
    path = options.file
    study = read_study(path)
    name = study.name or path.stem
    folder = options.out or Path("studies") / safe_name(name)
    taxonomy = load_taxonomy(study.taxonomy and _beside(path, study.taxonomy))
    budget = Budget(study.budget.max_requests, study.budget.max_cost, "study's budget")
    sets = _distinct(
        path, "prompt sets", [_prompts(path, p, study, taxonomy) for p in study.prompts]
    )
    runs: list[StudyRun] = []
    for entry in study.models:
        try:
            runs += _runs(path, entry, study, sets, folder, budget, reach)
        except UsageError as error:
            raise UsageError(f"{path}: model {entry.model}: {error}") from None
    _check_names(path, "models", [run.model for run in runs[:: len(sets)]])
    judging = Budget()
    scorers = _scorers(study, (budget, judging), taxonomy, path)
    _check_currency(path, budget, runs)
    return StudyPlan(
        name=name,
        file=path,
        folder=folder,
        study=study,
        runs=tuple(runs),
        scorers=scorers,
        budget=budget,
        judging=judging,
        taxonomy=taxonomy,
        accept_changes=options.accept_changes,
    )


def _prompts(path: Path, entry: StudyPrompts, study: StudyFile, taxonomy: Taxonomy) -> PromptSet:
    given = entry.set if entry.set in KNOWN_SETS else _beside(path, entry.set)
    found = load_prompts(
        given,
        taxonomy=taxonomy,
        mapping=entry.map,
        encoding=entry.encoding,
        sheet=entry.sheet,
        limit=entry.limit,
        seed=study.seed,
    )
    return found if entry.name is None else replace(found, name=entry.name, version=None)


def _distinct(path: Path, what: str, sets: list[PromptSet]) -> list[PromptSet]:
    _check_names(path, what, [each.name for each in sets])
    return sets


def _check_names(path: Path, what: str, names: list[str]) -> None:
    known: dict[str, str] = {}
    for name in names:
        folder = safe_name(name).casefold()
        if folder in known:
            other = known[folder]
            both = f"are called {name}" if other == name else f"{other} and {name} share a folder"
            raise UsageError(f"{path}: two {what} {both}; give one of them a `name`")
        known[folder] = name


def _check_currency(path: Path, budget: Budget, runs: Iterable[StudyRun]) -> None:
    prices = [run.settings.prices for run in runs] + [meter.prices for meter in budget.meters]
    named = sorted({each.currency for each in prices if each and each.currency})
    if budget.max_cost is not None and len(named) > 1:
        raise UsageError(
            f"{path}: max_cost adds up costs, but the prices are in {listed(named, 'and')}: give "
            "all in one currency (price_in, price_out, currency)"
        )


def _runs(
    path: Path,
    entry: StudyModel,
    study: StudyFile,
    sets: list[PromptSet],
    folder: Path,
    budget: Budget,
    reach: Mapping[str, Any],
) -> list[StudyRun]:
    given = entry.over(study.defaults)
    system = given.get("system")
    if system is not None and system.startswith("@"):
        system = text_or_file("@" + _beside(path, system[1:]), "system")
    sampling = Sampling(**{_SAMPLING[n]: v for n, v in given.items() if n in _SAMPLING})
    options = ModelOptions(**_of(ModelOptions, given), **reach)
    first = make_plan(
        entry.model,
        sets[0],
        repeats=given.get("repeats", study.repeats),
        system=system,
        sampling=sampling,
        options=options,
        taxonomy=None if study.taxonomy is None else _beside(path, study.taxonomy),
    )
    model, at = first.model, place_of(first.model)
    settings = AskSettings(**_of(AskSettings, given)).under(getattr(model, "terms", {}))
    if budget.max_cost is not None and settings.prices is None and at != HERE:
        raise UsageError("the study's max_cost needs prices: give price_in and price_out")
    own = Budget(settings.max_requests, settings.max_cost, f"budget of {model.name}")
    settings = replace(settings, max_requests=None, max_cost=None)
    runs = []
    for prompts in sets:
        place = folder / RUNS / safe_name(model.name) / safe_name(prompts.name)
        plan = _grown(replace(first, prompts=prompts), place)
        runs.append(StudyRun(plan, settings, place, at, (own, budget)))
    return runs


def _grown(plan: Plan, folder: Path) -> Plan:
    """Returns the plan with no fewer repeats than its run has; refuses one with fewer prompts."""
    if not is_run(folder):
        return plan
    run = open_run(folder)
    if run.settled() and (gone := prompts_gone(run, plan.prompts.prompts)):
        raise UsageError(
            f"{folder}: {gone} of its prompts are not in the set {plan.prompts.name} now, or with "
            "another text; give the set another `name`"
        )
    return replace(plan, samples=max(plan.samples, run.samples))


def _of(options: type, given: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(options)}
    return {name: value for name, value in given.items() if name in names}


def _scorers(
    study: StudyFile, budgets: tuple[Budget, Budget], taxonomy: Taxonomy, path: Path
) -> tuple[Scorer, ...]:
    scorers: list[Scorer] = []
    budget = budgets[0]
    for entry in study.scorers:
        meters = len(budget.meters)
        given = None if study.taxonomy is None else taxonomy
        try:
            scorer = load_with(entry.scorer, entry.options, given, budgets=budgets)
        except FlamesError as error:
            raise UsageError(f"{path}: scorer {entry.scorer}: {error}") from None
        if any(scorer.info.id == other.info.id for other in scorers):
            raise UsageError(f"{path}: two scorers are {scorer.info.id}")
        unpriced = any(meter.prices is None for meter in budget.meters[meters:])
        if budget.max_cost is not None and unpriced:
            raise UsageError(
                f"{path}: scorer {entry.scorer}: the study's max_cost needs prices: give price_in "
                "and price_out among its options (0 where it costs nothing)"
            )
        scorers.append(scorer)
    return tuple(scorers)


def _beside(path: Path, given: str) -> str:
    """Returns a path as it stands beside the study's file, where there is one, else as given."""
    beside = path.parent / given
    return os.fspath(beside) if beside.exists() else given
