"""A source from a run directory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from flames.errors import InputError, UsageError
from flames.io import ReadOptions, read_verdicts
from flames.records import SCORABLE, Key, Prompt, Response, Verdict, not_asked, verdict_for
from flames.run import RunDir
from flames.scorers.registry import notes_of
from flames.sources._source import Source, matches


def from_run(run: RunDir, scorer: str | None, options: ReadOptions) -> Source:
    """The run's prompts with one scorer's verdicts, those that are missing filled in."""
    files: dict[str, Path | None] = {**run.verdict_files()}
    if scorer is not None:
        files = {name: file for name, file in files.items() if matches(name, scorer)}
    responses = {response.key: response for response in run.responses()}
    if not files and scorer is not None and not responses:
        files = {scorer: None}  # nothing was answered, so there is nothing to judge
    if not files:
        what = "no verdicts yet" if scorer is None else f"no verdicts of the scorer {scorer!r}"
        raise UsageError(f"{run.path}: {what}; flames score {run.path} gives them")
    if len(files) > 1:
        there = ", ".join(sorted(files))
        raise UsageError(f"{run.path}: verdicts of several scorers; choose with --scorer: {there}")
    [(scorer_id, file)] = files.items()
    options = replace(options, model=run.model, mapping={}, encoding=None, anonymous=False)
    given = {verdict.key: verdict for verdict in read_verdicts(file, options)} if file else {}
    prompts = run.prompts()
    verdicts = []
    for prompt in prompts.values():
        for sample in range(run.samples):
            key = Key(prompt.id, run.model, sample)
            verdict = given.pop(key, None)
            response = responses.get(key)
            if verdict is None or _outdated(verdict, response):
                verdict = _missing(prompt, key, response, scorer_id)
            verdicts.append(verdict)
    if given:
        key = next(iter(given))
        raise InputError(
            f"verdict on prompt {key.prompt_id!r}, model {key.model!r}, sample {key.sample}, "
            "which this run does not ask",
            path=file,
        )
    return Source(
        model=run.model,
        scorer=scorer_id,
        prompt_set=run.prompt_set,
        prompts=prompts,
        verdicts=tuple(verdicts),
        responses=responses,
        notes=notes_of(verdicts, scorer_id),
        origin=run.path,
        samples=run.samples,
    )


def _outdated(verdict: Verdict, response: Response | None) -> bool:
    """Whether a verdict is of an earlier failure to answer, and the response came later."""
    failed = verdict.score is None and verdict.status not in SCORABLE
    return failed and response is not None and response.status != verdict.status


def _missing(prompt: Prompt, key: Key, response: Response | None, scorer: str) -> Verdict:
    if response is None:
        return not_asked(prompt, key, scorer)
    reason = "not scored" if response.scorable else response.status
    return verdict_for(response, scorer=scorer, dimension=prompt.dimension, unscored=reason)
