"""Leads filter the disagreements and decide items from their pages."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

import pytest
from annotating import Visitor, label, served

from flames.annotation import Project, project_status, verify
from flames.reports.words import say


@pytest.fixture
def project(make_local: Any) -> Project:
    made: Project = make_local()
    label(made, "Ann", 3)
    label(made, "Bob", lambda task: task.dimension.scale[-1])
    return made


@pytest.fixture
def lead(project: Any) -> Iterator[Visitor]:
    with served(project) as base, Visitor(base, project.links["lead"]) as visitor:
        yield visitor


def refs(visitor: Visitor, query: str = "") -> list[str]:
    assert visitor.get(f"/lead/disagreements{query}") == 200
    return re.findall(r"/lead/item/(\w+)", visitor.page)


def test_decide_from_the_page_of_an_item(lead: Visitor, project: Project) -> None:
    every = refs(lead)
    assert len(every) == 24
    path = f"/lead/item/{every[0]}"
    lead.get(path)
    for wrong in ({"score": "3"}, {"reason": "why"}, {"score": "9", "reason": "why"},
                  {"score": "x", "reason": "why"}):  # fmt: skip
        assert lead.post(path, **wrong) == 422
        assert html.escape(say("item.refused").en) in lead.page or say("item.refused").zh in (
            html.unescape(lead.page)
        )
    assert "why" in lead.page  # what was written is still there
    assert project_status(project).adjudicated == 0
    assert lead.post(path, score="3", reason="<b>clear</b>") == 200
    assert "&lt;b&gt;clear&lt;/b&gt;" in lead.page
    assert 'name="reason"' not in lead.page
    assert project_status(project).adjudicated == 1
    assert lead.post(path, score="3", reason="again") == 422
    lead.get(f"/lead/item/{every[1]}")
    assert lead.post(f"/lead/item/{every[1]}", score="none", reason="unclear") == 200
    assert set(refs(lead, "?state=decided")) == set(every[:2])
    assert set(refs(lead, "?state=open")) == set(every[2:])
    assert verify(project).problems == ()


def test_filters_come_together(lead: Visitor) -> None:
    every = set(refs(lead))
    names = re.findall(r'<option value="([^"]+)"', lead.page)
    assert {"Ann", "Bob", "open", "decided"} <= set(names)
    dimensions = [name for name in names if name not in ("Ann", "Bob", "open", "decided")]
    parts = [set(refs(lead, f"?dimension={name.replace(' ', '+')}")) for name in dimensions]
    assert set().union(*parts) == every
    assert sum(map(len, parts)) == len(every)
    assert set(refs(lead, "?person=Ann&state=open")) == every
    assert refs(lead, "?person=Nobody") == []
    assert refs(lead, "?dimension=%22%3E%3Cscript%3E&state=x&page=9999") == []
    assert "<script>" not in lead.page.replace('<script src="', "")


def test_nobody_else_decides_there(lead: Visitor, project: Any) -> None:
    ref = refs(lead)[0]
    with Visitor(str(lead.http.base_url).rstrip("/"), project.links["Cat"]) as cat:
        cat.get("/account")
        assert cat.post(f"/lead/item/{ref}", score="3", reason="mine") == 403
    assert (
        lead.http.post(f"/lead/item/{ref}", data={"score": "3", "reason": "x"}).status_code == 403
    )
    assert project_status(project).adjudicated == 0
