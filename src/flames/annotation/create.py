"""Making a project: drawing its items, adding its people.

What a project is made of: the responses to draw from, and items with known answers.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert

from flames.annotation import events as _events
from flames.annotation.events import NewEvent
from flames.annotation.options import ProjectPlan
from flames.annotation.people import add_person, new_link
from flames.annotation.project import (
    Project,
    ProjectSettings,
    SourceFile,
    closed_on_failure,
    prepare_database,
)
from flames.annotation.sampling import Drawn, draw
from flames.annotation.schema import items
from flames.annotation.schema import settings as settings_table
from flames.errors import InputError
from flames.prompts.sets import known_prompts
from flames.records import Key, Response, Verdict, response_of
from flames.scorers.labels import PREFIX, SILVER, labels_path
from flames.storage.checksums import file_sha256
from flames.storage.record_files import ReadOptions, read_responses, read_verdicts
from flames.storage.run_dir import is_run, open_run
from flames.taxonomy import Language, Taxonomy, Text
from flames.text import split_opening


@dataclass(frozen=True)
class Created:
    """A new project.

    Args:
        project: The project, open.
        links: Everybody's name and the token of their personal link. Shown only once.
        repeated_controls: Controls left out because the same response is among the items already.
    """

    project: Project
    links: dict[str, str]
    repeated_controls: int


def create_project(
    path: Path, plan: ProjectPlan, *, clock: Callable[[], datetime] = _events.now
) -> Created:
    """Makes a project: all of it, or nothing that a second attempt would stumble over.

    Raises:
        InputError: A source cannot be used.
        UsageError: The plan cannot be carried out, or there is a project already.
        OutsideError: The database cannot be reached.
    """
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
    project.settings = ProjectSettings(
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
            for name, role in plan.people
        }
    return Created(project, links, len(answers) - len(controls))


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
    _events.append(connection, [NewEvent("project", data=data)], project.clock())


def taxonomy_digest(taxonomy: Taxonomy) -> str:
    """Checksum of a taxonomy's content."""
    text = json.dumps(taxonomy.model_dump(mode="json", by_alias=True), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def population(
    paths: Sequence[str | Path], options: ReadOptions
) -> tuple[list[Response], list[SourceFile]]:
    """The responses that hold something to judge, sorted by key, and what they came from."""
    found: dict[Key, tuple[Response, Path]] = {}
    sources: list[SourceFile] = []
    for name in paths:
        bundled = str(name) == PREFIX + SILVER
        path = labels_path(str(name)) if str(name).startswith(PREFIX) else Path(name)
        total = blank = 0
        run = open_run(path) if path.is_dir() or is_run(path) else None
        responses = run.responses() if run else read_responses(path, options)
        for response in responses:
            total += 1
            if not response.scorable:
                blank += 1
                continue
            where = f"prompt {response.prompt_id}, model {response.model!r}"
            if response.dimension is None:
                raise InputError(f"{where}: no dimension; annotators need its rubric", path=path)
            if not (response.prompt and response.prompt.strip()):
                if bundled:
                    blank += 1  # on prompts of a set that was not fetched
                    continue
                raise InputError(
                    f"{where}: the prompt's text is not known; give it in a field `prompt`",
                    path=path,
                )
            earlier = found.setdefault(response.key, (response, path))
            if earlier[0] is not response:
                raise InputError(
                    f"{where}, sample {response.sample} is in {earlier[1]} too; "
                    "a response can be drawn only once",
                    path=path,
                )
        file = run.responses_path if run else path
        sources.append(
            SourceFile(
                name=str(name), sha256=file_sha256(file), responses=total, without_text=blank
            )
        )
    if not found:
        raise InputError(
            "holds no response with text to judge"
            + (" and nor do the others" if paths[1:] else ""),
            path=str(paths[0]),
        )
    return [found[key][0] for key in sorted(found)], sources


def stratum(names: Sequence[str]) -> Callable[[Response], str]:
    """Tells a response's stratum, by these fields."""

    def of(response: Response) -> str:
        values = response.model_dump(include=set(names))
        return ", ".join(f"{name}={_plain(values[name])}" for name in names)

    return of


def _plain(value: object) -> str:
    return "none" if value is None else str(value)


Known = tuple[Verdict, Response, Text | None]


def known_items(paths: Sequence[str | Path], options: ReadOptions) -> Iterator[Known]:
    """Items with known answers: labels whose lines carry prompt and response."""
    for path in map(Path, paths):
        for verdict in read_verdicts(path, options):
            text, prompt = verdict.extra.get("response"), verdict.extra.get("prompt")
            answer = split_opening(text)[0] if isinstance(text, str) else ""
            where = f"prompt {verdict.prompt_id}, model {verdict.model!r}"
            if verdict.score is None:
                raise InputError(f"{where}: an item with a known answer needs its score", path=path)
            if not (answer.strip() and isinstance(prompt, str)):
                raise InputError(f"{where}: needs `prompt` and `response`", path=path)
            response = response_of(verdict, prompt=prompt, response=answer)
            yield verdict, response, _explanation(verdict, path)


def _explanation(verdict: Verdict, path: Path) -> Text | None:
    """Of a known answer: a text, or one in Chinese and one in English; else the rationale."""
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
    """The training round: files of known answers, else the bundled ones of the taxonomy."""
    if paths is not None:
        return list(known_items([path for path in paths if path != "none"], options))
    if options.taxonomy.name == "flames":
        with resources.as_file(
            resources.files("flames.annotation").joinpath("data/training.jsonl")
        ) as path:
            return list(
                known_items([path], ReadOptions(taxonomy=options.taxonomy, model="example"))
            )
    return list(_examples(options.taxonomy, lang))


def _examples(taxonomy: Taxonomy, lang: Language) -> Iterator[Known]:
    """Another taxonomy's own examples."""
    for dimension in taxonomy.dimensions:
        for number, example in enumerate(dimension.examples):
            verdict = Verdict(
                prompt_id=f"{dimension.name}-{number}",
                model="example",
                dimension=dimension.name,
                scorer="taxonomy",
                score=example.score,
            )
            prompt, response = example.prompt(lang), example.response(lang)
            yield verdict, response_of(verdict, prompt=prompt, response=response), None
