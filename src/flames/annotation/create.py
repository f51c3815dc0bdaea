"""Makes a project: reads its sources, draws its items, adds its people."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from importlib import resources
from itertools import chain, islice
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from sqlalchemy import insert

from flames.annotation.access import new_link
from flames.annotation.choosing import choose_responses, doubts, judge_all
from flames.annotation.database import items
from flames.annotation.database import settings as settings_table
from flames.annotation.events import NewEvent, append_events, start_chain, utc_now
from flames.annotation.ledger import Item, items_digest
from flames.annotation.options import ProjectPlan
from flames.annotation.people import add_person
from flames.annotation.project import (
    Project,
    ProjectSettings,
    SourceFile,
    closed_on_failure,
    prepare_database,
)
from flames.errors import InputError, UsageError
from flames.prompts.sets import known_prompts
from flames.records import Key, Response, Verdict, response_of, turns_in
from flames.scorers.labels import BUNDLED, PREFIX, labels_path
from flames.storage.checksums import file_sha256
from flames.storage.record_files import ReadOptions, read_responses, read_verdicts
from flames.storage.run_dir import is_run, open_run
from flames.taxonomy import Language, Taxonomy, Text
from flames.thinking import split_thinking

_AT_ONCE = 1000  # rows on their way to the database
_Item = TypeVar("_Item")


class Created(NamedTuple):
    """A new project, each person's link token, and the number of controls in the sample."""

    project: Project
    links: dict[str, str]
    repeated_controls: int


def create_project(
    path: Path, plan: ProjectPlan, *, clock: Callable[[], datetime] = utc_now
) -> Created:
    """Makes a project: all of it, or nothing that a second attempt would stumble over."""
    taxonomy = plan.options.taxonomy
    options = replace(plan.options, prompts=plan.options.prompts or known_prompts(taxonomy))
    responses, sources = population(plan.sources, options)

    def stratum(response: Response) -> str:
        return stratum_of(response, plan.stratify)

    if plan.choose == "random":
        drawn = draw(responses, stratum, plan.sample, plan.seed)
    else:
        drawn = _chosen(plan, responses, stratum, options)
    used = {each.item.key for each in drawn}
    given = list(known_items(plan.controls, options))
    controls = {known.response.key: known for known in given if known.response.key not in used}
    dimensions = {each.item.dimension for each in drawn}
    training = training_items(plan.training, options, plan.lang)
    kept = [known for known in training if known.response.dimension in dimensions]
    refs = [secrets.token_hex(6) for _ in chain(drawn, controls, kept)]

    def rows() -> Iterator[dict[str, Any]]:
        """Yields the rows, made anew each time: all at once would double the memory."""
        work = (_drawn_row(each, plan.per_item) for each in drawn)
        control = (_known_row("control", known) for known in controls.values())
        made = chain(work, control, (_known_row("training", known) for known in kept))
        for number, (ref, row) in enumerate(zip(refs, made, strict=True), start=1):
            yield row | {"id": number, "ref": ref}

    database = prepare_database(path, plan.database, plan.public_url)
    project = Project(path, database, clock)
    same = ("seed", "per_item", "sample", "stratify", "lease_minutes", "min_seconds",
            "pass_training", "pass_controls", "lang")  # fmt: skip
    project.settings = ProjectSettings(
        **{name: getattr(plan, name) for name in same},
        name=plan.name or path.resolve().name,
        created=project.now(),
        control_rate=plan.control_rate if controls else 0.0,
        choose=None if plan.choose == "random" else plan.choose,
        chosen_by=", ".join(plan.scorers) or None,
        taxonomy=taxonomy,
        sources=tuple(sources),
        population=len(responses),
        without_text=sum(source.without_text for source in sources),
        items_sha256=items_digest(rows()),
    )
    with closed_on_failure(database):
        links = _store(project, rows(), plan)
        database.count_rows()
    return Created(project, links, len(given) - len(controls))


def _chosen(
    plan: ProjectPlan,
    responses: Sequence[Response],
    stratum: Callable[[Response], str],
    options: ReadOptions,
) -> list[Drawn[Response]]:
    """Draws by the doubts of scorers; each item carries the chance that it had."""
    judged = judge_all(responses, plan.scorers, options)
    weights = doubts(plan.choose, responses, judged)

    def shares(sizes: Sequence[int]) -> list[int]:
        return allocate(sizes, plan.sample or sum(sizes))

    chosen = choose_responses(responses, weights, stratum, shares, plan.seed)
    return [Drawn(c.response, c.stratum, c.drawn, c.size, c.probability) for c in chosen]


