"""Adds items to a project that is under way.

Responses of files that nothing was drawn from yet are a population of their own. More from the same
files tops the first draw up: of n₁ and then n₂ of N in a stratum each had the chance (n₁ + n₂)/N,
and exports say so from then on.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, insert, select

from flames.annotation.create import draw, item_row, population, stratum_of
from flames.annotation.database import events, items, people
from flames.annotation.events import NewEvent, append_events
from flames.annotation.lead_options import AddOptions
from flames.annotation.ledger import Item, items_digest, read_items
from flames.annotation.people import fill_queue, get_lead, lock_person, read_person
from flames.annotation.project import Project, SourceFile
from flames.annotation.rules import lock_rules
from flames.errors import InputError, UsageError
from flames.prompts.sets import known_prompts
from flames.records import Frozen, Response


class Added(Frozen):
    """How many items were added, of how many responses; `repeated` ones were items already."""

    items: int
    population: int
    repeated: int
    without_text: int
    topped_up: bool


class _Frame(NamedTuple):
    """Files that were drawn from together: by which strata, and under which names."""

    files: frozenset[str]
    stratify: tuple[str, ...]
    prefix: str
    even: bool


def add_items(project: Project, plan: AddOptions) -> Added:
    """Draws further items, which come last in everybody's queue."""
    taxonomy = project.taxonomy
    options = replace(plan.options, taxonomy=taxonomy)
    options = replace(options, prompts=options.prompts or known_prompts(taxonomy))
    responses, sources = population(plan.sources, options)
    _check_dimensions(project, responses)
    with project.database.write() as connection:
        by = get_lead(connection, plan.person)
        lock_rules(connection)  # one addition at a time
        mine = select(people).where(people.c.role == "annotator", people.c.active == 1)
        annotators = [read_person(row) for row in connection.execute(mine.order_by(people.c.id))]
        for person in annotators:
            lock_person(connection, person.id)
        found = read_items(connection)
        frames = list(_frames(connection, project))
        frame, topped_up = _frame(plan, frames, sources, project), False
        used = {item.response.key for item in found.values()}
        rest = [response for response in responses if response.key not in used]
        repeated = len(responses) - len(rest)
        if frame in frames:
            topped_up = True
        elif repeated:
            message = f"{repeated} responses of it are items already, of files that were others"
            raise InputError(f"{message}; give new responses alone", path=plan.sources[0])
        if not rest:
            raise UsageError(f"all {len(responses)} responses are items already")
        rows = list(_rows(plan, project, frame, responses, rest, found))
        first = connection.execute(select(func.max(items.c.id))).scalar_one() + 1
        for number, row in enumerate(rows, start=first):
            row |= {"id": number, "ref": secrets.token_hex(6)}
        data = {
            "first": first, "last": first + len(rows) - 1, "items_sha256": items_digest(rows),
            "sources": [source.model_dump() for source in sources],
            "stratify": list(frame.stratify), "prefix": frame.prefix, "seed": plan.seed,
            "population": 0 if topped_up else len(responses),
            "without_text": 0 if topped_up else sum(each.without_text for each in sources),
        }  # fmt: skip
        seq = _next(connection)
        connection.execute(insert(items), [row | {"added": seq} for row in rows])
        queues = {str(p.id): fill_queue(connection, project, p)["queue"] for p in annotators}
        event = NewEvent("added", by.id, None, {**data, "queues": queues})
        append_events(connection, [event], project.now())
    return Added(
        items=len(rows), population=len(responses), repeated=repeated, topped_up=topped_up,
        without_text=sum(each.without_text for each in sources),
    )  # fmt: skip


def _next(connection: Connection) -> int:
    """Returns the number of the next event, which nobody else can take before the commit."""
    return append_events(connection, [], "")


def _check_dimensions(project: Project, responses: Sequence[Response]) -> None:
    known = set(project.taxonomy.names)
    for response in responses:
        if response.dimension not in known:
            message = f"prompt {response.prompt_id}: this project has no {response.dimension!r}"
            raise InputError(message, field="dimension")


def _frames(connection: Connection, project: Project) -> Iterator[_Frame]:
    told = project.settings
    files = frozenset(source.sha256 for source in told.sources)
    even = told.choose is None
    yield _Frame(files, told.stratify, "", even)
    query = select(events.c.data).where(events.c.kind == "added").order_by(events.c.seq)
    seen = {files}
    for text in connection.scalars(query):
        data = json.loads(text)
        files = frozenset(source["sha256"] for source in data["sources"])
        if files not in seen:
            seen.add(files)
            yield _Frame(files, tuple(data["stratify"]), data["prefix"], True)


def _frame(
    plan: AddOptions, frames: Sequence[_Frame], sources: Sequence[SourceFile], project: Project
) -> _Frame:
    """Returns the frame of these files: one that was drawn from, or a new one."""
    files = frozenset(source.sha256 for source in sources)
    for frame in frames:
        if files == frame.files:
            if not frame.even:
                message = "was drawn from with uneven chances, which more items would change"
                raise InputError(f"{message}; add items of other files", path=plan.sources[0])
            if plan.stratify is not None and plan.stratify != frame.stratify:
                fields = ",".join(frame.stratify)
                raise UsageError(f"these files were drawn from by --stratify {fields}; leave it")
            return frame
        if files & frame.files:
            message = "was drawn from together with other files; give exactly the same ones"
            raise InputError(message, path=plan.sources[0])
    named = ", ".join(source.name for source in sources)
    stratify = plan.stratify if plan.stratify is not None else project.settings.stratify
    return _Frame(files, stratify, f"{len(frames)} {named}: ", True)


def _rows(
    plan: AddOptions, project: Project, frame: _Frame, responses: Sequence[Response],
    rest: Sequence[Response], found: dict[int, Item],
) -> Iterator[dict[str, Any]]:  # fmt: skip
    def stratum(response: Response) -> str:
        return frame.prefix + stratum_of(response, frame.stratify)

    sizes = Counter(map(stratum, responses))
    before = Counter(item.stratum for item in found.values() if item.kind == "work")
    drawn = draw(rest, stratum, plan.sample, plan.seed)
    shares = {each.stratum: each.drawn for each in drawn}
    quota = plan.per_item or project.settings.per_item
    for each in drawn:
        name = each.stratum
        yield item_row(
            "work", each.item, quota=quota, stratum=name, stratum_size=sizes[name],
            stratum_drawn=before[name] + shares[name],
        )  # fmt: skip
