"""Sources from files of verdicts and from runs, and human labels."""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from flames.analysis.conditions import ConditionsSeen, conditions_of_run
from flames.analysis.gathering import EndingsSeen, Gathering, NotesSeen
from flames.analysis.source import scorer_matches
from flames.errors import InputError, UsageError
from flames.metrics.columns import StoredVerdicts
from flames.metrics.correction_labels import probability_of
from flames.metrics.source import Source, variants_of
from flames.metrics.whole_columns import whole_columns
from flames.prompts.sets import known_prompts
from flames.records import SCORABLE, Key, Prompt, Response, Verdict, unasked_verdict, verdict_for
from flames.scorers.base import Truncated
from flames.scorers.labels import PREFIX, label_file, labels_path, read_labels
from flames.storage.mapping import mapped_fields
from flames.storage.record_files import ReadOptions, read_verdicts
from flames.storage.run_dir import RunDir, is_run, open_run
from flames.storage.run_responses import Plan, RunResponses
from flames.taxonomy import Taxonomy, load_taxonomy


def load_sources(
    path: str | os.PathLike[str],
    *,
    scorer: str | None = None,
    options: ReadOptions | None = None,
    truncated: Truncated = "scored",
) -> list[Source]:
    """Loads a source per model and scorer.

    Args:
        path: A file in any format that Flames reads; a run directory; `labels:FILE` or
            `labels:silver`; `-` for standard input.
        scorer: Only this scorer's verdicts; needed for a run with several scorers.
    """
    options = options or ReadOptions()
    if not options.prompts:
        options = replace(options, prompts=known_prompts(options.taxonomy))
    name = os.fspath(path)
    if name.startswith(PREFIX):
        options = options if options.model else replace(options, model=name.removeprefix(PREFIX))
        path = labels_path(name)
    if Path(path).is_dir():
        sources = from_run(open_run(Path(path)), scorer, options, truncated)
    else:
        sources = list(_from_file(Path(path), options, truncated))
        there = ", ".join(dict.fromkeys(source.scorer for source in sources))
        if scorer is not None:
            sources = [source for source in sources if scorer_matches(source.scorer, scorer)]
        if not sources:
            raise UsageError(f"{path}: no verdicts of the scorer {scorer!r}; there are: {there}")
    return sources


def taxonomy_of(
    paths: Sequence[str | os.PathLike[str]], given: str | Path | None = None
) -> Taxonomy:
    """Returns the given taxonomy, else that of all runs among the paths, else the built-in one."""
    if given is not None:
        return load_taxonomy(given)
    found = {run.id: run for path in paths if is_run(path) for run in [open_run(path).taxonomy]}
    if len(found) > 1:
        raise UsageError(f"runs with different taxonomies: {', '.join(found)}; choose --taxonomy")
    return next(iter(found.values()), load_taxonomy())


def mappings_of(
    paths: Sequence[str | os.PathLike[str]], options: ReadOptions
) -> list[dict[str, str]]:
    """Returns for each file the part of the column mapping (our field → column) that it has.

    What no file has stays, so that reading reports it; standard input cannot be read twice.
    """
    mapping = options.mapping
    if not mapping or len(paths) < 2:
        return [dict(mapping) for _ in paths]
    own = [_mapped(os.fspath(path), options) for path in paths]
    nowhere = mapping.keys() - {field for part in own for field in part}
    return [{f: c for f, c in mapping.items() if f in part or f in nowhere} for part in own]


def _mapped(name: str, options: ReadOptions) -> Set[str]:
    path = labels_path(name)
    if name == "-":
        return options.mapping.keys()
    if path.is_dir():
        return set()
    rows = replace(options, mapping={}).rows(path)
    return mapped_fields((row.fields for row in rows), options.mapping)


def _kept(verdict: Verdict, truncated: Truncated) -> Verdict:
    if truncated == "scored" or verdict.status != "truncated" or verdict.score is None:
        return verdict
    return verdict.model_copy(update={"score": None, "unscored": "truncated"})


def _from_file(path: Path, options: ReadOptions, truncated: Truncated) -> Iterator[Source]:
    options = replace(options, anonymous=True)
    groups: dict[tuple[str, str, str | None], Gathering] = {}
    whole = whole_columns(path, options, lambda verdict: _kept(verdict, truncated))
    for key, columns in whole or ():
        groups[key] = Gathering.of_columns(columns, options.prompts)
    for verdict in () if whole is not None else read_verdicts(path, options):
        key = verdict.model, verdict.scorer, verdict.annotator
        group = groups.get(key)
        if group is None:
            group = groups[key] = Gathering(options.prompts)
        group.add(_kept(verdict, truncated))
    if not groups:
        raise InputError("holds no verdicts", path=path)
    annotators = Counter((model, scorer) for model, scorer, _ in groups)
    for (model, scorer, annotator), group in groups.items():
        if annotators[model, scorer] > 1 and annotator and not scorer.endswith(f":{annotator}"):
            scorer = f"{scorer}:{annotator}"
        yield group.source(scorer, path, options.taxonomy)