def stratum_of(response: Response, fields: Sequence[str]) -> str:
    """Returns the name of a response's stratum by some of its fields."""
    values = ((name, getattr(response, name)) for name in fields)
    return ", ".join(f"{n}={'none' if value is None else value}" for n, value in values)


def item_row(kind: str, response: Response, **values: Any) -> dict[str, Any]:
    """Returns the row of a new item."""
    return dict.fromkeys(Item._fields) | {
        "kind": kind,
        "dimension": response.dimension,
        "subcomponent": response.subcomponent,
        "response": json.dumps(response.to_dict(), sort_keys=True),
        "taken": 0,
        "added": 0,
        **values,
    }


def _drawn_row(each: Drawn[Response], quota: int) -> dict[str, Any]:
    return item_row("work", each.item, quota=quota, stratum=each.stratum,
                    stratum_drawn=each.drawn, stratum_size=each.size,
                    probability=each.probability)  # fmt: skip


def _known_row(kind: str, known: Known) -> dict[str, Any]:
    text = known.explanation
    explanation = None if text is None else text.model_dump_json()
    return item_row(kind, known.response, gold=known.score, explanation=explanation)


def _store(project: Project, rows: Iterator[dict[str, Any]], plan: ProjectPlan) -> dict[str, str]:
    settings = project.settings
    value = settings.model_dump_json(by_alias=True)
    data = settings.model_dump(mode="json", exclude={"taxonomy"})
    data["taxonomy_sha256"] = taxonomy_digest(settings.taxonomy)
    with project.database.write() as connection:
        start_chain(connection)
        connection.execute(insert(settings_table).values(name="project", value=value))
        while part := list(islice(rows, _AT_ONCE)):
            connection.execute(insert(items), part)
        append_events(connection, [NewEvent("project", data=data)], project.now())
        return {
            name: new_link(connection, project, add_person(connection, project, name, role))
            for name, role in plan.people
        }


