"""Two formats in which labels leave a project and come back: sheets and Label Studio's JSON.

A sheet is a CSV file that one annotator fills in offline. Label Studio keeps the annotator's name
in `meta`. Source: https://labelstud.io/guide/task_format and https://labelstud.io/tags/choices
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from xml.sax.saxutils import quoteattr

from flames.annotation.ledger import GivenLabel, Item, Ledger
from flames.annotation.options import SheetOptions
from flames.annotation.people import get_person
from flames.annotation.project import Project
from flames.annotation.tasks import UNSCORED, Answer, Task, part_of
from flames.annotation.work import lease_offline, offline_tasks
from flames.errors import InputError, UsageError
from flames.records import Response
from flames.reports.words import say
from flames.storage.atomic import to_csv
from flames.storage.record_fields import whole
from flames.storage.unusable import usable
from flames.taxonomy import Dimension, Language, Subcomponent, Taxonomy

MARK = "item"  # the column by which a sheet is recognised
_LEADING_NUMBER = re.compile(r"\s*(\d+)")


class RawLabel(NamedTuple):
    """A label as a file gives it; None where the file has no value."""

    annotator: str | None
    answer: Answer
    score: int | None
    rationale: str
    labelled_at: Any = None
    seconds: Any = None


class Sheet(NamedTuple):
    """The CSV text of a person's sheet, and how many items it holds, new ones among them."""

    person: str
    text: str
    items: int
    new: int


def write_sheet(project: Project, name: str, options: SheetOptions | None = None) -> Sheet:
    """Leases items to an annotator for some days, and writes all their offline items as CSV.

    It shows neither models nor known answers, and repeats the open items of earlier sheets.
    """
    options = options or SheetOptions()
    lang = options.lang or project.settings.lang
    with project.database.read() as connection:
        person = get_person(connection, name)
    if person.role != "annotator" or not person.active:
        raise UsageError(f"{person.name} is not an active annotator")
    new = lease_offline(project, person.id, options.items, options.days)
    tasks = offline_tasks(project, person.id)
    rows = [_sheet_row(task, project.taxonomy, lang) | {"annotator": person.name} for task in tasks]
    scores = sorted({s for d in project.taxonomy.dimensions for s in d.scale}, reverse=True)
    columns = [MARK, "annotator", "score", "flag", "rationale", "dimension", "subcomponent",
               "prompt", "response", *(f"rubric_{score}" for score in scores),
               "rulings"]  # fmt: skip
    return Sheet(person.name, "\ufeff" + to_csv(rows, columns), len(rows), new)


def _sheet_row(task: Task, taxonomy: Taxonomy, lang: Language) -> dict[str, Any]:
    part = task.subcomponent
    rules = {}
    for score in task.dimension.scale:
        rule = part.rubric.get(score) if part is not None else None
        rules[f"rubric_{score}"] = rule(lang) if rule else taxonomy.level(score, lang)
    rules["rulings"] = "\n".join(_rulings(task.dimension, part, lang))
    return _texts(task.ref, task.dimension, part, task.response, lang) | rules


def _rulings(dimension: Dimension, part: Subcomponent | None, lang: Language) -> list[str]:
    return [ruling(lang) for ruling in dimension.rulings_on(part)]


def _texts(
    ref: str, dimension: Dimension, part: Subcomponent | None, response: Response, lang: Language
) -> dict[str, Any]:
    return {
        MARK: ref,
        "dimension": dimension.label(lang),
        "subcomponent": part.label(lang) if part is not None else "",
        "prompt": response.prompt,
        "response": response.response,
    }


def is_sheet(fields: Mapping[str, Any]) -> bool:
    """Returns whether a row is one of our sheets'."""
    return {MARK, "annotator", "score", "response"} <= fields.keys() and "model" not in fields


def read_sheet_row(fields: Mapping[str, Any]) -> tuple[dict[str, str], RawLabel | None]:
    """Returns a row's cells, and the label; None where the row was left blank."""
    known = usable(fields, fields)
    cells = {name: "" if value is None else str(value).strip() for name, value in known.items()}
    flag, score, rationale = (cells.get(name, "") for name in ("flag", "score", "rationale"))
    flagged = flag.casefold() not in ("", "0", "no", "false", "否")
    if score and flagged:
        raise InputError("has a score and a flag; leave the score of a flagged item empty")
    if not score and not flagged:
        if rationale:
            raise InputError("has a rationale but no score and no flag")
        return cells, None
    number = None if flagged else whole(cells, "score")
    return cells, RawLabel(cells["annotator"], "flag" if flagged else "label", number, rationale)


def same_text(cell: str, response: str) -> bool:
    """Compares a cell with a text, ignoring changes of white space by spreadsheets."""
    texts = (text.replace("\x00", "\ufffd").split() for text in (cell, response))
    return len({"".join(words)[:200] for words in texts}) == 1


