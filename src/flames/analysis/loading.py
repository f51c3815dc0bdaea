"""Sources from files of verdicts and from runs, and human labels."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from flames.analysis.conditions import conditions_of, conditions_of_run
from flames.analysis.source import reworded_ids, scorer_matches
from flames.errors import InputError, UsageError
from flames.metrics.correction_labels import probability_of
from flames.metrics.result import Note
from flames.metrics.source import CarriedResponses, Source
from flames.prompts.sets import PromptSet, identify, known_prompts
from flames.records import (
    IN_THOUGHT,
    SCORABLE,
    THOUGHT_ALOUD,
    UNKNOWN_ENDING,
    Key,
    Prompt,
    PromptSetInfo,
    Response,
    Verdict,
    ids_sha256,
    unasked_verdict,
    verdict_for,
)
from flames.scorers.labels import PREFIX, labels_path
from flames.scorers.registry import notes_of
from flames.scorers.scoring import Truncated
from flames.storage.mapping import mapped_fields
from flames.storage.record_files import ReadOptions, read_verdicts
from flames.storage.run_dir import RunDir, is_run, open_run
from flames.storage.text_files import stem_of
from flames.taxonomy import Taxonomy, load_taxonomy
from flames.text import shorten, texts_differ
from flames.thinking import split_thinking

_OF_PROMPT = ("id", "dimension", "subcomponent", "technique", "text")


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
        scorer: Only this scorer's verdicts.
    """
    options = options or ReadOptions()
    if not options.prompts:
        options = replace(options, prompts=known_prompts(options.taxonomy))
    name = os.fspath(path)
    if name.startswith(PREFIX):
        options = options if options.model else replace(options, model=name.removeprefix(PREFIX))
        path = labels_path(name)
    if Path(path).is_dir():
        sources = from_run(open_run(Path(path)), scorer, options)
    else:
        sources = list(_from_file(Path(path), options))
        there = ", ".join(dict.fromkeys(source.scorer for source in sources))
        if scorer is not None:
            sources = [source for source in sources if scorer_matches(source.scorer, scorer)]
        if not sources:
            raise UsageError(f"{path}: no verdicts of the scorer {scorer!r}; there are: {there}")
    if truncated == "unscored":
        sources = [replace(s, verdicts=tuple(map(_untruncated, s.verdicts))) for s in sources]
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


def _untruncated(verdict: Verdict) -> Verdict:
    if verdict.status != "truncated" or verdict.score is None:
        return verdict
    return verdict.model_copy(update={"score": None, "unscored": "truncated"})


def _from_file(path: Path, options: ReadOptions) -> Iterator[Source]:
    options = replace(options, anonymous=True)
    groups: dict[tuple[str, str, str | None], list[Verdict]] = defaultdict(list)
    for verdict in read_verdicts(path, options):
        groups[verdict.model, verdict.scorer, verdict.annotator].append(verdict)
    if not groups:
        raise InputError("holds no verdicts", path=path)
    annotators = Counter((model, scorer) for model, scorer, _ in groups)
    shared: dict[tuple[str | None, ...], Prompt] = {}
    known_set = cache(lambda ids: identify(ids, options.taxonomy))
    for (model, scorer, annotator), verdicts in groups.items():
        if annotators[model, scorer] > 1 and annotator and not scorer.endswith(f":{annotator}"):
            scorer = f"{scorer}:{annotator}"
        ids = list(dict.fromkeys(verdict.prompt_id for verdict in verdicts))
        prompts = dict(_prompts(verdicts, options.prompts, shared))
        prompt_set, part = _prompt_set(ids, prompts, stem_of(path), known_set(frozenset(ids)))
        samples = max(Counter(verdict.prompt_id for verdict in verdicts).values())
        yield Source(
            model=model,
            scorer=scorer,
            prompt_set=prompt_set,
            prompts=prompts,
            verdicts=tuple(verdicts),
            responses=CarriedResponses(verdicts),
            notes=(*notes_of(verdicts, scorer), *part, *_thinking(verdicts), *_endings(verdicts)),
            origin=path,
            samples=samples,
            conditions=conditions_of(verdicts),
        )


def _thinking(verdicts: Sequence[Verdict]) -> Iterator[Note]:
    apart = sum(verdict.extra.get(THOUGHT_ALOUD) is True for verdict in verdicts)
    if apart:
        yield Note("thinking", n=apart)
    scored = (verdict for verdict in verdicts if verdict.score is not None)
    texts = (str(verdict.extra.get("response") or "") for verdict in scored)
    if within := sum(split_thinking(text).answer != text for text in texts):
        yield Note("thinking_scored", n=within)


