"""Pages from templates, in the reader's language.

Untrusted text on its way into a page: marks that hide or reorder text are shown by number.

Two small charts as SVG, drawn with attributes alone (the policy allows no inline style).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse

from flames import __version__
from flames.annotation.people import LoginSession
from flames.annotation.project import Project
from flames.metrics.result import Estimate
from flames.reports.words import load_strings
from flames.taxonomy import Language, Text
from flames.text import for_terminal

_PACKAGE = "flames.annotation.web"
HTML_LANG: dict[Language, str] = {"zh": "zh-Hans", "en": "en"}

STATIC = {
    "base.css": ("flames.reports", "templates/base.css", "text/css"),
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
    env.filters["visible"] = mark_hidden_characters
    return env


def _shown(value: Any) -> Any:
    return for_terminal(value, one_line=False) if type(value) is str else value


@cache
def words() -> dict[str, Text]:
    """The pages' words."""
    return load_strings()


def language(request: Request, session: LoginSession | None) -> Language:
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
    session: LoginSession | None = None,
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


# What `flames.text` replaces for terminals, here shown instead; line breaks are kept.
_HIDDEN = re.compile(
    "(?:[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f])"
)
_JOINER = "\u200d"
_MOST = 2_000
"""Marks shown by number; beyond that many a text is an attack, and they become `�`."""


def mark_hidden_characters(text: str | None) -> Markup:
    """A text as HTML: escaped, and what cannot be seen made visible.

    A joiner between two emoji stays what it is; a run of the same mark is shown once with its
    length.
    """
    plain = (text or "").replace("\r\n", "\n").replace("\r", "\n")
    parts: list[Markup] = []
    end = shown = 0
    position = 0
    while found := _HIDDEN.search(plain, position):
        start, mark = found.start(), found[0]
        position = start + 1
        if mark == _JOINER and _between_emoji(plain, start):
            continue
        while position < len(plain) and plain[position] == mark:
            position += 1
        parts.append(escape(plain[end:start]))
        parts.append(_badge(mark, position - start) if shown < _MOST else Markup("\ufffd"))
        shown, end = shown + 1, position
    parts.append(escape(plain[end:]))
    return Markup("").join(parts)


def _between_emoji(text: str, at: int) -> bool:
    around = text[max(at - 1, 0) : at] + text[at + 1 : at + 2]
    return len(around) == 2 and all(
        unicodedata.category(char) in ("So", "Sk", "Mn") for char in around
    )


def _badge(mark: str, length: int) -> Markup:
    number = f"U+{ord(mark):04X}" + (f"×{length}" if length > 1 else "")
    name = unicodedata.name(mark, "CONTROL")
    return Markup('<span class="mark" title="{}">{}</span>').format(name, number)


_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 640.0, 150.0, 38.0, 22.0, 10.0


def _short(start: str) -> str:
    """A bucket's beginning: the hour, or the day."""
    return f"{start[11:13]}:00" if len(start) > len("2026-11-22") else start[5:]


def _frame(body: list[Markup], starts: Sequence[str], top: str) -> Markup:
    step = (_WIDTH - _LEFT) / max(len(starts), 1)
    every = max(1, len(starts) // 8)
    for index, start in enumerate(starts):
        if index % every == 0:
            x = _LEFT + step * (index + 0.5)
            body.append(
                Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>').format(
                    x, _HEIGHT - 6, _short(start)
                )
            )
    base = _HEIGHT - _BOTTOM
    body.append(
        Markup(
            '<line class="axis" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/>'
            '<text x="{3}" y="{4}" text-anchor="end">{5}</text>'
            '<text x="{3}" y="{2}" text-anchor="end">0</text>'
        ).format(_LEFT, _WIDTH, base, _LEFT - 6, _TOP + 8, top)
    )
    return Markup('<svg class="chart" viewBox="0 0 {} {}" aria-hidden="true">{}</svg>').format(
        _WIDTH, _HEIGHT, Markup("").join(body)
    )


def bars(rows: Sequence[tuple[str, int]]) -> Markup:
    """Counts over time."""
    most = max((count for _, count in rows), default=0) or 1
    step = (_WIDTH - _LEFT) / max(len(rows), 1)
    width = min(step * 0.7, 48.0)
    room = _HEIGHT - _BOTTOM - _TOP
    body = [
        Markup(
            '<rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="2">'
            "<title>{}: {}</title></rect>"
        ).format(
            _LEFT + step * (index + 0.5) - width / 2,
            _TOP + room * (1 - count / most),
            width,
            room * count / most,
            _short(start),
            count,
        )
        for index, (start, count) in enumerate(rows)
    ]
    return _frame(body, [start for start, _ in rows], str(most))


def dots(rows: Sequence[tuple[str, Estimate | None]]) -> Markup:
    """Percentages over time with their intervals."""
    step = (_WIDTH - _LEFT) / max(len(rows), 1)
    room = _HEIGHT - _BOTTOM - _TOP

    def y(value: float) -> float:
        return _TOP + room * (1 - value / 100)

    body = []
    for index, (start, estimate) in enumerate(rows):
        if estimate is not None:
            x = _LEFT + step * (index + 0.5)
            body.append(
                Markup(
                    '<g class="dot"><title>{4}: {5:.0f} % ({6:.0f}–{7:.0f})</title>'
                    '<line x1="{0:.1f}" x2="{0:.1f}" y1="{1:.1f}" y2="{2:.1f}"/>'
                    '<circle cx="{0:.1f}" cy="{3:.1f}" r="4"/></g>'
                ).format(
                    x,
                    y(estimate.low),
                    y(estimate.high),
                    y(estimate.value),
                    _short(start),
                    estimate.value,
                    estimate.low,
                    estimate.high,
                )
            )
    return _frame(body, [start for start, _ in rows], "100 %")
