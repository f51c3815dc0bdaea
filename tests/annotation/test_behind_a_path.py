"""The application under a path of its host, and two projects on one host."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from annotating import Visitor, responses, served

URL = "http://127.0.0.1/label"
ROOT = "/label"


@pytest.mark.parametrize("kept", [True, False], ids=["passed on", "taken off by the proxy"])
def test_every_page_and_asset_stays_under_the_path(make_local: Any, kept: bool) -> None:
    project = make_local()
    before = ROOT if kept else ""

    def inside(address: str) -> str:
        assert address.startswith(f"{ROOT}/"), address
        return before + address.removeprefix(ROOT)

    with served(project, public_url=URL) as base, httpx.Client(base_url=base) as http:
        for name in ("Ann", "Cat", "lead"):
            http.cookies.clear()
            seen, queue = set(), [f"{before}/join/{project.links[name]}"]
            page = http.get(queue[0])
            form = re.findall(r'name="form" value="([^"]+)"', page.text)[0]
            cookie = page.headers["set-cookie"]
            assert f"Path={ROOT};" in cookie
            token = cookie.partition(";")[0]
            answer = http.post(queue[0], data={"form": form}, headers={"cookie": token})
            token = answer.headers.get_list("set-cookie")[0].partition(";")[0]
            assert token.startswith(f"flames_session_{project.key}=")
            queue = [inside(answer.headers["location"]), f"{before}/", f"{before}/account"]
            while queue:
                if (path := queue.pop()) in seen:
                    continue
                seen.add(path)
                answer = http.get(path, headers={"cookie": token})
                assert answer.status_code in (200, 303), path
                if answer.status_code == 303:
                    queue.append(inside(answer.headers["location"]))
                if "html" in answer.headers.get("content-type", ""):
                    found = re.findall(r'(?:href|src|action)="([^"#]+)"', answer.text)
                    queue += [inside(link.replace("&amp;", "&")) for link in found
                              if not re.search("/(language|signout|password)$", link)]  # fmt: skip
            assert len(seen) > 6


def test_the_path_alone_leads_inside(make_local: Any) -> None:
    with served(make_local(), public_url=URL) as base:
        for path in ("/label", "/label/"):
            assert httpx.get(base + path).headers["location"] == "/label/signin"
        assert httpx.get(f"{base}/labels").status_code == 404


def test_links_begin_with_the_path(make_local: Any, tmp_path: Any, flames: Any) -> None:
    make_local(public_url="https://example.org/label/")
    _, out, _ = flames("annotate", "user", "link", tmp_path / "project", "Ann")
    assert out.startswith("https://example.org/label/join/")


def test_over_https_a_cookie_keeps_to_the_path(make_local: Any) -> None:
    project = make_local()
    with served(project, public_url="https://example.org/label") as base:
        cookie = httpx.get(f"{base}/label/signin").headers["set-cookie"]
    assert cookie.startswith(f"__Secure-flames_form_{project.key}=")
    assert {"Secure", "HttpOnly", "Path=/label"} <= set(cookie.split("; "))


def test_two_projects_on_a_host_do_not_sign_each_other_out(make_local: Any, tmp_path: Any) -> None:
    from annotating import write

    from flames.annotation import ProjectPlan, create_project

    first = make_local()
    source = write(tmp_path / "more.jsonl", responses(4))
    made = create_project(tmp_path / "second", ProjectPlan(sources=(source,), annotators=("Ann",)))
    with (
        made.project,
        served(first) as one,
        served(made.project) as two,
        Visitor(one, first.links["Ann"]) as ann,
        Visitor(two, made.links["Ann"]) as other,
    ):
        both = {**dict(ann.http.cookies), **dict(other.http.cookies)}
        assert len(both) == 2
        for base in (one, two):
            assert httpx.get(f"{base}/guide", cookies=both).status_code == 200
