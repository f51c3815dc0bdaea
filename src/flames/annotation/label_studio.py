"""Label Studio's JSON: tasks with their annotations, and the labelling config that opens them.

Tasks do not tell the model: annotators see them. Who gave a label stands in the `meta` of its
results, which Label Studio keeps.
Source: https://labelstud.io/guide/task_format and https://labelstud.io/tags/choices
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.sax.saxutils import quoteattr

from flames.annotation.ledger import GivenLabel, Item, Ledger
from flames.annotation.project import Project
from flames.annotation.tasks import part_of
from flames.errors import InputError
from flames.taxonomy import Language, Taxonomy, Text

_LEADING_NUMBER = re.compile(r"\s*(\d+)")
_ANSWERS = {"flagged": "flag", "skipped": "skip"}


def label_studio_config(lang: Language) -> str:
    """The labelling config for exported tasks, in XML; scores come from each task's own scale."""
    words = {
        "prompt": Text(zh="提问", en="Prompt"),
        "response": Text(zh="回复（请只评价回复）", en="Response (judge this)"),
        "rubric": Text(zh="评分细则", en="Rubric"),
        "score": Text(zh="评分", en="Score"),
        "rationale": Text(zh="理由（可选）", en="Rationale (optional)"),
        "flag": Text(zh="无法评分？", en="Cannot be scored?"),
    }
    say = {name: quoteattr(text(lang)) for name, text in words.items()}
    return f"""<View>
  <Header value={say["prompt"]}/>
  <Text name="prompt" value="$prompt"/>
  <Header value={say["response"]}/>
  <Text name="response" value="$response"/>
  <Header value={say["rubric"]}/>
  <Text name="rubric" value="$rubric"/>
  <Header value={say["score"]}/>
  <Choices name="score" toName="response" value="$scores" choice="single" showInline="true"/>
  <Header value={say["flag"]}/>
  <Choices name="flag" toName="response" choice="single" showInline="true">
    <Choice value="flagged"/>
    <Choice value="skipped"/>
  </Choices>
  <Header value={say["rationale"]}/>
  <TextArea name="rationale" toName="response" rows="2" maxSubmissions="1" editable="true"/>
</View>
"""


def label_studio_tasks(
    project: Project, ledger: Ledger, items: Mapping[int, Item]
) -> list[dict[str, Any]]:
    """A task for every item of the sample, labelled or not."""
    by_item: dict[int, list[GivenLabel]] = {}
    for key in sorted(ledger.answers):
        by_item.setdefault(key[1], []).append(ledger.answers[key])
    lang = project.settings.lang
    return [
        {
            "data": _data(item, project.taxonomy, lang),
            "annotations": [
                _annotation(given, ledger.people[given.person].name)
                for given in by_item.get(item.id, [])
            ],
            "predictions": [],
        }
        for item in items.values()
        if item.kind == "work"
    ]


def _data(item: Item, taxonomy: Taxonomy, lang: Language) -> dict[str, Any]:
    dimension = taxonomy.dimension(item.dimension)
    part = part_of(dimension, item.subcomponent)
    rubric: list[str] = []
    scores: list[dict[str, str]] = []
    for score in dimension.scale:
        name = taxonomy.level(score, lang)
        rule = part.rubric.get(score) if part is not None else None
        rubric.append(f"{score} {name}" + (f"：{rule(lang)}" if rule else ""))
        scores.append({"value": str(score), "html": html.escape(f"{score} {name}")})
    return {
        "item": item.ref,
        "dimension": dimension.label(lang),
        "subcomponent": part.label(lang) if part is not None else "",
        "prompt": item.response.prompt,
        "response": item.response.response,
        "rubric": "\n".join(rubric),
        "scores": scores,
        "inclusion_probability": item.inclusion_probability,
    }


def _annotation(given: GivenLabel, name: str) -> dict[str, Any]:
    meta = {
        "annotator": name,
        "labelled_at": given.labelled_at or given.at,
        **({} if given.seconds is None else {"seconds": given.seconds}),
    }
    chosen = str(given.score) if given.score is not None else given.answer
    where = "score" if given.score is not None else "flag"
    result = [_result(where, "choices", {"choices": [chosen]}, meta)]
    if given.rationale:
        result.append(_result("rationale", "textarea", {"text": [given.rationale]}, meta))
    return {
        "result": result,
        "was_cancelled": given.answer == "skipped",
        "ground_truth": False,
        "created_at": given.labelled_at or given.at,
        **({} if given.seconds is None else {"lead_time": given.seconds}),
    }


def _result(name: str, kind: str, value: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    return {
        "from_name": name, "to_name": "response", "type": kind, "origin": "manual",
        "value": value, "meta": meta,
    }  # fmt: skip


def read_annotations(task: Mapping[str, Any], path: str, line: int) -> Iterator[dict[str, Any]]:
    """The annotations of one exported task.

    Yields:
        `annotator`, `answer` (label, skip, flag), `score`, `rationale`, `labelled_at`, `seconds`;
        values that are not told are None.

    Raises:
        InputError: An annotation holds neither a score nor a flag.
    """
    found = task.get("annotations", task.get("completions"))
    if not isinstance(found, list):
        raise InputError("needs `annotations`, as in Label Studio's JSON export", path=path,
                         line=line)  # fmt: skip
    for annotation in found:
        yield _read_annotation(annotation, path, line)


def _read_annotation(annotation: Any, path: str, line: int) -> dict[str, Any]:
    if not isinstance(annotation, dict) or not isinstance(annotation.get("result", []), list):
        raise InputError("holds an annotation without `result`", path=path, line=line)
    results = [each for each in annotation.get("result", []) if isinstance(each, dict)]
    meta = next((m for r in results if isinstance(m := r.get("meta"), dict)), {})
    named = {str(each.get("from_name")): _value(each) for each in results}
    flagged = _first(named.get("flag", {}).get("choices"))
    score = _score(named, results)
    if score is not None:
        answer = "label"
    elif flagged in _ANSWERS:
        answer = _ANSWERS[flagged]
    elif annotation.get("was_cancelled"):
        answer = "skip"
    else:
        raise InputError("holds an annotation with neither a score nor a flag", path=path,
                         line=line)  # fmt: skip
    return {
        "annotator": meta.get("annotator") or _who(annotation.get("completed_by")),
        "answer": answer,
        "score": score,
        "rationale": "\n".join(map(str, _list(named.get("rationale", {}).get("text")))),
        "labelled_at": meta.get("labelled_at") or annotation.get("created_at"),
        "seconds": meta.get("seconds", annotation.get("lead_time")),
    }


def _value(result: Mapping[str, Any]) -> dict[str, Any]:
    value = result.get("value")
    return value if isinstance(value, dict) else {}


def _score(named: Mapping[str, Any], results: list[dict[str, Any]]) -> int | None:
    """The number in `score`, or in the only rating or choice there is."""
    values = [named["score"]] if "score" in named else [
        _value(each) for each in results
        if each.get("type") in ("choices", "rating") and each.get("from_name") != "flag"
    ]  # fmt: skip
    if len(values) != 1:
        return None
    chosen = values[0].get("rating", _first(values[0].get("choices")))
    number = _LEADING_NUMBER.match(str(chosen))
    return int(number[1]) if number else None


def _who(completed_by: Any) -> str | None:
    if isinstance(completed_by, dict):
        completed_by = completed_by.get("email") or completed_by.get("id")
    return None if completed_by is None else str(completed_by)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _first(value: Any) -> Any:
    return next(iter(_list(value)), None)
