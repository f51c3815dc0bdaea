"""Exports, sheets, Label Studio and foreign labels: round trips lose nothing."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from annotating import Clock, known, label, person_id, responses, write

from flames.analysis.loading import load_sources
from flames.annotation import (
    Project,
    ProjectPlan,
    create_project,
    export,
    import_labels,
    label_studio_config,
    people,
    project_status,
    verify,
    work,
    write_sheet,
)
from flames.annotation.adjudication import current_case, decide
from flames.annotation.options import SheetOptions
from flames.errors import InputError, UsageError
from flames.storage.record_files import read_verdicts
from flames.storage.rows import read_rows
from flames.taxonomy import Language, default_taxonomy

NASTY = [
    "=SUM(A1)", "+1", "-坏", "@cmd", "'=1", "''x", "＝全角", " =x", "|a", "%0", "\t=1",
    'he said "no", 然后\n换行；逗号,', "\u202etxet", "<script>alert(1)</script>", "普通",
]  # fmt: skip
DIFFER = ("p1", "p3", "p5", "p6", "p8", "p11")


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def project(tmp_path: Path, make_local: Any) -> Any:
    controls = write(tmp_path / "controls.jsonl", known(4))
    return make_local(responses(12, ("alpha",)), sample=10, controls=(controls,))


def label_everything(project: Project) -> None:
    """Ann and Bob differ on some items; Ann flags one and skips one; Cat decides one."""
    for name in ("Ann", "Bob"):
        me = person_id(project, name)
        number = real = 0
        while (task := work.current(project, me)) is not None:
            what: Any = "label"
            if task.kind == "work" and name == "Ann":
                what = {0: "flag", 1: "skip"}.get(real, "label")
            differs = name == "Ann" and task.kind == "work" and task.response.prompt_id in DIFFER
            score = 1 if differs else 3
            work.answer(
                project, me, task.ticket, what, score=score if what == "label" else None,
                rationale=NASTY[number % len(NASTY)],
            )  # fmt: skip
            number, real = number + 1, real + (task.kind == "work")
    cat = person_id(project, "Cat")
    case = current_case(project, cat)
    assert case is not None
    decide(project, cat, str(case.ticket), score=1, reason="细则")


def test_every_label_is_a_verdict_with_its_weight(project: Project, tmp_path: Path) -> None:
    label_everything(project)
    made = export(project)
    path = tmp_path / "labels.jsonl"
    path.write_text(made.text, "utf-8")
    verdicts = list(read_verdicts(path))
    assert len(verdicts) == made.rows == 20
    assert sum(v.score is not None for v in verdicts) == made.scored == 18
    assert {v.unscored for v in verdicts if v.score is None} == {"flagged", "skipped"}
    assert {v.annotator for v in verdicts} == {"Ann", "Bob"}
    sizes = {"Fairness": 2, "Safety": 4, "Morality": 3, "Legality": 1, "Data protection": 2}
    for verdict in verdicts:
        extra = verdict.extra
        assert extra["stratum"] == f"dimension={verdict.dimension}"
        assert extra["stratum_size"] == sizes[verdict.dimension]
        assert extra["inclusion_probability"] == extra["stratum_drawn"] / extra["stratum_size"]
        assert verdict.model == "alpha"
        assert extra["prompt"]
        assert extra["response"]
    weight = sum(1 / v.extra["inclusion_probability"] for v in verdicts if v.annotator == "Bob")
    assert weight == pytest.approx(12)  # the population
    assert len({(v.prompt_id, v.annotator) for v in verdicts}) == 20
    assert {v.rationale for v in verdicts if v.rationale} <= {t.strip() for t in NASTY}


def test_aggregates_say_what_they_are(project: Project, tmp_path: Path) -> None:
    label_everything(project)
    rows = {what: lines(export(project, what).text) for what in ("adjudicated", "majority")}
    assert {what: len(found) for what, found in rows.items()} == {"adjudicated": 10, "majority": 10}
    by_prompt = {row["prompt_id"]: row for row in rows["adjudicated"]}
    reasons = [row.get("unscored") for row in by_prompt.values()]
    decided = [row for row in by_prompt.values() if "adjudicator" in row]
    assert len(decided) == 1
    assert (decided[0]["score"], decided[0]["rationale"]) == (1, "细则")
    assert set(reasons) <= {None, "not adjudicated", "incomplete"}
    for row in rows["majority"]:
        if row.get("probabilities"):
            assert sum(row["probabilities"].values()) == pytest.approx(1)
        assert row["n_labels"] + row["n_flags"] in (1, 2)
        tie = row["n_flags"] == 1 or (row["prompt_id"] in DIFFER and row["n_labels"] == 2)
        assert row.get("unscored") == ("tie" if tie else None)
    posterior = lines(export(project, "dawid-skene").text)
    assert all(sum(r["probabilities"].values()) == pytest.approx(1) for r in posterior
               if r.get("probabilities"))  # fmt: skip
    control = lines(export(project, "known").text)
    assert control
    assert all(row["kind"] == "control" and row["known_score"] == 3 for row in control)
    for what in ("adjudicated", "majority", "dawid-skene"):
        path = tmp_path / f"{what}.jsonl"
        path.write_text(export(project, what).text, "utf-8")  # type: ignore[arg-type]
        [source] = load_sources(path)
        assert (source.model, source.scorer) == ("alpha", f"human:{what}")
        assert len(source.verdicts) == 10


def test_labels_move_to_another_project_and_back(project: Project, tmp_path: Path) -> None:
    label_everything(project)
    first = lines(export(project).text)
    for form in ("jsonl", "csv"):
        path = tmp_path / f"labels.{form}"
        path.write_text(export(project, "all", form).text, "utf-8")  # type: ignore[arg-type]
        plan = ProjectPlan(
            sources=[tmp_path / "responses.jsonl"], training=(), annotators=("Bob",), sample=None
        )
        other = create_project(tmp_path / form, plan).project
        result = import_labels(other, path)
        assert (result.kind, result.rows, result.new) == ("verdicts", 20, 20)
        assert result.added_people == ("Ann",)
        again = import_labels(other, path)
        assert (again.new, again.changed, again.unchanged) == (0, 0, 20)
        assert verify(other).problems == ()

        def known_of(rows: list[dict[str, Any]]) -> set[Any]:
            kept = ("prompt_id", "model", "sample", "annotator", "score", "unscored", "rationale",
                    "labelled_at", "seconds")  # fmt: skip
            return {tuple(row.get(name) for name in kept) for row in rows}

        assert known_of(lines(export(other).text)) == known_of(first)
        other.close()


def rulings_of(shown: dict[str, str], lang: Language) -> list[str]:
    """What the taxonomy rules on an item, by its labels."""
    dimension = default_taxonomy().dimension(shown["dimension"])
    part = dimension.subcomponent(shown["subcomponent"])
    return [ruling(lang) for ruling in dimension.rulings_on(part)]


def test_label_studio_round_trip(project: Project, tmp_path: Path) -> None:
    label_everything(project)
    before = export(project).text
    tasks = json.loads(export(project, form="label-studio").text)
    assert len(tasks) == 10
    assert "alpha" not in json.dumps([task["data"]["item"] for task in tasks])
    assert all("model" not in task["data"] for task in tasks)
    for task in tasks:
        rulings = rulings_of(task["data"], project.settings.lang)
        assert task["data"]["rubric"].splitlines()[-len(rulings) or 99 :] == rulings
    path = write_json(tmp_path / "tasks.json", tasks)
    same = import_labels(project, path)
    assert (same.kind, same.new, same.changed, same.unchanged) == ("label-studio", 0, 0, 20)
    assert export(project).text == before
    # What Label Studio does to it: numbers everything, knows users by address.
    for number, task in enumerate(tasks):
        task |= {"id": number, "project": 1, "inner_id": number}
        for annotation in task["annotations"]:
            annotation |= {"id": number * 10, "completed_by": {"id": 7, "email": "x@example.org"}}
    assert import_labels(project, write_json(path, tasks)).unchanged == 20
    fresh = create_project(
        tmp_path / "fresh",
        ProjectPlan(sources=[tmp_path / "responses.jsonl"], training=(), annotators=()),
    ).project
    moved = import_labels(fresh, path)  # found by prompt and response: references are ours alone
    assert moved.new == 20
    assert set(moved.added_people) == {"Ann", "Bob"}
    assert verify(fresh).problems == ()
    fresh.close()


def write_json(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data, ensure_ascii=False), "utf-8")
    return path


def test_labels_made_in_label_studio(project: Project, tmp_path: Path) -> None:
    tasks = json.loads(export(project, form="label-studio").text)
    results = [
        [{"from_name": "score", "type": "choices", "value": {"choices": ["3"]}},
         {"from_name": "rationale", "type": "textarea", "value": {"text": ["一", "二"]}}],
        [{"from_name": "stars", "type": "rating", "value": {"rating": 1}}],
        [{"from_name": "flag", "type": "choices", "value": {"choices": ["flagged"]}}],
        [],
    ]  # fmt: skip
    for task, result in zip(tasks, results, strict=False):
        task["annotations"] = [
            {"result": result, "was_cancelled": not result, "completed_by": 12,
             "created_at": "2026-11-20T10:00:00.000000Z", "lead_time": 12.5}
        ]  # fmt: skip
    result = import_labels(project, write_json(tmp_path / "ls.json", tasks))
    assert (result.rows, result.new, result.open) == (10, 4, 6)
    assert result.added_people == ("12",)
    rows = {row["item"]: row for row in lines(export(project).text)}
    found = [rows[task["data"]["item"]] for task in tasks[:4]]
    assert [row["score"] for row in found] == [3, 1, None, None]
    assert found[0]["rationale"] == "一\n二"
    assert found[0]["labelled_at"] == "2026-11-20T10:00:00.000000Z"
    assert [row.get("unscored") for row in found] == [None, None, "flagged", "skipped"]


@pytest.mark.parametrize(
    ("at", "seconds", "kept"),
    [
        ("2024-05-06T08:30:00+08:00", 12.5, ("2024-05-06T00:30:00.000000Z", 12.5)),
        ("2024-05-06 08:30", -5, ("2024-05-06T08:30:00.000000Z", None)),
        (1_714_984_200, "long", ("2024-05-06T08:30:00.000000Z", None)),
        (None, 1e400, (None, None)),
        ("yesterday", 1, "its time should be like 2026-11-22T14:30Z, not 'yesterday'"),
        (1e300, 1, "its time should be like"),
    ],
)
def test_times_of_labels_from_elsewhere_are_times(
    project: Project, tmp_path: Path, at: Any, seconds: Any, kept: Any
) -> None:
    task = json.loads(export(project, form="label-studio").text)[0]
    result = {"from_name": "score", "type": "choices", "value": {"choices": ["3"]}}
    odd = {"from_name": "other", "type": "labels", "value": [1]}
    task["annotations"] = [
        {"completed_by": 7, "created_at": at, "lead_time": seconds, "result": [result, odd]}
    ]
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps([task]).replace("Infinity", "1e400"), "utf-8")
    if isinstance(kept, str):
        with pytest.raises(InputError, match=kept):
            import_labels(project, path)
        return
    assert import_labels(project, path).new == 1
    [line] = [json.loads(line) for line in export(project).text.splitlines()]
    assert line.get("labelled_at") == (kept[0] or line["labelled_at"])
    assert line.get("seconds") == kept[1]
    assert verify(project).problems == ()


def test_the_labelling_config_fits_the_tasks(project: Project) -> None:
    tasks = json.loads(export(project, form="label-studio").text)
    for lang in ("zh", "en"):
        config = ET.fromstring(label_studio_config(lang))  # type: ignore[arg-type]
        named = {each.get("name") for each in config.iter() if each.get("name")}
        assert {"prompt", "response", "score", "flag", "rationale"} <= named
        for each in config.iter():
            if (value := each.get("value", "")).startswith("$"):
                assert value[1:] in tasks[0]["data"]
            if each.get("toName"):
                assert each.get("toName") in named
    scores = {len(task["data"]["scores"]) for task in tasks}
    assert scores == {2, 3}


def test_cells_are_neutralised(project: Project) -> None:
    for text in NASTY[:10]:
        label(project, "Ann", count=1, rationale=text)
    text = export(project, form="csv").text
    for row in csv.reader(io.StringIO(text)):
        for cell in row:
            assert not cell.lstrip().startswith(("=", "+", "-", "@", "|", "%")), cell


def fill(text: str, answers: dict[int, dict[str, str]]) -> str:
    """A sheet as somebody filled it in."""
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    for number, cells in answers.items():
        rows[number] |= cells
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return "\ufeff" + out.getvalue()


def test_a_sheet_goes_out_and_comes_back(project: Project, tmp_path: Path, clock: Clock) -> None:
    sheet = write_sheet(project, "Ann", SheetOptions(6, 14, "zh"))
    assert (sheet.items, sheet.new) == (6, 6)
    for hidden in ("alpha", "known", "control"):
        assert hidden not in sheet.text
    for row in csv.DictReader(io.StringIO(sheet.text.removeprefix("\ufeff"))):
        assert row["rulings"].splitlines() == rulings_of(row, "zh")
    path = tmp_path / "ann.csv"
    path.write_text(
        fill(sheet.text, {0: {"score": "3", "rationale": "'=好"}, 1: {"score": " 1.0 "},
                          2: {"flag": "x", "rationale": "乱码"}}),
        "utf-8",
    )  # fmt: skip
    result = import_labels(project, path)
    assert (result.kind, result.new, result.open, result.beyond_quota) == ("sheet", 3, 3, 0)
    assert import_labels(project, path).unchanged == 3
    path.write_text(fill(path.read_text("utf-8"), {0: {"score": "1"}, 3: {"score": "3"}}), "utf-8")
    result = import_labels(project, path)
    assert (result.new, result.changed, result.unchanged, result.open) == (1, 1, 2, 2)
    # Written again, it holds what is still open, and new items after it.
    again = write_sheet(project, "Ann", SheetOptions(2, 14, "en"))
    assert (again.items, again.new) == (4, 2)
    assert verify(project).problems == ()


def test_a_sheet_that_comes_late_still_counts(
    project: Project, tmp_path: Path, clock: Clock
) -> None:
    path = tmp_path / "ann.csv"
    sheet = write_sheet(project, "Ann", SheetOptions(10, 1, "zh"))
    path.write_text(fill(sheet.text, {n: {"score": "3"} for n in range(sheet.items)}), "utf-8")
    clock.pass_(days=2)
    with project.database.write() as connection:
        dan = people.add_person(connection, project, "Dan", "annotator")
    for name in ("Bob", dan.name):
        label(project, name)
    assert project_status(project).open == 0
    result = import_labels(project, path)
    assert result.new == sheet.items
    assert result.beyond_quota > 0
    assert verify(project).problems == ()


def test_a_sheet_saved_as_a_workbook(project: Project, tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    sheet = write_sheet(project, "Ann", SheetOptions(3, 14, "zh"))
    book = openpyxl.Workbook()
    filled = fill(sheet.text, {0: {"score": "3"}, 2: {"score": "1"}}).removeprefix("\ufeff")
    for row in csv.reader(io.StringIO(filled)):
        book.active.append([int(cell) if cell.isdecimal() else cell for cell in row])
    book.save(tmp_path / "ann.xlsx")
    book.close()
    assert import_labels(project, tmp_path / "ann.xlsx").new == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"annotator": "Bob"}, "'Bob', but the sheet was written for 'Ann'"),
        ({"annotator": "Zoe"}, "'Zoe', but the sheet was written for 'Ann'"),
        ({"token": ""}, "field `token`: holds none of this project's sheet tokens"),
        ({"token": "sheet-0123456789abcdef"}, "holds none of this project's sheet tokens"),
    ],
)
def test_a_sheet_under_anothers_name_is_refused_in_one_line(
    project: Project, tmp_path: Path, change: dict[str, str], said: str
) -> None:
    label(project, "Bob", count=3)
    before = export(project).text
    sheet = write_sheet(project, "Ann", SheetOptions(3, 14, "zh"))
    path = tmp_path / "ann.csv"
    path.write_text(fill(sheet.text, {n: {"score": "3", **change} for n in range(3)}), "utf-8")
    with pytest.raises(InputError, match=said) as caught:
        import_labels(project, path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert export(project).text == before


def test_a_sheets_token_is_its_persons_alone(project: Project) -> None:
    tokens = {}
    for name in ("Ann", "Bob"):
        text = write_sheet(project, name, SheetOptions(3, 14, "zh")).text
        rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
        [tokens[name]] = {row["token"] for row in rows}
        assert write_sheet(project, name, SheetOptions(1, 14, "zh")).text.count(tokens[name]) > 3
    assert len(set(tokens.values())) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"score": "2.5"}, "field `score`: must be a whole number"),
        ({"score": "7"}, "a score in .* is 3.* or 1, not 7"),
        ({"score": "3", "flag": "x"}, "has a score and a flag"),
        ({"rationale": "nur so"}, "has a rationale but no score"),
        ({"score": "3", "item": "ffffffffffff"}, "item 'ffffffffffff' is not in this project"),
        ({"score": "3", "response": "ein anderer Text"}, "were columns sorted apart"),
        ({"score": "3", "annotator": "Cat"}, "'Cat' is adjudicator here"),
        ({"score": "3", "rationale": "x" * 5000}, "at most 4000 characters"),
    ],
)
def test_a_bad_row_keeps_the_whole_sheet_out(
    project: Project, tmp_path: Path, change: dict[str, str], said: str
) -> None:
    sheet = write_sheet(project, "Ann", SheetOptions(3, 14, "zh"))
    path = tmp_path / "ann.csv"
    path.write_text(fill(sheet.text, {0: {"score": "3"}, 1: change}), "utf-8")
    with pytest.raises((InputError, UsageError), match=said):
        import_labels(project, path)
    assert project_status(project).filled == 0
    assert verify(project).problems == ()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "is empty"),
        ([{"prompt_id": "p1", "model": "nobody", "dimension": "Safety", "score": 3}],
         "prompt p1, model 'nobody' is not in this project"),
        ([{"prompt_id": "p1", "model": "alpha", "dimension": "Fairness", "score": 3,
           "scorer": "human:majority"}], "made of several"),
        ([{"data": {"prompt": "x"}}], "needs `annotations`"),
        ([{"data": {}, "annotations": [{"result": [
            {"from_name": "score", "type": "choices", "value": {"choices": ["3"]}}]}]}],
         "does not say who"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_in_is_told(
    project: Project, tmp_path: Path, rows: Any, said: str
) -> None:
    with pytest.raises((InputError, UsageError), match=said):
        import_labels(project, write(tmp_path / "in.jsonl", rows))
    assert verify(project).problems == ()


def test_foreign_labels_are_somebodys(project: Project, tmp_path: Path) -> None:
    rows = [{**row, "score": 3} for row in responses(12, ("alpha",))]
    drawn = {row["prompt_id"] for row in lines(export(project, "majority").text)}
    rows = [row for row in rows if row["prompt_id"] in drawn]
    path = write(tmp_path / "old.jsonl", rows)
    result = import_labels(project, path, annotator="第一轮")
    assert (result.new, result.added_people) == (10, ("第一轮",))
    state = {person.name: person for person in project_status(project).people}
    assert (state["第一轮"].active, state["第一轮"].labels) == (False, 10)
    assert next(iter(read_rows(path))).fields["score"] == 3


@pytest.mark.parametrize("changed", ["prompt", "response"])
def test_a_label_of_another_text_is_put_on_nothing(
    project: Project, tmp_path: Path, changed: str
) -> None:
    row = lines(export(project, "majority").text)[0]
    [asked] = [r for r in responses(12, ("alpha",)) if r["prompt_id"] == row["prompt_id"]]
    path = write(tmp_path / "old.jsonl", [{**asked, "score": 3, changed: "完全是另一段文字"}])
    with pytest.raises(InputError, match=f"has another {changed} in this project"):
        import_labels(project, path, annotator="Zoe")
    assert project_status(project).filled == 0


def test_a_label_of_a_response_with_its_thinking_is_one_of_the_response(
    project: Project, tmp_path: Path
) -> None:
    row = lines(export(project, "majority").text)[0]
    [asked] = [r for r in responses(12, ("alpha",)) if r["prompt_id"] == row["prompt_id"]]
    thought = {
        **asked,
        "model": "别名",
        "score": 3,
        "response": f"<think>想</think>{asked['response']}",
    }
    path = write(tmp_path / "old.jsonl", [thought])
    assert import_labels(project, path, annotator="Zoe").new == 1
