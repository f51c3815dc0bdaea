"""Pages from templates, in the reader's language.

Untrusted text is escaped; `hidden` shows characters that hide or reorder text by their number.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from jinja2 import Environment
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse

from flames.annotation.access import LoginSession
from flames.annotation.web.hidden import Translate, mark_hidden_characters
from flames.annotation.web.markdown import render_markdown
from flames.reports.page import environment, safe_value
from flames.reports.words import load_strings
from flames.taxonomy import Language
from flames.text import utf8_safe


def language(request: Request, session: LoginSession | None) -> Language:
    """Returns the language that the reader chose, or the browser's, or the project's."""
    if session is not None and session.person.lang is not None:
        return session.person.lang
    for part in request.headers.get("accept-language", "").split(","):
        code = part.split(";")[0].strip().lower()
        if code.startswith("zh"):
            return "zh"
        if code.startswith("en"):
            return "en"
    lang: Language = request.app.state.project.settings.lang
    return lang


@cache
def _environment(lang: Language) -> tuple[Environment, Translate]:
    """Returns the templates with the strings of a language; made once, as compiling takes long."""
    strings = load_strings()

    @cache
    def plain(key: str) -> Markup:
        return Markup(escape(strings[key](lang)).format())  # noqa: S704  (escaped)

    def t(key: str, /, **values: Any) -> Markup:
        if not values:
            return plain(key)
        safe = {name: safe_value(value) for name, value in values.items()}
        return Markup(escape(strings[key](lang)).format(**safe))  # noqa: S704  (escaped)

    return environment("flames.annotation.web", visible=partial(mark_hidden_characters, t=t)), t


def render(
    request: Request,
    template: str,
    *,
    session: LoginSession | None = None,
    status_code: int = 200,
    notice: str | None = None,
    unsaved: str = "",
    **context: Any,
) -> HTMLResponse:
    """Renders a template in the reader's language.

    `notice` (or the query's) is a key of the strings under `notice.`: the result of the previous
    form; `unsaved` is the text of a form that could not be accepted, for the reader to copy.
    """
    lang, strings = language(request, session), load_strings()
    notice = f"notice.{notice or request.query_params.get('notice')}"
    env, t = _environment(lang)
    html = env.get_template(f"{template}.jinja").render(
        t=t,
        lang=lang,
        html_lang="zh-Hans" if lang == "zh" else "en",
        say=lambda text: text(lang),
        markdown=lambda text: render_markdown(text, t),
        person=session.person if session else None,
        csrf=session.csrf if session else None,
        unsaved=unsaved,
        notice=notice if notice in strings else None,
        root=request.app.state.root,
        path=request.url.path,
        settle=round(request.app.state.settle * 1000),
        project=request.app.state.project.settings,
        comments=session.comments if session else 0,
        **context,
    )  # fmt: skip
    return HTMLResponse(utf8_safe(html), status_code)
