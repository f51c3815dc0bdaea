"""Label Studio's exports in all their forms: exact labels, each person once."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from annotating import responses, write
from studio_exports import FORMS, USERS, annotation, choice, flat_rows, text

from flames.annotation import (
    Project,
    ProjectPlan,
    create_project,
    export,
    import_labels,
    label_studio_config,
    verify,
)
from flames.annotation.label_studio_exports import read_score
from flames.errors import InputError, Notice, UsageError
from flames.storage.record_files import ReadOptions
from flames.taxonomy import default_taxonomy

Flames = Callable[..., tuple[int, str, str]]
REASONS = ["- 第一，", "=1+1", "'引", '说 "不"，\n换行; 逗号,', "[好]", "[1]", "普通"]


def new_project(folder: Path, count: int = 8) -> Project:
    source = write(folder / "responses.jsonl", responses(count, ("alpha",)))
    plan = ProjectPlan(sources=[source], training=(), annotators=())
    return create_project(folder / "labels", plan).project


@pytest.fixture
def project(tmp_path: Path) -> Any:
    (tmp_path / "p").mkdir()
    made = new_project(tmp_path / "p")
    yield made
    made.close()


def tasks_of(project: Project) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(export(project, form="label-studio").text)
    return found


def annotated(project: Project) -> list[dict[str, Any]]:
    """Both users label each task; Mei flags one, and Tom leaves one empty and skips one."""
    tasks = tasks_of(project)
    for number, task in enumerate(tasks):
        scale = [each["value"] for each in task["data"]["scores"]]
        reason = text(REASONS[number % len(REASONS)])
        mei = [choice("flagged", "flag")] if number == 2 else [choice(scale[0])]
        tom = [] if number == 3 else [choice(scale[-1]), reason]
        task["annotations"] = [
            annotation(10 + number, 1, *mei),
            annotation(30 + number, 2, *tom, cancelled=number == 4),
        ]
    return tasks


def found(project: Project) -> dict[tuple[str, str], tuple[Any, Any, Any]]:
    lines = [json.loads(line) for line in export(project).text.splitlines()]
    return {
        (line["annotator"], line["item"]): (
            line["score"],
            line.get("unscored"),
            line.get("rationale"),
        )
        for line in lines
    }


def expected(tasks: list[dict[str, Any]], form: str) -> dict[tuple[str, str], Any]:
    """The labels of `annotated` by what each export tells of them."""
    labels: dict[tuple[str, str], Any] = {}
    names = {user: str(user) for user in USERS} if form == "min.json" else USERS
    for number, task in enumerate(tasks):
        item, scores = task["data"]["item"], [int(s["value"]) for s in task["data"]["scores"]]
        reason = REASONS[number % len(REASONS)].strip()
        labels[names[1], item] = (None, "flagged", None) if number == 2 else (scores[0], None, None)
        if number == 4 and form == "a.json":  # the other forms leave skipped ones out
            labels[names[2], item] = (None, "skipped", reason)
        elif number not in (3, 4):
            labels[names[2], item] = (scores[-1], None, reason)
    return labels


def put(folder: Path, name: str, tasks: list[dict[str, Any]]) -> Path:
    path = folder / name
    path.write_text(FORMS[name](tasks), "utf-8", newline="")
    return path


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_exact_labels(project: Project, tmp_path: Path, form: str) -> None:
    tasks = annotated(project)
    result = import_labels(project, put(tmp_path, form, tasks))
    assert result.kind == "label-studio"
    assert found(project) == expected(tasks, form)
    assert result.new == len(expected(tasks, form))
    assert len(result.added_people) == 2
    assert import_labels(project, tmp_path / form).unchanged == result.new
    assert verify(project).problems == ()


@pytest.mark.parametrize("order", [list(FORMS), list(FORMS)[::-1]])
def test_all_forms_together_give_each_person_once(
    project: Project, tmp_path: Path, order: list[str]
) -> None:
    tasks = annotated(project)
    results = [import_labels(project, put(tmp_path, form, tasks)) for form in order]
    assert [len(result.added_people) for result in results] == [2, 0, 0, 0]
    assert sum(result.new for result in results) == len(expected(tasks, "a.json"))
    assert not any(result.changed for result in results)
    assert len({name for name, _ in found(project)}) == 2


def test_names_of_two_users_are_never_one_person(project: Project, tmp_path: Path) -> None:
    [task, *_] = tasks_of(project)
    first = annotation(5, 1, choice("3"))
    for number, by in enumerate(("a@example.org", "b@example.org")):
        task["annotations"] = [{**first, "completed_by": by}]
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps([task]), "utf-8")
        assert import_labels(project, path).new == 1


def test_an_empty_submission_is_open_and_a_skipped_score_is_skipped(
    project: Project, tmp_path: Path
) -> None:
    first, second, *_ = tasks = tasks_of(project)[:3]
    first["annotations"] = [annotation(1, 1)]
    second["annotations"] = [annotation(2, 1, choice("3"), cancelled=True)]
    result = import_labels(project, put(tmp_path, "a.json", tasks))
    assert (result.new, result.open) == (1, 2)
    [label] = found(project).values()
    assert label == (None, "skipped", None)


def test_the_newest_of_one_person_counts(project: Project, tmp_path: Path) -> None:
    tasks = tasks_of(project)[:2]
    for task in tasks:
        task["annotations"] = [
            annotation(7, 1, choice("1"), minute=30),
            annotation(8, 1, choice("3"), minute=20),
            annotation(9, 1, minute=40),  # empty: no answer
        ]
    tasks[1]["annotations"][1]["updated_at"] = "2026-11-21T00:00:00Z"  # changed the day after
    for form in FORMS:
        import_labels(project, put(tmp_path, form, tasks))
        assert [label[0] for label in found(project).values()] == [1, 3], form


@pytest.mark.parametrize(
    ("chosen", "score"),
    [
        ("3", 3), ("无害", 3), ("Harmless", 3), ("HARMLESS", 3), ("3 - harmless", 3), ("3.无害", 3),
        ("3 无害", 3), ("无害（3）", 3), ("Harmless (3)", 3), ("有害", 1), ("1: harmful", 1),
        ("一般", 2), ("Score 2", 2), ("3.0", 3), ("2 of 3", 2), (" 1 ", 1),
        ("1 - harmless", "says 1 and the name of 3"), ("2.5", "must be a score or its name"),
        ("-1", "must be a score"), ("fine", "3 无害 harmless"), ("v2.1", "must be a score"),
    ],
)  # fmt: skip
def test_a_choice_is_a_score_or_the_name_of_one(chosen: str, score: int | str) -> None:
    if isinstance(score, int):
        assert read_score(chosen, default_taxonomy()) == score
        return
    with pytest.raises(InputError, match=score):
        read_score(chosen, default_taxonomy())


def own_tasks() -> list[dict[str, Any]]:
    """Tasks that somebody made of the same responses, with names of their own."""
    tasks = []
    for number, row in enumerate(responses(4, ("alpha",))):
        data = {"id_": number, "text": {"q": row["prompt"]}, "answer": row["response"]}
        given = annotation(number + 1, 1, choice("无害", "quality"), text("好", "why"))
        tasks.append({"id": number, "data": data, "annotations": [given]})
    return tasks


def test_map_reaches_into_the_data(project: Project, tmp_path: Path) -> None:
    path = put(tmp_path, "a.json", own_tasks())
    with pytest.raises(InputError, match=r"names no item: there are id_, text.q, answer; --map"):
        import_labels(project, path)
    mapping = {"prompt": "data.text.q", "response": "answer", "rationale": "why"}
    result = import_labels(project, path, options=ReadOptions(mapping=mapping))
    assert (result.new, set(found(project).values())) == (4, {(3, None, "好")})
    mapping |= {"response": "data.reply"}
    with pytest.raises(InputError, match=r"no column 'data.reply' .*; columns: id_, text.q, ans"):
        import_labels(project, path, options=ReadOptions(mapping=mapping))


def test_controls_of_other_names_are_mapped_in_every_form(project: Project, tmp_path: Path) -> None:
    tasks = own_tasks()
    for task in tasks:
        task["data"] = {"question": task["data"]["text"]["q"], "answer": task["data"]["answer"]}
        task["annotations"].append(annotation(50, 2))
    mapping = {"prompt": "data.question", "response": "data.answer"}
    for form in list(FORMS)[1:]:
        path = put(tmp_path, form, tasks)
        with pytest.raises(InputError, match=r"has an annotation, but no score.*--map score=NAME"):
            import_labels(project, path, options=ReadOptions(mapping=mapping))
    mapping |= {"score": "quality", "rationale": "why"}
    for form in FORMS:
        import_labels(project, put(tmp_path, form, tasks), options=ReadOptions(mapping=mapping))
        assert list(found(project).values()) == [(3, None, "好")] * 4


def test_a_task_whose_texts_were_edited_keeps_its_item_and_says_so(
    project: Project, tmp_path: Path
) -> None:
    tasks = annotated(project)
    tasks[1]["data"]["response"] = "另一个回答"
    tasks[5]["data"] |= {"prompt": "改过的提问", "response": "改过的回答"}
    for form in FORMS:
        with pytest.warns(Notice, match=r"other texts than the project's: 2, the first") as told:
            import_labels(project, put(tmp_path, form, tasks))
        assert len(told) == 1
    assert len(found(project)) == len(expected(tasks, "a.json"))


@pytest.mark.parametrize("form", FORMS)
def test_columns_that_were_sorted_apart_are_refused(
    project: Project, tmp_path: Path, form: str
) -> None:
    first, second, *_ = tasks = annotated(project)
    first["data"]["item"], second["data"]["item"] = second["data"]["item"], first["data"]["item"]
    with pytest.raises(InputError, match=r"has the texts of item .*sorted apart"):
        import_labels(project, put(tmp_path, form, tasks))
    assert found(project) == {}


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ([text("nur so")], "a rationale, but neither a score nor a flag"),
        ([choice("fine")], "must be a score or its name"),
        ([choice("3", "a"), choice("1", "b")], "has choices in a or b; --map score=NAME"),
        ([choice("maybe", "flag")], "field `flag`: must be flagged or skipped, got 'maybe'"),
        ([{**choice("3"), "value": {"choices": ["3", "1"]}}], "has several choices: 3 and 1"),
        ([choice("7")], "a score in .* is 3"),
    ],
)
def test_what_no_label_can_be_made_of_is_one_line(
    project: Project, tmp_path: Path, results: list[dict[str, Any]], said: str
) -> None:
    tasks = tasks_of(project)[:1]
    tasks[0]["annotations"] = [annotation(1, 1, *results)]
    with pytest.raises((InputError, UsageError), match=said) as caught:
        import_labels(project, put(tmp_path, "a.json", tasks))
    assert "\n" not in str(caught.value)


def test_the_config_requires_a_score_and_its_keys_are_the_scores(project: Project) -> None:
    tasks = tasks_of(project)
    for task in tasks:
        assert all(each["hotkey"] == each["value"] for each in task["data"]["scores"])
    for lang in ("zh", "en"):
        config = ET.fromstring(label_studio_config(lang))  # type: ignore[arg-type]
        by_name = {each.get("name"): each for each in config.iter() if each.get("name")}
        score, flag = by_name["score"], by_name["flag"]
        assert score.get("required") == "true"
        assert score.get("requiredMessage")
        assert (score.get("visibleWhen"), score.get("whenTagName")) == ("choice-unselected", "flag")
        keys = {each.get("hotkey") for each in flag}
        assert len(keys) == len(flag)
        assert not keys & {"1", "2", "3", None}


def test_forms_on_the_command_line(project: Project, tmp_path: Path, flames: Flames) -> None:
    path = put(tmp_path, "a.csv", own_tasks())
    options = ("--map", "prompt=text.q,response=answer,score=quality,rationale=why")
    code, _, err = flames("annotate", "import", project.path, path, *options)
    assert (code, err.count("\n")) == (2, 1)  # CSV keeps objects as text
    path = put(tmp_path, "a.json", own_tasks())
    code, _, err = flames("annotate", "import", project.path, path, *options)
    assert code == 0, err
    assert "(label-studio): 4 new" in err
    assert f"new annotators, who cannot sign in: {USERS[1]}" in err
    rows = flat_rows(annotated(project), as_cells=False)
    for row in rows:
        row["response"] = "改过"
    path.write_text(json.dumps(rows), "utf-8")
    code, _, err = flames("annotate", "import", project.path, path, "--annotator", "Mei")
    assert code == 0, err
    assert "other texts than the project's: 8, the first in line 1" in err
    assert "new annotators, who cannot sign in: Mei" in err
