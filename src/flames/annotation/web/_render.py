"""Pages from templates, in the reader's language."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse

from flames import __version__
from flames.annotation._project import Project
from flames.annotation.people import Session
from flames.annotation.web._text import visible
from flames.report.page import load_strings
from flames.taxonomy import Language, Text
from flames.text import for_terminal

_PACKAGE = "flames.annotation.web"
HTML_LANG: dict[Language, str] = {"zh": "zh-Hans", "en": "en"}

STATIC = {
    "base.css": ("flames.report", "templates/base.css", "text/css"),
    "app.css": (_PACKAGE, "static/app.css", "text/css"),
    "app.js": (_PACKAGE, "static/app.js", "text/javascript"),
    "icon.svg": (_PACKAGE, "static/icon.svg", "image/svg+xml"),
}


@cache
def environment() -> Environment:
    """The templates. All they show is escaped; marks that hide or reorder text are replaced.

    The filter `visible` shows such marks by number instead, where people judge the text.
    """
    env = Environment(
        loader=PackageLoader(_PACKAGE, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    env.filters["visible"] = visible
    return env


def _shown(value: Any) -> Any:
    return for_terminal(value, one_line=False) if type(value) is str else value


@cache
def words() -> dict[str, Text]:
    """The pages' words."""
    return load_strings(_PACKAGE)


def language(request: Request, session: Session | None) -> Language:
    """The reader's: as they chose, or as their browser asks, or the project's."""
    if session is not None and session.person.lang is not None:
        return session.person.lang
    for part in request.headers.get("accept-language", "").split(","):
        code = part.split(";")[0].strip().lower()
        if code.startswith("zh"):
            return "zh"
        if code.startswith("en"):
            return "en"
    project: Project = request.app.state.project
    return project.settings.lang


def render(
    request: Request,
    template: str,
    *,
    session: Session | None = None,
    status_code: int = 200,
    said: str | None = None,
    unsaved: str = "",
    **context: Any,
) -> HTMLResponse:
    """A page.

    Args:
        request: What is answered.
        template: File name, without `.jinja`.
        session: Who reads; decides language and navigation, and gives forms their CSRF token.
        status_code: Of the answer.
        said: What came of the form before: a key of the words under `said.`; the address may
            name one, too.
        unsaved: What the reader wrote in a form that could not be taken, to be copied from here.
        **context: What the template uses.
    """
    lang = language(request, session)

    def t(key: str, /, **values: Any) -> Markup:
        shown = {name: _shown(value) for name, value in values.items()}
        return Markup(escape(words()[key](lang)).format(**shown))  # noqa: S704  (escaped)

    said = said or request.query_params.get("said")
    html = (
        environment()
        .get_template(f"{template}.jinja")
        .render(
            t=t,
            lang=lang,
            html_lang=HTML_LANG[lang],
            say=lambda text: text(lang),
            session=session,
            person=session.person if session else None,
            csrf=session.csrf if session else None,
            unsaved=unsaved,
            notice=f"said.{said}" if said and f"said.{said}" in words() else None,
            path=request.url.path,
            project=request.app.state.project.settings,
            version=__version__,
            **context,
        )
    )
    return HTMLResponse(html.encode("utf-8", "replace"), status_code)


@cache
def static_file(name: str) -> tuple[bytes, str] | None:
    """A file that pages load, with its media type."""
    if name not in STATIC:
        return None
    package, path, kind = STATIC[name]
    return resources.files(package).joinpath(path).read_bytes(), kind
