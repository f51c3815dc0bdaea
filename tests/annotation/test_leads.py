"""What leads decide while people label: guideline, batches, quotas, rules, comments, more items."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from annotating import AS_THE_FIRST_VERSION, Visitor, known, label, person_id, responses, write

from flames.annotation import (
    Project,
    add_items,
    adjudication,
    batches,
    comments,
    export,
    open_project,
    people,
    project_status,
    rules,
    suggestions,
    verify,
    work,
)
from flames.annotation.lead_options import AddOptions, BatchOptions
from flames.annotation.progress import read_progress
from flames.annotation.tasks import ReasonMissingError, Shown
from flames.errors import InputError, UsageError
from flames.reports.page import environment
from flames.storage.record_files import ReadOptions


def lines(project: Project, **options: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in export(project, **options).text.splitlines()]


def refs(project: Project, name: str) -> list[str]:
    return [task.ref for task in label(project, name)]


def test_labels_carry_the_version_of_the_guideline(make_project: Any) -> None:
    project = make_project(responses(4))
    label(project, "Ann", count=1)
    rules.publish_guideline(project, "# 一", "# One")
    label(project, "Ann", count=1)
    task = work.current(project, person_id(project, "Ann"))
    assert task is not None
    rules.publish_guideline(project, "# 二", "", after=1)
    me = person_id(project, "Ann")
    work.answer(project, me, task.ticket, "label", score=3, shown=Shown(guideline=1))
    label(project, "Ann", count=1)
    with pytest.raises(UsageError, match="somebody else published version 2"):
        rules.publish_guideline(project, "# 三", "", after=1)
    with pytest.raises(UsageError, match="that of version 2"):
        rules.publish_guideline(project, "# 二", "")
    found = sorted(line.get("guideline", 0) for line in lines(project))
    assert found == [0, 1, 1, 2]
    assert rules.read_guidelines(project)[0].text("en") == "# 二"
    assert verify(project).problems == ()


def test_a_new_guideline_is_read_before_the_next_item(project: Project, base: str) -> None:
    hostile = "<script>1</script> [x](javascript:1) ![i](https://evil.example/i) \u202e"
    links = project.links  # type: ignore[attr-defined]
    with Visitor(base, links["Ann"]) as ann, Visitor(base, links["lead"]) as lead:
        ann.get("/work")
        assert 'name="guideline" value="0"' in ann.page
        lead.get("/lead/guideline")
        assert (
            lead.post("/lead/guideline", zh=f"# 规定\n\n{hostile}", en="# Rules", after="0") == 200
        )
        assert "<script>1" not in lead.page
        assert 'href="javascript' not in lead.page
        assert '<img src="https' not in lead.page
        assert ann.post("/work", do="3") == 200  # shown before: still of no version
        assert "guideline" in ann.http.get("/guide").text
        assert '<form method="post" action="/guide"' in ann.page
        assert "<h2" in ann.page
        ann.get("/work")
        assert ann.page.count('action="/work"') == 0
        assert ann.post("/guide", version="1") == 200
        assert 'name="guideline" value="1"' in ann.page
        assert ann.post("/work", do="3") == 200
        lead.get("/lead/guideline")
        assert lead.post("/lead/guideline", zh="# 新规定", en="# Rules", after="1") == 200
        ann.get("/guide")
        ann.get("/work")
        assert "<ins" in ann.page or "Rules" in ann.page
        assert lead.post("/lead/guideline", zh="x", after="0") == 422
    assert sorted(line.get("guideline", 0) for line in lines(project)) in ([0, 1], [0], [1])
    [ann_] = [p for p in people.list_people(project) if p.name == "Ann"]
    assert ann_.guideline == 1
    assert verify(project).problems == ()


def test_a_batch_goes_to_its_people_first_and_to_nobody_else(make_project: Any) -> None:
    project = make_project(responses(6), annotators=("Ann", "Bob", "Eve"))
    batch = batches.assign_batch(project, "one", BatchOptions(people=("Ann", "Bob"), count=4))
    assert batch is not None
    assert (batch.items, batch.missing, batch.people) == (4, 8, ("Ann", "Bob"))
    with pytest.raises(UsageError, match="more people"):
        batches.assign_batch(project, "two", BatchOptions(people=("Ann",), count=1))
    eve = refs(project, "Eve")
    assert len(eve) == 8
    first = refs(project, "Ann")[:4]
    assert not set(first) & set(eve)
    assert set(first) <= set(refs(project, "Bob"))
    assert verify(project).problems == ()
    assert adjudication.open_cases(project) == []
    with pytest.raises(UsageError, match="no batch"):
        batches.assign_batch(project, "nine", BatchOptions(free=True))
    assert batches.assign_batch(project, "one", BatchOptions(free=True)) is None
    assert batches.list_batches(project) == []
    assert verify(project).problems == ()


def test_a_batch_can_be_given_to_others(make_project: Any) -> None:
    project = make_project(responses(2), annotators=("Ann", "Bob", "Eve"), per_item=1)
    batches.assign_batch(project, "b", BatchOptions(people=("Ann",), count=4))
    assert work.current(project, person_id(project, "Bob")) is None
    batches.assign_batch(project, "b", BatchOptions(people=("Bob",)))
    assert work.current(project, person_id(project, "Ann")) is None
    assert len(refs(project, "Bob")) == 4
    for bad, said in (
        (BatchOptions(people=("Cat",)), "does not label"),
        (BatchOptions(people=("Ann",), items=("nope",)), "not items"),
    ):
        with pytest.raises((UsageError, InputError), match=said):
            batches.assign_batch(project, "c", bad)


def test_a_quota_ends_the_work_of_a_person(make_project: Any) -> None:
    project = make_project(responses(6))
    me = person_id(project, "Ann")
    people.set_quota(project, "Ann", 3)
    assert read_progress(project, me).total == 3
    assert len(label(project, "Ann")) == 3
    assert work.current(project, me) is None
    assert read_progress(project, me).done == read_progress(project, me).total == 3
    work.undo(project, me)
    assert len(label(project, "Ann")) == 1
    people.set_quota(project, "Ann", 0)
    assert work.current(project, me) is None
    people.set_quota(project, "Ann", None)
    assert len(label(project, "Ann")) == 9
    with pytest.raises(UsageError, match="for annotators"):
        people.set_quota(project, "Cat", 3)
    assert verify(project).problems == ()


def test_a_flag_can_need_a_reason(make_project: Any) -> None:
    project = make_project(responses(2))
    me = person_id(project, "Ann")
    rules.set_flag_reason(project, True)
    task = work.current(project, me)
    assert task is not None
    with pytest.raises(ReasonMissingError):
        work.answer(project, me, task.ticket, "flag")
    work.answer(project, me, task.ticket, "flag", rationale="no text")
    rules.set_flag_reason(project, False)
    task = work.current(project, me)
    assert task is not None
    work.answer(project, me, task.ticket, "flag")
    assert verify(project).problems == ()


def test_the_page_says_that_a_flag_needs_a_reason(project: Project, base: str) -> None:
    rules.set_flag_reason(project, True)
    with Visitor(base, project.links["Ann"]) as ann:  # type: ignore[attr-defined]
        ann.http.headers["accept-language"] = "en"
        ann.get("/work")
        assert ann.post("/work", do="flag") == 422
        assert "why you flag" in ann.page
        assert ann.post("/work", do="flag", rationale="empty") == 200


def test_comments_reach_leads_and_one_person(make_project: Any) -> None:
    project = make_project(responses(2))
    [ref, *_] = refs(project, "Ann")
    refs(project, "Bob")
    made = comments.comment(project, "Ann", ref, "unclear <b>")
    comments.comment(project, "lead", ref, "only for leads")
    comments.comment(project, "lead", ref, "see rule 3", "Ann")
    who = {person.name: person for person in people.list_people(project)}
    assert [c.text for c in comments.read_comments(project, who["Bob"])] == []
    assert [c.text for c in comments.read_comments(project, who["Ann"])] == [
        "unclear <b>", "see rule 3",
    ]  # fmt: skip
    assert len(comments.read_comments(project, who["lead"], ref)) == 3
    for by, item, to, said in (
        ("Bob", ref, "Ann", "no other addressee"),
        ("Cat", ref, None, "may not comment"),
        ("Ann", "nope", None, "has and had no item"),
        ("lead", ref, "Cat", "answer an annotator"),
    ):
        with pytest.raises(UsageError, match=said):
            comments.comment(project, by, item, "x", to)
    with pytest.raises(UsageError, match="may take back"):
        comments.withdraw(project, "Bob", made.number)
    comments.withdraw(project, "Ann", made.number)
    assert len(comments.read_comments(project)) == 2
    assert verify(project).problems == ()


def test_nobody_comments_on_what_they_have_not_seen(make_local: Any) -> None:
    project = make_local(responses(2))
    [ref, *_] = refs(project, "Ann")
    with pytest.raises(UsageError, match="may not see"):
        comments.comment(project, "lead", ref, "it is a 1", "Bob")
    with pytest.raises(UsageError, match="has and had no"):
        comments.comment(project, "Bob", ref, "x")


def scored(path: Path, rows: list[dict[str, Any]], name: str = "lexical") -> Path:
    return write(path, [{**row, "score": 1, "scorer": name} for row in rows])


def test_labels_beside_a_suggestion_are_marked(make_project: Any, tmp_path: Path) -> None:
    project = make_project(responses(4))
    label(project, "Ann", count=2)
    file = scored(tmp_path / "scores.jsonl", responses(3))
    shown = suggestions.show_suggestions(project, file, ReadOptions())
    assert (shown.scorer, shown.items) == ("lexical", 6)
    label(project, "Ann")
    suggestions.hide_suggestions(project)
    label(project, "Bob")
    marked = Counter(
        (x["annotator"], x.get("suggested"), x.get("suggested_by")) for x in lines(project)
    )
    assert marked["Bob", None, None] == 8
    assert marked["Ann", 1, "lexical"] >= 4
    assert marked["Ann", None, None] >= 2
    single = lines(project, what="majority")
    assert sum(line.get("n_suggested", 0) for line in single) == marked["Ann", 1, "lexical"]
    with pytest.raises(UsageError, match="nothing was changed"):
        suggestions.hide_suggestions(project)
    assert verify(project).problems == ()


def test_suggestions_must_not_give_controls_away(project: Project, tmp_path: Path) -> None:
    rows = responses(12, ("secret-model-1",))
    with pytest.raises(InputError, match="recognise"):
        suggestions.show_suggestions(project, scored(tmp_path / "s.jsonl", rows), ReadOptions())
    two = [*scored_rows(rows, "A"), *scored_rows(rows[:1], "B")]
    with pytest.raises(InputError, match="one scorer"):
        suggestions.show_suggestions(project, write(tmp_path / "t.jsonl", two), ReadOptions())
    foreign = scored(tmp_path / "u.jsonl", responses(2, ("alpha",)))
    with pytest.raises(InputError, match="no score for any item"):
        suggestions.show_suggestions(project, foreign, ReadOptions())


def scored_rows(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [{**row, "score": 1, "scorer": name} for row in rows]


def test_a_suggestion_is_marked_on_the_page(project: Project, base: str, tmp_path: Path) -> None:
    rows = [*responses(12, ("secret-model-1",)), *known(4, "control-model")]
    file = scored(tmp_path / "s.jsonl", rows, "<b>S</b>")
    with Visitor(base, project.links["Ann"]) as ann:  # type: ignore[attr-defined]
        ann.get("/work")
        assert "suggested" in ann.page
        assert 'id="suggested"' not in ann.page
        suggestions.show_suggestions(project, file, ReadOptions())
        ann.get("/work")
        assert 'id="suggested"' in ann.page
        assert "<b>S</b>" not in ann.page
        ann.post("/work", do="3", suggested="1", guideline="0")
    assert [line["suggested"] for line in lines(project, what="all")] in ([1], [])


def test_more_items_come_last_and_keep_their_chances(make_project: Any, tmp_path: Path) -> None:
    rows = responses(20, ("alpha",))
    project = make_project(rows, sample=5)
    label(project, "Ann")
    early = export(project)
    source = tmp_path / "responses.jsonl"
    with pytest.raises(UsageError, match="were drawn from by"):
        add_items(project, AddOptions(sources=(str(source),), stratify=("model",)))
    added = add_items(project, AddOptions(sources=(str(source),), sample=5))
    assert (added.items, added.repeated, added.topped_up) == (5, 5, True)
    label(project, "Ann")
    found = lines(project)
    assert len(found) == 10
    for line in found:
        assert line["inclusion_probability"] == line["stratum_drawn"] / line["stratum_size"]
    sizes = {line["stratum"]: line["stratum_size"] for line in found}
    drawn = Counter(line["stratum"] for line in found)
    assert sum(sizes.values()) == 20
    assert all(line["stratum_drawn"] == drawn[line["stratum"]] for line in found)
    assert export(project, until=early.seq).text == early.text
    assert verify(project).problems == ()
    fresh = write(tmp_path / "new.jsonl", [{**r, "model": "beta"} for r in rows[:6]])
    again = add_items(project, AddOptions(sources=(str(fresh),), per_item=1))
    assert (again.items, again.topped_up) == (6, False)
    assert project_status(project).population == 26
    label(project, "Bob")
    label(project, "Ann")
    assert {x["inclusion_probability"] for x in lines(project) if x["model"] == "beta"} == {1.0}
    mixed = write(tmp_path / "mixed.jsonl", rows)
    (tmp_path / "mixed.jsonl").write_text(mixed.read_text("utf-8") + "\n", "utf-8")
    with pytest.raises(InputError, match="items already"):
        add_items(project, AddOptions(sources=(str(mixed),)))
    assert verify(project).problems == ()


def test_people_who_come_later_get_the_added_items(make_project: Any, tmp_path: Path) -> None:
    project = make_project(responses(3, ("alpha",)))
    more = write(tmp_path / "more.jsonl", responses(3, ("beta",)))
    people.admit(project, "Bob", False)
    add_items(project, AddOptions(sources=(str(more),)))
    people.admit(project, "Bob", True)
    assert len(refs(project, "Bob")) == len(refs(project, "Ann")) == 6
    assert verify(project).problems == ()


def test_a_project_of_the_first_version_can_do_all_of_it(make_local: Any) -> None:
    project = make_local(responses(4))
    label(project, "Ann", count=2)
    with project.database.write() as connection:
        for statement in AS_THE_FIRST_VERSION:
            connection.exec_driver_sql(statement)
    with open_project(project.path) as again:
        rules.publish_guideline(again, "# 一", "")
        people.set_quota(again, "Ann", 3)
        batches.assign_batch(again, "b", BatchOptions(people=("Ann", "Bob"), count=2))
        label(again, "Ann")
        assert verify(again).problems == ()
        assert verify(again).labels == 3


def test_leads_decide_on_their_page(project: Project, base: str) -> None:
    with Visitor(base, project.links["lead"]) as lead:  # type: ignore[attr-defined]
        lead.get("/lead/plan")
        fields: dict[str, Any] = {"who": ["Ann", "Bob"]}
        assert lead.post("/lead/plan", do="assign", name="<i>b</i>", count="3", **fields) == 200
        assert "<i>b</i>" not in lead.page
        assert lead.post("/lead/plan", do="assign", name="c", count="x", **fields) == 422
        assert lead.post("/lead/plan", do="assign", name="c", count="1", who="Ann") == 422
        assert lead.post("/lead/plan", do="quota", name="Ann", quota="7") == 200
        assert 'value="7"' in lead.page
        assert lead.post("/lead/plan", do="rules", reason="yes") == 200
        assert "checked" in lead.page
        assert lead.post("/lead/plan", do="hide") == 422
        assert lead.post("/lead/plan", do="free", name="<i>b</i>") == 200
    with Visitor(base, project.links["Ann"]) as ann:  # type: ignore[attr-defined]
        assert ann.get("/lead/plan") == 403
        assert ann.get("/lead/guideline") == 403
        assert ann.get("/comments") == 200
    assert verify(project).problems == ()


def test_comments_go_both_ways_on_the_pages(project: Project, base: str) -> None:
    links = project.links  # type: ignore[attr-defined]
    with Visitor(base, links["Ann"]) as ann, Visitor(base, links["lead"]) as lead:
        [task] = label(project, "Ann", count=1)
        ann.get(f"/comments?item={task.ref}")
        assert ann.post("/comments", item=task.ref, text="<script>1</script>") == 200
        assert "<script>1" not in ann.page
        lead.get(f"/lead/item/{task.ref}")
        assert "&lt;script&gt;1" in lead.page
        assert lead.post("/comments", item=task.ref, text="thanks", to="Ann", back="item") == 200
        assert "thanks" in lead.page
        ann.get("/comments")
        assert "thanks" in ann.page
    with Visitor(base, links["Bob"]) as bob:
        bob.get("/comments")
        assert "thanks" not in bob.page
        assert bob.post("/comments", item=task.ref, text="x") == 422
    with Visitor(base, links["Cat"]) as cat:
        assert cat.get("/comments") == 403


def test_pages_do_not_compile_their_templates_again(project: Project, base: str) -> None:
    with Visitor(base, project.links["lead"]) as lead:  # type: ignore[attr-defined]
        for language in ("zh", "en"):
            lead.http.headers["accept-language"] = language
            lead.get("/lead/plan")
        before = environment.cache_info()
        for path in ("/lead/plan", "/lead/people", "/lead/guideline", "/lead"):
            assert lead.get(path) == 200
    assert environment.cache_info().currsize == before.currsize