def taxonomy_digest(taxonomy: Taxonomy) -> str:
    """Returns a checksum of a taxonomy's content."""
    text = json.dumps(taxonomy.model_dump(mode="json", by_alias=True), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def population(
    paths: Sequence[str | Path], options: ReadOptions
) -> tuple[list[Response], list[SourceFile]]:
    """Returns the responses with something to judge, sorted by key, and their sources."""
    found: dict[Key, tuple[Response, Path]] = {}
    sources: list[SourceFile] = []
    for name in map(str, paths):
        path = labels_path(name) if name.startswith(PREFIX) else Path(name)
        run = open_run(path) if path.is_dir() or is_run(path) else None
        counts = {"responses": 0, "without_text": 0}
        for response in run.responses() if run else read_responses(path, options):
            counts["responses"] += 1
            where = f"prompt {response.prompt_id}, model {response.model!r}"
            known_prompt = bool(response.prompt and response.prompt.strip())
            if not response.scorable or (not known_prompt and name in BUNDLED):
                counts["without_text"] += 1  # the bundled labels cover sets that were not fetched
                continue
            if response.dimension is None:
                raise InputError(f"{where}: no dimension; annotators need its rubric", path=path)
            if not known_prompt:
                message = "the prompt's text is not known; add it in a field `prompt`"
                raise InputError(f"{where}: {message}", path=path)
            first, first_path = found.setdefault(response.key, (response, path))
            if first is not response:
                message = f"{where}, sample {response.sample} is also in {first_path}; "
                raise InputError(message + "a response can be drawn only once", path=path)
        sha256 = file_sha256(run.responses_path if run else path)
        sources.append(SourceFile(name=name, sha256=sha256, **counts))
    if not found:
        others = " and neither do the others" if paths[1:] else ""
        raise InputError(f"contains no response with text to judge{others}", path=str(paths[0]))
    return [found[key][0] for key in sorted(found)], sources


class Drawn(NamedTuple, Generic[_Item]):
    """An item that was drawn, with its chance: `drawn` of `size` in its stratum."""

    item: _Item
    stratum: str
    drawn: int
    size: int
    probability: float | None = None


def allocate(sizes: Sequence[int], total: int) -> list[int]:
    """Returns how many to draw from each stratum: equally many, a stratum never beyond its size.

    Overall values are unweighted means over dimensions, so equal allocation serves them better
    than a proportional one. The remainder goes one by one to the largest strata with items left.
    """
    if total > sum(sizes):
        raise UsageError(f"a sample of {total} cannot be drawn from {sum(sizes)} responses")
    if total < len(sizes):
        raise UsageError(
            f"a sample of {total} leaves strata empty: there are {len(sizes)}; "
            "draw more or stratify by fewer fields"
        )
    # All first items, then all second ones, and so on; of each round the largest strata first.
    rounds = ((h, size, turn) for h, size in enumerate(sizes) for turn in range(min(size, total)))
    turns = sorted((turn, -size, h) for h, size, turn in rounds)
    shares = Counter(h for _, _, h in turns[:total])
    return [shares[h] for h in range(len(sizes))]


def draw(
    items: Sequence[_Item], stratum: Callable[[_Item], str], sample: int | None, seed: int
) -> list[Drawn[_Item]]:
    """Draws items at random within strata, without replacement, in random order over all of them.

    The order of `items` matters, so pass them sorted. All are drawn if `sample` is None.
    """
    strata: dict[str, list[_Item]] = {}
    for item in items:
        strata.setdefault(stratum(item), []).append(item)
    names = sorted(strata)
    sizes = [len(strata[name]) for name in names]
    shares = sizes if sample is None else allocate(sizes, sample)
    rng = np.random.default_rng(seed)
    drawn: list[Drawn[_Item]] = []
    for name, size, share in zip(names, sizes, shares, strict=True):
        chosen = rng.permutation(size)[:share]
        drawn += [Drawn(strata[name][index], name, share, size) for index in chosen]
    return [drawn[index] for index in rng.permutation(len(drawn))]


class Known(NamedTuple):
    """An item with a known answer: the score is always on the dimension's scale."""

    response: Response
    score: int
    explanation: Text | None = None


def known_items(paths: Sequence[str | Path], options: ReadOptions) -> Iterator[Known]:
    """Yields items with known answers from labels whose lines carry prompt and response."""
    for path in map(Path, paths):
        for verdict in read_verdicts(path, options):
            text, prompt = verdict.extra.get("response"), verdict.extra.get("prompt")
            answer = split_thinking(text).answer if isinstance(text, str) else ""
            where = f"prompt {verdict.prompt_id}, model {verdict.model!r}"
            if verdict.score is None:
                raise InputError(f"{where}: an item with a known answer needs its score", path=path)
            if not (answer.strip() and isinstance(prompt, str)):
                raise InputError(f"{where}: needs `prompt` and `response`", path=path)
            before: dict[str, Any] = {
                "system": verdict.extra.get("system"),
                "history": turns_in(verdict),
            }
            response = response_of(verdict, prompt=prompt, response=answer, **before)
            yield Known(response, verdict.score, _explanation(verdict, path))


def _explanation(verdict: Verdict, path: Path) -> Text | None:
    """Reads a text, or one in Chinese and one in English; else takes the rationale."""
    value = verdict.extra.get("explanation") or verdict.rationale
    if value is None:
        return None
    if isinstance(value, str):
        return Text(zh=value, en=value)
    if isinstance(value, dict) and set(value) == {"zh", "en"}:
        return Text(zh=str(value["zh"]), en=str(value["en"]))
    message = 'must be text, or {"zh": "…", "en": "…"}'
    raise InputError(message, path=path, field="explanation")


def training_items(
    paths: Sequence[str | Path] | None, options: ReadOptions, lang: Language
) -> list[Known]:
    """Returns the training round: files of known answers, else the taxonomy's bundled ones."""
    if paths is not None:
        return list(known_items([path for path in paths if path != "none"], options))
    if options.taxonomy.name == "flames":
        bundled = resources.files("flames.annotation").joinpath("data/training.jsonl")
        with resources.as_file(bundled) as path:
            reading = ReadOptions(taxonomy=options.taxonomy, model="example")
            return list(known_items([path], reading))
    return [
        Known(
            Response(
                prompt_id=f"{dimension.name}-{number}", model="example", dimension=dimension.name,
                prompt=example.prompt(lang), response=example.response(lang),
            ),
            example.score,
        )
        for dimension in options.taxonomy.dimensions
        for number, example in enumerate(dimension.examples)
    ]  # fmt: skip