def from_run(
    run: RunDir, scorer: str | None, options: ReadOptions, truncated: Truncated = "scored"
) -> list[Source]:
    """Returns a run's prompts with the verdicts of each scorer; missing ones are filled in."""
    files: dict[str, Path | None] = {**run.verdict_files()}
    if scorer is not None:
        files = {name: file for name, file in files.items() if scorer_matches(name, scorer)}
    seen, endings = ConditionsSeen(), EndingsSeen()

    def look(response: Response) -> None:
        seen.add(response)
        endings.add(response)

    plan = run.plan()
    responses = run.stored_responses(plan, look)
    if not files and scorer is not None and not responses:
        files = {scorer: None}  # nothing was answered, so there is nothing to judge
    if not files:
        what = "no verdicts yet" if scorer is None else f"no verdicts of the scorer {scorer!r}"
        raise UsageError(f"{run.path}: {what}; flames score {run.path} gives them")
    conditions, variants = conditions_of_run(run, seen), variants_of(plan.prompts.values())
    options = replace(options, model=run.model, mapping={}, encoding=None, anonymous=False)
    sources = []
    for scorer_id, file in files.items():
        noted = NotesSeen()
        given = read_verdicts(file, options) if file else ()
        verdicts = _completed(plan, responses, scorer_id, _noted(noted, given, truncated), file)
        sources.append(
            Source(
                model=run.model,
                scorer=scorer_id,
                prompt_set=run.prompt_set,
                prompts=plan.prompts,
                verdicts=verdicts,
                responses=responses,
                notes=(*noted.notes(scorer_id, len(plan.prompts)), *endings.notes()),
                origin=run.path,
                samples=run.samples,
                conditions=conditions,
                variants=variants,
            )
        )
    return sources


def _noted(
    noted: NotesSeen, verdicts: Iterable[Verdict], truncated: Truncated
) -> Iterator[Verdict]:
    for verdict in verdicts:
        noted.add(verdict)
        yield _kept(verdict, truncated)


def _completed(
    plan: Plan,
    responses: RunResponses,
    scorer: str,
    given: Iterable[Verdict],
    file: Path | None,
) -> StoredVerdicts:
    verdicts, rows = StoredVerdicts(), array("q", [-1]) * len(plan)
    for verdict in given:
        position = plan.position(verdict.key)
        if position is None:
            raise InputError(
                f"verdict on prompt {verdict.prompt_id!r}, model {verdict.model!r}, sample "
                f"{verdict.sample}, which this run does not ask",
                path=file,
            )
        if not _outdated(verdict, responses):
            rows[position] = len(verdicts)
            verdicts.append(verdict)
    for key in plan if -1 in rows else ():
        position = plan.position(key)
        assert position is not None
        if rows[position] < 0:
            rows[position] = len(verdicts)
            missing = _missing(plan.prompts[key.prompt_id], key, responses.get(key), scorer)
            verdicts.append(missing)
    return verdicts.taken(np.asarray(rows))


def _outdated(verdict: Verdict, responses: Mapping[Key, Response]) -> bool:
    if verdict.score is not None or verdict.status in SCORABLE:
        return False
    response = responses.get(verdict.key)
    return response is not None and response.status != verdict.status


def _missing(prompt: Prompt, key: Key, response: Response | None, scorer: str) -> Verdict:
    if response is None:
        return unasked_verdict(prompt, key, scorer)
    reason = "not scored" if response.scorable else response.status
    return verdict_for(response, scorer=scorer, dimension=prompt.dimension, unscored=reason)


def load_labels(
    path: str | os.PathLike[str], *, options: ReadOptions | None = None, random_sample: bool = False
) -> list[Verdict]:
    """Reads people's labels; those of a random sample need no `inclusion_probability`."""
    options = options or ReadOptions()
    if not options.prompts:
        options = replace(options, prompts=known_prompts(options.taxonomy))
    path = label_file(os.fspath(path))
    labels = list(read_labels(path, options))
    if not labels:
        raise InputError("holds no labels", path=path)
    for number, label in enumerate(labels):
        try:
            if not random_sample:
                probability_of(label)
        except InputError as error:
            again = os.fspath(path) != "-"
            line = next(islice(options.rows(path), number, None)).line if again else None
            raise error.at(path, line) from None
    return labels
