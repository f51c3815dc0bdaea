"""One model under one scorer, from a file of verdicts or a run: what everything else computes on.

A file with several models or scorers gives one source each; nothing is ever pooled.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from flames.errors import InputError, UsageError
from flames.io import ReadOptions, read_rows, read_verdicts
from flames.metrics.ppi import probability_of
from flames.metrics.result import PromptSetInfo
from flames.prompts import identify, known_prompts
from flames.records import SCORABLE, Key, Prompt, Response, Verdict, verdict_for
from flames.scorers.labels import PREFIX, labels_path
from flames.scorers.registry import notes_of
from flames.taxonomy import Taxonomy, load_taxonomy

if TYPE_CHECKING:
    from flames.run import RunDir

Truncated = Literal["scored", "unscored"]

LINE_ID = re.compile(r"line-\d+")
"""The ids that readers give to rows that have nothing to be known by."""

_OF_RESPONSE = (
    "prompt response finish_reason error reasoning usage latency_s attempts sampling created"
).split()


@dataclass(frozen=True)
class Source:
    """One model under one scorer.

    Args:
        model: Whose responses were judged.
        scorer: Who judged, `name@version`; `human:NAME` for a person.
        prompt_set: What was asked.
        prompts: The prompts whose text is known, by id.
        verdicts: One for every response that was to be had; those that were never asked or
            never scored are unscored with that reason.
        responses: What is known of the responses, by key.
        notes: What a reader of the numbers must know.
        origin: The file or run.
        samples: Responses a prompt.
    """

    model: str
    scorer: str
    prompt_set: PromptSetInfo
    prompts: Mapping[str, Prompt]
    verdicts: tuple[Verdict, ...]
    responses: Mapping[Key, Response]
    notes: tuple[str, ...]
    origin: Path
    samples: int = 1

    @property
    def label(self) -> str:
        """How this source is called beside others: model and scorer."""
        return f"{self.model} · {self.scorer}"

    @property
    def joinable(self) -> bool:
        """Whether the verdicts say what prompt they are on, not only their line in the file."""
        return not any(LINE_ID.fullmatch(verdict.prompt_id) for verdict in self.verdicts[:1])


def load_sources(
    path: str | os.PathLike[str],
    *,
    scorer: str | None = None,
    options: ReadOptions | None = None,
    truncated: Truncated = "scored",
) -> list[Source]:
    """Loads what a file of verdicts, a run or `labels:silver` holds.

    Args:
        path: A file in any format that Flames reads, the released scorer's output included; a
            run directory; `labels:FILE` or `labels:silver`; `-` for standard input.
        scorer: Take only this scorer's verdicts, by id or by its name without version; a run
            with verdicts of several scorers needs it.
        options: How a file is read.
        truncated: `unscored` takes the scores off truncated responses.

    Returns:
        One source for each model and scorer (and annotator), in order of appearance.

    Raises:
        InputError: The file cannot be read as verdicts, or holds none.
        UsageError: Several scorers and none chosen, or no such scorer.
    """
    options = options or ReadOptions()
    if not options.prompts:
        options = replace(options, prompts=known_prompts(options.taxonomy))
    name = os.fspath(path)
    if name.startswith(PREFIX):
        options = options if options.model else replace(options, model=name.removeprefix(PREFIX))
        path = labels_path(name)
    if Path(path).is_dir():
        from flames.run import open_run

        sources = [_from_run(open_run(Path(path)), scorer, options)]
    else:
        sources = _chosen(list(_from_file(Path(path), options)), scorer, path)
    if truncated == "unscored":
        sources = [replace(s, verdicts=tuple(map(_untruncated, s.verdicts))) for s in sources]
    return sources


def taxonomy_of(
    paths: Sequence[str | os.PathLike[str]], given: str | Path | None = None
) -> Taxonomy:
    """The taxonomy to read sources with.

    Args:
        paths: As for `load_sources`.
        given: A taxonomy file, which wins.

    Returns:
        The given one, or the one that all runs among the paths were asked with, or Flames' own.

    Raises:
        UsageError: The runs were asked with different ones.
    """
    from flames.run import is_run, open_run

    if given is not None:
        return load_taxonomy(given)
    found = {run.id: run for path in paths if is_run(path) for run in [open_run(path).taxonomy]}
    if len(found) > 1:
        raise UsageError(f"runs with different taxonomies: {', '.join(found)}; choose --taxonomy")
    return next(iter(found.values()), load_taxonomy())


def matches(scorer_id: str, wanted: str) -> bool:
    """Whether a scorer goes by that id, or by that name without its version."""
    return scorer_id == wanted or scorer_id.rpartition("@")[0] == wanted


def _chosen(
    sources: list[Source], scorer: str | None, path: str | os.PathLike[str]
) -> list[Source]:
    if scorer is None:
        return sources
    chosen = [source for source in sources if matches(source.scorer, scorer)]
    if not chosen:
        there = ", ".join(dict.fromkeys(source.scorer for source in sources))
        raise UsageError(f"{path}: no verdicts of the scorer {scorer!r}; there are: {there}")
    return chosen


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
    for (model, scorer, annotator), verdicts in groups.items():
        if annotators[model, scorer] > 1 and annotator and not scorer.endswith(f":{annotator}"):
            scorer = f"{scorer}:{annotator}"
        ids = list(dict.fromkeys(verdict.prompt_id for verdict in verdicts))
        prompt_set, more = _prompt_set(ids, path.stem, options.taxonomy)
        samples = max(Counter(verdict.prompt_id for verdict in verdicts).values())
        yield Source(
            model=model,
            scorer=scorer,
            prompt_set=prompt_set,
            prompts=dict(_prompts(verdicts, options.prompts)),
            verdicts=tuple(verdicts),
            responses={verdict.key: _response(verdict) for verdict in verdicts},
            notes=notes_of(verdicts, scorer) + more,
            origin=path,
            samples=samples,
        )


def _prompt_set(
    ids: list[str], stem: str, taxonomy: Taxonomy
) -> tuple[PromptSetInfo, tuple[str, ...]]:
    """What set these prompts are, and a note where they are only a part of it."""
    ids_sha256 = hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()
    known = identify(set(ids), taxonomy)
    if known is None:
        return (
            PromptSetInfo(
                name=stem, sha256=ids_sha256, n=len(ids), of="ids", ids_sha256=ids_sha256
            ),
            (),
        )
    whole = len(ids) == len(known.prompts)
    info = known.info.model_copy(
        update={
            "n": len(ids),
            "ids_sha256": ids_sha256,
            "limit": None if whole else len(ids),
        }
    )
    note = f"{len(ids):,} of the {len(known.prompts):,} prompts of {known.name}"
    return info, () if whole else (note,)


def _prompts(
    verdicts: Iterable[Verdict], known: Mapping[str, Prompt]
) -> Iterator[tuple[str, Prompt]]:
    for verdict in verdicts:
        text = verdict.extra.get("prompt")
        if verdict.prompt_id in known:
            yield verdict.prompt_id, known[verdict.prompt_id]
        elif isinstance(text, str) and text.strip():
            yield (
                verdict.prompt_id,
                Prompt.model_construct(  # shown, not asked: it may hold lone surrogates
                    id=verdict.prompt_id,
                    dimension=verdict.dimension,
                    subcomponent=verdict.subcomponent,
                    technique=verdict.technique,
                    text=text,
                ),
            )


def _response(verdict: Verdict) -> Response:
    """What a verdict's line carries along of the response."""
    fields = {name: verdict.extra[name] for name in _OF_RESPONSE if name in verdict.extra}
    return Response.model_construct(
        prompt_id=verdict.prompt_id,
        model=verdict.model,
        sample=verdict.sample,
        dimension=verdict.dimension,
        subcomponent=verdict.subcomponent,
        technique=verdict.technique,
        status=verdict.status or "ok",
        **fields,
    )


