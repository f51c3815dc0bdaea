"""What is measured: verdicts of files and runs, and the options that choose and read them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from flames.analysis.loading import load_labels, load_sources, mappings_of, taxonomy_of
from flames.analysis.source import display_names, fill_unasked, reworded_notes
from flames.errors import InputError, UsageError
from flames.metrics.choices import CHOICE_SCORER, measure_choices
from flames.metrics.columns import Columns
from flames.metrics.correction import Correction, correct
from flames.metrics.correction_labels import LabelUse, usable_labels
from flames.metrics.rates import RESAMPLES, measure
from flames.metrics.refusals import measure_refusals
from flames.metrics.result import Blocked, Note, Result
from flames.metrics.robustness import measure_robustness
from flames.metrics.source import Source
from flames.options import Opt, SeedOptions
from flames.prompts.sets import load_prompts
from flames.records import Prompt, Verdict
from flames.scorers.base import Truncated
from flames.storage.record_files import FileOptions, ReadOptions, RecordOptions
from flames.taxonomy import Taxonomy


@dataclass(frozen=True)
class VerdictOptions(FileOptions):
    """Which verdicts of a file or run are used."""

    scorer: Annotated[str | None, Opt("Use only the verdicts of this scorer.", metavar="S")] = None
    truncated: Annotated[
        Truncated,
        Opt("Whether truncated responses keep their scores (and a flag) or count as unscored."),
    ] = "scored"


@dataclass(frozen=True)
class SourceOptions(VerdictOptions, RecordOptions):
    """Which verdicts of a file or run are used, and what was to be asked."""

    prompts: Annotated[
        str | None,
        Opt("Prompt set; its prompts without a verdict count as not asked.", metavar="SET|PATH"),
    ] = None


@dataclass(frozen=True)
class MeasureOptions(SourceOptions, SeedOptions):
    """Which verdicts are measured, and the seed of the resampling."""


def read_each(
    paths: Sequence[str | os.PathLike[str]], options: VerdictOptions, *, beside: Path | None = None
) -> tuple[list[list[Source]], ReadOptions]:
    """Reads the sources of each path; also returns how files (or `beside`) are read.

    Each file, `beside` included, uses only those parts of the column mapping that fit its columns.
    """
    read = replace(options.read_options(), taxonomy=taxonomy_of(paths, options.taxonomy))
    files = [*paths, *([] if beside is None else [str(beside)])]
    mappings = mappings_of(files, read)
    found = [
        load_sources(
            path,
            scorer=options.scorer,
            options=replace(read, mapping=mapping),
            truncated=options.truncated,
        )
        for path, mapping in zip(paths, mappings, strict=False)
    ]
    return found, read if beside is None else replace(read, mapping=mappings[-1])


def read_sources(
    paths: Sequence[str | os.PathLike[str]], options: VerdictOptions, *, beside: Path | None = None
) -> tuple[list[Source], ReadOptions]:
    """Reads sources like `read_each`, in one list, completed to the chosen prompt set."""
    found, read = read_each(paths, options, beside=beside)
    sources = list(chain.from_iterable(found))
    if isinstance(options, SourceOptions) and options.prompts is not None:
        whole = load_prompts(options.prompts, taxonomy=read.taxonomy)
        sources = [fill_unasked(source, whole) for source in sources]
    return sources, read


def measure_sources(
    sources: Sequence[Source], taxonomy: Taxonomy, seed: int = 0, blocked: Blocked = "apart"
) -> list[Result]:
    """Measures sources side by side: each gets a name of its own, and notes on its neighbours.

    Where the prompt set says what it expects, refusals are measured too; a stance that no scorer
    gave comes from the rules.
    """
    results = []
    names, notes = display_names(sources, beside_scorers=True), reworded_notes(sources)
    for source, name, more in zip(sources, names, notes, strict=True):
        result = measure(source, taxonomy, seed=seed)
        own: dict[str, Any] = {"notes": result.notes + more, "name": None}
        if name != source.model:
            own["name"] = name
        robustness = measure_robustness(source, taxonomy, seed=seed, resamples=RESAMPLES)
        if robustness is not None:
            own["notes"] += (Note("variants", n=len(source.variants)),)
        own["robustness"] = robustness
        own["refusals"] = measure_refusals(_with_stances(source), taxonomy, blocked)
        if source.scorer.startswith(CHOICE_SCORER):
            own["choices"] = measure_choices(_with_classes(source))
        results.append(result.model_copy(update=own))
    return results


def _with_classes(source: Source) -> Iterator[tuple[Verdict, str | None]]:
    """Yields the verdicts with the classes of their questions, where the responses tell."""
    for verdict in source.verdicts:
        response = source.response_to(verdict)
        named = None if response is None else response.extra.get("source_class")
        yield verdict, named if isinstance(named, str) else None


def _with_stances(source: Source) -> Iterator[Verdict]:
    """Yields the verdicts of which something is expected."""
    columns = Columns.of(source.verdicts)
    if set(columns.texts("expected")) <= {None}:
        return
    from flames.scorers.stance import with_stance  # many rules to compile

    for verdict in source.verdicts:
        if verdict.expected is not None:
            response = source.responses.get(verdict.key)
            yield verdict if response is None else with_stance(response, verdict)


def correct_sources(
    sources: Sequence[Source],
    path: Path,
    read: ReadOptions,
    *,
    random_sample: bool = False,
    **how: Any,
) -> list[Correction]:
    """Corrects sources with a file of human labels, of which some have to be of use."""
    labels = people_labels(sources, path, read, random_sample=random_sample)
    try:
        check_use(sources, labels, path, random_sample=random_sample)
        return [
            correct(source, labels, read.taxonomy, random_sample=random_sample, **how)
            for source in sources
        ]
    except InputError as error:
        raise error.at(path, None) from None


def check_use(
    sources: Sequence[Source], labels: Sequence[Verdict], path: Path, *, random_sample: bool
) -> None:
    """Refuses labels of which none can be used on any of the sources, and says why."""
    uses: dict[str, LabelUse] = {}
    for source in sources:
        use = usable_labels(source, labels, random_sample)[1]
        if use.used:
            return
        uses.setdefault(source.model, use)
    found = Counter[str]()
    for use in uses.values():
        found.update(changed=use.changed, unscored=use.unscored, unjudged=use.unjudged)
    other = len(labels) - found.total()
    reasons = {
        "on other responses (labels join by prompt_id, model and sample)": other,
        "with another response text (or prompt) than the verdicts": found["changed"],
        "without a score": found["unscored"],
        "on responses that the scorer did not score": found["unjudged"],
    }
    why = "; ".join(f"{n:,} {reason}" for reason, n in reasons.items() if n)
    models = ", ".join(map(repr, uses))
    raise UsageError(f"{path}: no label can be used for {models}; there are: {why}")


def people_labels(
    sources: Sequence[Source], path: Path, read: ReadOptions, *, random_sample: bool
) -> list[Verdict]:
    """Reads people's labels of sources; what a label leaves out is taken from the verdicts."""
    models = {source.model for source in sources}
    if read.model is None and len(models) == 1:
        read = replace(read, model=models.pop())
    known = {
        v.prompt_id: Prompt.model_construct(id=v.prompt_id, dimension=v.dimension, text="")
        for source in sources
        for v in source.verdicts
    }
    return load_labels(path, options=replace(read, prompts=known), random_sample=random_sample)
