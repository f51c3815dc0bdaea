"""Pages from templates, in the reader's language.

Untrusted text is escaped; characters that hide or reorder text are shown by their number.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import count
from typing import Any

from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse

from flames.annotation.people import LoginSession
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

    def t(key: str, /, **values: Any) -> Markup:
        safe = {name: safe_value(value) for name, value in values.items()}
        return Markup(escape(strings[key](lang)).format(**safe))  # noqa: S704  (escaped)

    notice = f"notice.{notice or request.query_params.get('notice')}"
    env = environment("flames.annotation.web", visible=mark_hidden_characters)
    html = env.get_template(f"{template}.jinja").render(
        t=t,
        lang=lang,
        html_lang="zh-Hans" if lang == "zh" else "en",
        say=lambda text: text(lang),
        person=session.person if session else None,
        csrf=session.csrf if session else None,
        unsaved=unsaved,
        notice=notice if notice in strings else None,
        path=request.url.path,
        settle=round(request.app.state.settle * 1000),
        project=request.app.state.project.settings,
        **context,
    )  # fmt: skip
    return HTMLResponse(utf8_safe(html), status_code)


# What `flames.text` replaces for terminals, here shown instead; line breaks are kept.
_HIDDEN = re.compile(
    "([\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f])\\1*"
)
_JOINER = "\u200d"
_MOST = 2_000  # characters shown by number; a text with more is an attack, the rest become `�`


def mark_hidden_characters(text: str | None) -> Markup:
    """Escapes a text for HTML and shows hidden characters by number, but joiners of emoji."""
    plain = (text or "").replace("\r\n", "\n").replace("\r", "\n")
    shown = count()

    def mark(found: re.Match[str]) -> str:
        if found[0] == _JOINER and _between_emoji(found.string, found.start()):
            return _JOINER
        return _badge(found[1], len(found[0])) if next(shown) < _MOST else "\ufffd"

    return Markup(_HIDDEN.sub(mark, escape(plain)))  # noqa: S704  (escaped)


def _between_emoji(text: str, at: int) -> bool:
    around = text[max(at - 1, 0) : at] + text[at + 1 : at + 2]
    return len(around) == 2 and all(
        unicodedata.category(char) in ("So", "Sk", "Mn") for char in around
    )


def _badge(mark: str, length: int) -> Markup:
    number = f"U+{ord(mark):04X}" + (f"×{length}" if length > 1 else "")
    name = unicodedata.name(mark, "CONTROL")
    return Markup('<span class="mark" title="{}">{}</span>').format(name, number)