def label_studio_config(lang: Language) -> str:
    """Returns the labelling config (XML) for exported tasks; each task brings its own scale."""
    names = ("prompt", "response", "rubric", "score", "rationale", "flag")
    words = {name: quoteattr(say(f"label_studio.{name}")(lang)) for name in names}
    return f"""<View>
  <Header value={words["prompt"]}/>
  <Text name="prompt" value="$prompt"/>
  <Header value={words["response"]}/>
  <Text name="response" value="$response"/>
  <Header value={words["rubric"]}/>
  <Text name="rubric" value="$rubric"/>
  <Header value={words["score"]}/>
  <Choices name="score" toName="response" value="$scores" choice="single" showInline="true"/>
  <Header value={words["flag"]}/>
  <Choices name="flag" toName="response" choice="single" showInline="true">
    <Choice value="flagged"/>
    <Choice value="skipped"/>
  </Choices>
  <Header value={words["rationale"]}/>
  <TextArea name="rationale" toName="response" rows="2" maxSubmissions="1" editable="true"/>
</View>
"""


def label_studio_tasks(
    project: Project, ledger: Ledger, items: Iterable[Item], labels: Iterable[GivenLabel]
) -> list[dict[str, Any]]:
    """Returns a task for every item, with its labels as annotations."""
    tasks: dict[int, dict[str, Any]] = {}
    for item in items:
        data = _task_data(item, project.taxonomy, project.settings.lang)
        tasks[item.id] = {"data": data, "annotations": [], "predictions": []}
    for given in labels:
        name = ledger.people[given.person].name
        tasks[given.item]["annotations"].append(_annotation(given, name))
    return list(tasks.values())


def _task_data(item: Item, taxonomy: Taxonomy, lang: Language) -> dict[str, Any]:
    dimension = taxonomy.dimension(item.dimension)
    part = part_of(dimension, item.subcomponent)
    rules: list[str] = []
    scores: list[dict[str, str]] = []
    for score in dimension.scale:
        name = f"{score} {taxonomy.level(score, lang)}"
        rule = part.rubric.get(score) if part is not None else None
        rules.append(name + (f"：{rule(lang)}" if rule else ""))
        scores.append({"value": str(score), "html": html.escape(name)})
    return {
        **_texts(item.ref, dimension, part, item.response, lang),
        "rubric": "\n".join((*rules, *_rulings(dimension, part, lang))),
        "scores": scores,
        "inclusion_probability": item.inclusion_probability,
    }


def _annotation(given: GivenLabel, name: str) -> dict[str, Any]:
    at = given.labelled_at or given.at
    meta: dict[str, Any] = {"annotator": name, "labelled_at": at}
    where, chosen = ("score", str(given.score)) if given.score else ("flag", given.answer)
    result = [_result(where, "choices", {"choices": [chosen]}, meta)]
    if given.rationale:
        result.append(_result("rationale", "textarea", {"text": [given.rationale]}, meta))
    annotation = {
        "result": result,
        "was_cancelled": given.answer == "skipped",
        "ground_truth": False,
        "created_at": at,
    }
    if given.seconds is not None:
        meta["seconds"] = annotation["lead_time"] = given.seconds
    return annotation


def _result(name: str, kind: str, value: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    return {
        "from_name": name, "to_name": "response", "type": kind, "origin": "manual",
        "value": value, "meta": meta,
    }  # fmt: skip


def read_annotations(task: Mapping[str, Any]) -> list[RawLabel]:
    """Returns the labels of one exported task."""
    if not isinstance(task.get("data"), dict):
        raise InputError("is not a task: it has no `data`")
    annotations = task.get("annotations", task.get("completions"))
    if not isinstance(annotations, list):
        raise InputError("needs `annotations`, as in Label Studio's JSON export")
    return [_read_annotation(each) for each in annotations]


def _read_annotation(annotation: Any) -> RawLabel:
    if not isinstance(annotation, dict) or not isinstance(annotation.get("result", []), list):
        raise InputError("contains an annotation without `result`")
    results = [each for each in annotation.get("result", []) if isinstance(each, dict)]
    meta = next((m for r in results if isinstance(m := r.get("meta"), dict)), {})
    values = {str(each.get("from_name")): _value(each) for each in results}
    flag = str(_first(values.get("flag", {}).get("choices")))
    score = _score(values, results)
    if score is None and flag not in UNSCORED and not annotation.get("was_cancelled"):
        raise InputError("contains an annotation with neither a score nor a flag")
    by = annotation.get("completed_by")
    if isinstance(by, dict):
        by = by.get("email") or by.get("id")
    return RawLabel(
        annotator=meta.get("annotator") or (None if by is None else str(by)),
        answer="label" if score is not None else UNSCORED.get(flag, "skip"),
        score=score,
        rationale="\n".join(map(str, _list(values.get("rationale", {}).get("text")))),
        labelled_at=meta.get("labelled_at") or annotation.get("created_at"),
        seconds=meta.get("seconds", annotation.get("lead_time")),
    )


def _value(result: Mapping[str, Any]) -> dict[str, Any]:
    value = result.get("value")
    return value if isinstance(value, dict) else {}


def _score(values: Mapping[str, Any], results: list[dict[str, Any]]) -> int | None:
    """Reads the number in `score`, or in the only rating or choice there is."""
    candidates = [values["score"]] if "score" in values else [
        _value(each) for each in results
        if each.get("type") in ("choices", "rating") and each.get("from_name") != "flag"
    ]  # fmt: skip
    if len(candidates) != 1:
        return None
    chosen = candidates[0].get("rating", _first(candidates[0].get("choices")))
    number = _LEADING_NUMBER.match(str(chosen))
    return int(number[1]) if number else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _first(value: Any) -> Any:
    return next(iter(_list(value)), None)
