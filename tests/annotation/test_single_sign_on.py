"""Signing in by the header of a proxy, from the proxy alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from annotating import served

from flames.annotation import people, verify
from flames.annotation.events import read_events
from flames.annotation.options import ServeOptions
from flames.errors import UsageError

HEADER = "X-Remote-User"


@contextmanager
def behind(
    project: Any, proxies: str | None = "10.0.0.9, 127.0.0.0/8", header: str | None = HEADER
) -> Iterator[httpx.Client]:
    with (
        served(project, proxies=proxies, sso_header=header) as base,
        httpx.Client(base_url=base, follow_redirects=True, timeout=60) as http,
    ):
        yield http


def of(name: str) -> dict[str, Any]:
    # The proxy also names the client, which is not the proxy.
    return {HEADER: name.encode(), "X-Forwarded-For": b"203.0.113.7"}


def test_whom_the_proxy_names_is_signed_in(make_local: Any) -> None:
    project = make_local(annotators=("Ann", "李雷"))
    with behind(project) as http:
        for name in ("ann", "李雷"):
            page = http.get("/", headers=of(name))
            assert page.url.path == "/guide"
            assert page.status_code == 200
            assert (name if name != "ann" else "Ann") in page.text
        page = http.get("/lead", headers=of("李雷"))
        assert page.status_code == 403
        assert http.get("/lead", headers=of("lead")).url.path == "/lead"
    with project.database.read() as connection:
        by = [e.data["by"] for e in read_events(connection) if e.kind == "signed_in"]
    assert by == ["proxy"] * 3
    assert verify(project).problems == ()


def test_another_person_does_not_inherit_the_browser(make_local: Any) -> None:
    project = make_local()
    with behind(project) as http:
        assert "Ann" in http.get("/work", headers=of("Ann")).text
        page = http.get("/work", headers=of("Bob"))
        assert "Bob" in page.text
        assert "Ann" not in page.text


def test_strangers_are_refused(make_local: Any) -> None:
    project = make_local()
    people.admit(project, "Bob", False)
    with behind(project) as http:
        for name in ("Eve", "Bob", "", "Ann\ufffd"):
            page = http.get("/work", headers=of(name))
            assert page.url.path == "/signin"
            assert page.status_code == (403 if name else 200)


@pytest.mark.parametrize(
    ("proxies", "header"), [("10.0.0.9", HEADER), (None, None), ("127.0.0.1", None)]
)
def test_nobody_else_is_believed(make_local: Any, proxies: str | None, header: Any) -> None:
    with behind(make_local(), proxies, header) as http:
        page = http.get("/work", headers=of("Ann"))
        assert page.url.path == "/signin"
        assert page.status_code == 200


def test_a_header_that_comes_twice_is_not_believed(make_local: Any) -> None:
    with behind(make_local()) as http:
        page = http.get("/work", headers=[(HEADER, "Ann"), (HEADER, "lead")])
        assert page.url.path == "/signin"


def test_it_needs_the_address_of_the_proxy(make_local: Any, tmp_path: Path, flames: Any) -> None:
    make_local()
    for more in ([], ["--proxies", "*"], ["--proxies", "localhost"]):
        code, _, err = flames("annotate", "serve", tmp_path / "project", "--port", 0,
                              "--sso-header", HEADER, *more)  # fmt: skip
        assert code == 2
        assert "--proxies" in err
        assert err.count("\n") == 1
    with pytest.raises(UsageError, match="--sso-header"):
        ServeOptions(sso_header="a: b", proxies="127.0.0.1")