def _from_run(run: RunDir, scorer: str | None, options: ReadOptions) -> Source:
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
        blank = Response(
            prompt_id=prompt.id,
            model=key.model,
            sample=key.sample,
            subcomponent=prompt.subcomponent,
            technique=prompt.technique,
        )
        verdict = verdict_for(
            blank, scorer=scorer, dimension=prompt.dimension, unscored="not asked"
        )
        return verdict.model_copy(update={"status": None})
    reason = "not scored" if response.scorable else response.status
    return verdict_for(response, scorer=scorer, dimension=prompt.dimension, unscored=reason)


def load_labels(
    path: str | os.PathLike[str],
    *,
    options: ReadOptions | None = None,
    random_sample: bool = False,
) -> list[Verdict]:
    """Reads people's labels for `flames.metrics.ppi.correct`.

    Args:
        path: A file of verdicts in any format that Flames reads, or `labels:silver`.
        options: How it is read.
        random_sample: Labels need no `inclusion_probability`.

    Raises:
        InputError: The file cannot be read as verdicts, holds none, or a label lacks its
            inclusion probability.
    """
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
            rows = read_rows(path, mapping=options.mapping, encoding=options.encoding)
            line = next(islice(rows, number, None)).line if os.fspath(path) != "-" else None
            raise error.at(path, line) from None
    return labels