def _endings(records: Iterable[Response | Verdict]) -> Iterator[Note]:
    """Yields what is to be known about how responses ended."""
    in_thought = 0
    words: Counter[str] = Counter()
    for record in records:
        in_thought += record.status == IN_THOUGHT
        if record.extra.get(UNKNOWN_ENDING) is True:
            word = getattr(record, "finish_reason", None) or record.extra.get("finish_reason")
            words[shorten(word, 30) if isinstance(word, str) else ""] += 1
    if in_thought:
        yield Note("in_thought", n=in_thought)
    if none := words.pop("", 0):
        yield Note("no_ending", n=none)
    if words:
        named = ", ".join(f"{word} ({n})" for word, n in words.most_common(5))
        yield Note("unknown_ending", n=words.total(), words=named)


def _prompt_set(
    ids: list[str], prompts: Mapping[str, Prompt], stem: str, known: PromptSet | None
) -> tuple[PromptSetInfo, tuple[Note, ...]]:
    texts = {known: prompt.text for known, prompt in prompts.items()}
    digest = ids_sha256({own: texts.get(own) for own in ids})
    if known is None or reworded_ids(prompts, known.by_id):
        own = PromptSetInfo(name=stem, sha256=digest, n=len(ids), of="ids", ids_sha256=digest)
        return own, ()
    whole = len(ids) == len(known.prompts)
    update = {"n": len(ids), "ids_sha256": digest, "limit": None if whole else len(ids)}
    info = known.info.model_copy(update=update)
    note = Note("part_of_set", n=len(ids), total=len(known.prompts), name=known.name)
    return info, () if whole else (note,)


def _prompts(
    verdicts: Iterable[Verdict],
    known: Mapping[str, Prompt],
    shared: dict[tuple[str | None, ...], Prompt],
) -> Iterator[tuple[str, Prompt]]:
    for verdict in verdicts:
        text = verdict.extra.get("prompt")
        same = known.get(verdict.prompt_id)
        if same is not None and not texts_differ(text, same.text):
            yield verdict.prompt_id, same
        elif isinstance(text, str) and text.strip():
            of_prompt = ("prompt_id", "dimension", "subcomponent", "technique")
            own = (*(getattr(verdict, name) for name in of_prompt), text)
            if own not in shared:  # shown, not asked: it may hold lone surrogates
                fields: dict[str, Any] = dict(zip(_OF_PROMPT, own, strict=True))
                shared[own] = Prompt.model_construct(**fields)
            yield verdict.prompt_id, shared[own]


def from_run(run: RunDir, scorer: str | None, options: ReadOptions) -> list[Source]:
    """Returns a run's prompts with the verdicts of each scorer; missing ones are filled in."""
    files: dict[str, Path | None] = {**run.verdict_files()}
    if scorer is not None:
        files = {name: file for name, file in files.items() if scorer_matches(name, scorer)}
    responses = {response.key: response for response in run.responses()}
    if not files and scorer is not None and not responses:
        files = {scorer: None}  # nothing was answered, so there is nothing to judge
    if not files:
        what = "no verdicts yet" if scorer is None else f"no verdicts of the scorer {scorer!r}"
        raise UsageError(f"{run.path}: {what}; flames score {run.path} gives them")
    prompts, conditions = run.prompts(), conditions_of_run(run, responses.values())
    options = replace(options, model=run.model, mapping={}, encoding=None, anonymous=False)
    sources = []
    for scorer_id, file in files.items():
        verdicts = _completed(run, prompts, responses, scorer_id, file, options)
        sources.append(
            Source(
                model=run.model,
                scorer=scorer_id,
                prompt_set=run.prompt_set,
                prompts=prompts,
                verdicts=tuple(verdicts),
                responses=responses,
                notes=(*notes_of(verdicts, scorer_id), *_endings(responses.values())),
                origin=run.path,
                samples=run.samples,
                conditions=conditions,
            )
        )
    return sources


def _completed(
    run: RunDir,
    prompts: Mapping[str, Prompt],
    responses: Mapping[Key, Response],
    scorer_id: str,
    file: Path | None,
    options: ReadOptions,
) -> list[Verdict]:
    given = {verdict.key: verdict for verdict in read_verdicts(file, options)} if file else {}
    verdicts = []
    for prompt in prompts.values():
        for sample in range(run.samples):
            key = Key(prompt.id, run.model, sample)
            verdict, response = given.pop(key, None), responses.get(key)
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
    return verdicts


def _outdated(verdict: Verdict, response: Response | None) -> bool:
    failed = verdict.score is None and verdict.status not in SCORABLE
    return failed and response is not None and response.status != verdict.status


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
    path = labels_path(os.fspath(path))
    labels = list(read_verdicts(path, options))
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
