"""Making a project: drawing its items, adding its people."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert

from flames.annotation import _events
from flames.annotation._events import Entry
from flames.annotation._material import known_items, population, stratum, training_items
from flames.annotation._project import (
    Project,
    Settings,
    closed_on_failure,
    prepare_database,
)
from flames.annotation._schema import items
from flames.annotation._schema import settings as settings_table
from flames.annotation.people import Role, add_person, new_link
from flames.annotation.sampling import Drawn, draw
from flames.errors import UsageError
from flames.io import ReadOptions
from flames.prompts import known_prompts
from flames.records import Response, Verdict
from flames.taxonomy import Language, Taxonomy, Text

STRATA = ("dimension", "subcomponent", "technique", "model", "sample", "status")


@dataclass(frozen=True)
class Plan:
    """What a project is to be.

    Args:
        sources: Runs, files of responses, or `labels:silver` (the bundled simulated responses, as
            far as their prompts are known).
        name: What the project is called; its folder's name unless given.
        database: URL of a PostgreSQL (or other SQLite) database; a file in the folder if None.
        public_url: How people reach the server; later personal links begin with it.
        per_item: Labels each item gets.
        sample: Items to draw; all responses that hold text if None.
        stratify: Fields that make the strata: dimension, subcomponent, technique, model, sample,
            status.
        seed: Of the draw and of everybody's order.
        training: Files of items with known answers for the training round; the bundled ones if
            None, no training if empty.
        controls: Files of items with known answers that are mixed into everybody's queue.
        control_rate: Share of controls in a queue, at most 0.5.
        lease_minutes: How long an item stays with somebody who does not answer.
        lang: Language of pages for people who did not choose one.
        annotators: Names.
        adjudicators: Names.
        leads: Names.
        options: How files are read; its taxonomy is what labels are judged by.
    """

    sources: Sequence[str | Path]
    name: str | None = None
    database: str | None = None
    public_url: str | None = None
    per_item: int = 2
    sample: int | None = None
    stratify: tuple[str, ...] = ("dimension",)
    seed: int = 0
    training: Sequence[Path] | None = None
    controls: Sequence[Path] = ()
    control_rate: float = 0.1
    lease_minutes: float = 30
    lang: Language = "zh"
    annotators: Sequence[str] = ()
    adjudicators: Sequence[str] = ()
    leads: Sequence[str] = ("lead",)
    options: ReadOptions = field(default_factory=ReadOptions)


@dataclass(frozen=True)
class Created:
    """A new project.

    Args:
        project: The project, open.
        links: Name and token of everybody's personal link. They are told this once.
        repeated_controls: Controls left out because the same response is among the items already.
    """

    project: Project
    links: dict[str, str]
    repeated_controls: int


def create_project(
    path: Path, plan: Plan, *, clock: Callable[[], datetime] = _events.now
) -> Created:
    """Makes a project: all of it, or nothing that a second attempt would stumble over.

    Raises:
        InputError: A source cannot be used.
        UsageError: The plan cannot be carried out, or there is a project already.
        OutsideError: The database cannot be reached.
    """
    _check(plan)
    taxonomy = plan.options.taxonomy
    known = plan.options.prompts or known_prompts(taxonomy)
    options = replace(plan.options, prompts=known)
    responses, sources = population(plan.sources, options)
    drawn = draw(responses, stratum(plan.stratify), plan.sample, plan.seed)
    work = [_work_row(each, plan.per_item) for each in drawn]
    used = {each.item.key for each in drawn}
    dimensions = {each.item.dimension for each in drawn}
    answers = list(known_items(plan.controls, options))
    controls = list({known[1].key: known for known in answers if known[1].key not in used}.values())
    training = [
        row
        for row in training_items(plan.training, options, plan.lang)
        if row[1].dimension in dimensions
    ]
    rows = [*work, *(_known_row("control", *each) for each in controls)]
    rows += [_known_row("training", *each) for each in training]
    for number, row in enumerate(rows, start=1):
        row |= {"id": number, "ref": secrets.token_hex(6), "taken": 0}

    database = prepare_database(path, plan.database, plan.public_url)
    project = Project(path, database, clock)
    project.settings = Settings(
        name=plan.name or path.resolve().name,
        created=_events.stamp(clock()),
        seed=plan.seed,
        per_item=plan.per_item,
        sample=plan.sample,
        stratify=plan.stratify,
        control_rate=plan.control_rate if controls else 0.0,
        lease_minutes=plan.lease_minutes,
        lang=plan.lang,
        taxonomy=taxonomy,
        sources=tuple(sources),
        population=len(responses),
        without_text=sum(source.without_text for source in sources),
        items_sha256=items_digest(rows),
    )
    with closed_on_failure(database), database.write() as connection:
        _events.start(connection)
        _write(connection, project, rows)
        links = {
            name: new_link(connection, project, add_person(connection, project, name, role))
            for name, role in _cast(plan)
        }
    return Created(project, links, len(answers) - len(controls))


def _check(plan: Plan) -> None:
    if not plan.sources:
        raise UsageError("needs runs or files of responses: --from RUN|FILE")
    if plan.per_item < 1:
        raise UsageError("--per-item takes at least 1")
    if not 0 <= plan.control_rate <= 0.5:
        raise UsageError("--control-rate takes a share from 0 to 0.5")
    if not 0 < plan.lease_minutes <= 60 * 24 * 30:
        raise UsageError("--lease-minutes takes a time of more than 0 minutes, 30 days at most")
    unknown = [name for name in plan.stratify if name not in STRATA]
    if unknown:
        raise UsageError(f"--stratify takes {', '.join(STRATA)}, not {unknown[0]!r}")
    if not plan.leads:
        raise UsageError("a project needs a lead")


def _cast(plan: Plan) -> Iterator[tuple[str, Role]]:
    for name in plan.leads:
        yield name, "lead"
    for name in plan.adjudicators:
        yield name, "adjudicator"
    for name in plan.annotators:
        yield name, "annotator"


def _work_row(drawn: Drawn[Response], quota: int) -> dict[str, Any]:
    return _row("work", drawn.item) | {
        "quota": quota,
        "stratum": drawn.stratum,
        "stratum_drawn": drawn.drawn,
        "stratum_size": drawn.size,
    }


def _known_row(
    kind: str, verdict: Verdict, response: Response, explanation: Text | None
) -> dict[str, Any]:
    return _row(kind, response) | {
        "gold": verdict.score,
        "explanation": None if explanation is None else explanation.model_dump_json(),
    }


def _row(kind: str, response: Response) -> dict[str, Any]:
    return {
        "kind": kind,
        "dimension": response.dimension,
        "subcomponent": response.subcomponent,
        "response": json.dumps(response.to_dict(), sort_keys=True),
        "gold": None,
        "explanation": None,
        "stratum": None,
        "stratum_drawn": None,
        "stratum_size": None,
        "quota": None,
    }


_FIXED = (
    "id ref kind dimension subcomponent response gold explanation stratum stratum_drawn "
    "stratum_size quota"
).split()


def items_digest(rows: Sequence[Any]) -> str:
    """Checksum of the items, all that never changes in them; rows in the order of their ids."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps([row[name] for name in _FIXED]).encode() + b"\n")
    return digest.hexdigest()


def _write(connection: Connection, project: Project, rows: list[dict[str, Any]]) -> None:
    settings = project.settings
    connection.execute(
        insert(settings_table).values(name="project", value=settings.model_dump_json(by_alias=True))
    )
    connection.execute(insert(items), rows)
    data = settings.model_dump(mode="json", exclude={"taxonomy"})
    data["taxonomy_sha256"] = taxonomy_digest(settings.taxonomy)
    _events.append(connection, [Entry("project", data=data)], project.clock())


def taxonomy_digest(taxonomy: Taxonomy) -> str:
    """Checksum of a taxonomy's content."""
    text = json.dumps(taxonomy.model_dump(mode="json", by_alias=True), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
