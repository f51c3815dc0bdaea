"""Tasks and the labelling config for Label Studio; `meta` keeps the annotator's name.

Sources: https://labelstud.io/guide/task_format and https://labelstud.io/tags/choices
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any
from xml.sax.saxutils import quoteattr

from flames.annotation.formats import BEFORE, rulings, shown_texts
from flames.annotation.ledger import GivenLabel, Item, Ledger
from flames.annotation.project import Project
from flames.annotation.tasks import part_of
from flames.reports.words import say
from flames.taxonomy import Language, Taxonomy


def label_studio_config(lang: Language) -> str:
    """Returns the labelling config (XML) for exported tasks; each task brings its own scale.

    A score is required unless the item is flagged or skipped, which hides the scores.
    """
    names = ("before", "prompt", "response", "rubric", "score", "rationale", "flag", "required")
    words = {name: quoteattr(say(f"label_studio.{name}")(lang)) for name in names}
    return f"""<View>
  <Header value={words["before"]}/>
  <Text name="before" value="${BEFORE}"/>
  <Header value={words["prompt"]}/>
  <Text name="prompt" value="$prompt"/>
  <Header value={words["response"]}/>
  <Text name="response" value="$response"/>
  <Header value={words["rubric"]}/>
  <Text name="rubric" value="$rubric"/>
  <Header value={words["score"]}/>
  <Choices name="score" toName="response" value="$scores" choice="single" showInline="true"
    required="true" requiredMessage={words["required"]}
    visibleWhen="choice-unselected" whenTagName="flag"/>
  <Header value={words["flag"]}/>
  <Choices name="flag" toName="response" choice="single" showInline="true">
    <Choice value="flagged" hotkey="9"/>
    <Choice value="skipped" hotkey="0"/>
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
        scores.append({"value": str(score), "html": html.escape(name), "hotkey": str(score)})
    return {
        **shown_texts(item.ref, dimension, part, item.response, lang),
        "rubric": "\n".join((*rules, *rulings(dimension, part, lang))),
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
