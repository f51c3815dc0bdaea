"""Self-contained pages: one HTML file, offline, Chinese and English, nothing loaded, all escaped.

A page extends `base.html.jinja` and holds the words of `strings.json` in both languages. Its
Content-Security-Policy allows the page's own style and scripts by their hashes and nothing else.

In a template:

    {{ t("key", n=3) }}                    words in both languages (`tt` inside SVG text)
    {{ both(dimension.label) }}            a `Text` in both languages (`both_svg` inside SVG text)
    <input {{ attrs(placeholder="key") }}> attributes that follow the language (`text="key"`: the
                                           element's own text, for <option>)

Scripts find the helpers of `base.js` in the global `flames`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from flames import __version__
from flames.options import LocaleLanguage
from flames.reports.tables import Cell, Number, Share, Stack, Strong, cell_text
from flames.reports.words import LANGUAGES, load_strings
from flames.taxonomy import Language, Text
from flames.text import for_terminal, utf8_safe

if TYPE_CHECKING:
    from jinja2 import Environment

_HTML_LANG = {"zh": "zh-Hans", "en": "en"}
_IN_SCRIPT = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


def script_json(data: Any) -> Markup:
    """Returns JSON that is safe inside a `<script>` element, whatever text it holds."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(_IN_SCRIPT.sub(lambda found: f"\\u{ord(found[0]):04x}", text))  # noqa: S704


def render_page(template: str, *, title: Text, data: Any = None, **how: Any) -> str:
    """Renders a page as `page_parts` does; scripts get `data` as `flames.data`."""
    return "".join(page_parts(template, title=title, data=lambda: data, **how))


def page_parts(
    template: str,
    *,
    title: Text,
    data: Callable[[], Any],
    blocks: Iterable[str] = (),
    lang: Language = "zh",
    styles: Sequence[str] = (),
    scripts: Sequence[str] = (),
    remember: bool = False,
    **context: Any,
) -> Iterator[str]:
    """Yields a page that extends `base.html.jinja`, piece by piece; only one is in memory.

    In a language that nobody chose (see `LocaleLanguage`) the page follows its reader's browser.

    Args:
        data: Makes what scripts get as `flames.data`; called once all `blocks` are written.
        blocks: Texts in base64, each an element `script.block` before the data.
        remember: A reader's choice of language holds for later pages of the site.
    """
    env = environment("flames.reports")
    words = load_strings()
    style = _joined(env, ("base.css", *styles))
    script = _joined(env, ("base.js", *scripts))
    spoken = {key[3:]: [text.zh, text.en] for key, text in words.items() if key.startswith("js.")}
    blocks_mark, data_mark = (secrets.token_hex(16) for _ in range(2))
    html = env.get_template(template).render(
        **_helpers(lang),
        **context,
        title=title,
        lang=lang,
        html_lang=_HTML_LANG[lang],
        follow=isinstance(lang, LocaleLanguage),
        remember=remember,
        version=__version__,
        style=Markup(style),  # noqa: S704  (files of the package)
        script=Markup(script),  # noqa: S704
        csp=(
            f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
            "img-src data:; base-uri 'none'; form-action 'none'"
        ),
        words_json=script_json(spoken),
        blocks_here=blocks_mark,
        data_json=data_mark,
    )
    html = utf8_safe(html.replace("\x00", "\N{REPLACEMENT CHARACTER}"))
    head, rest = html.split(blocks_mark)
    middle, tail = rest.split(data_mark)
    yield head
    for block in blocks:
        yield f'<script type="text/plain" class="block">{block}</script>\n'
    yield middle
    yield script_json(data())
    yield tail


@cache
def environment(package: str, **filters: Callable[..., Any]) -> Environment:
    """Returns the environment of a package's templates, in which all text is safe and escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    env = Environment(
        loader=PackageLoader(package, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=safe_value,
        auto_reload=False,
    )
    env.filters.update(filters)
    return env


def safe_value(value: Any) -> Any:
    """Returns a number, or untrusted text with `�` for marks that hide or reorder text."""
    if isinstance(value, Number):
        return _number(value)
    return for_terminal(value, one_line=False) if type(value) is str else value


def _number(cell: Number) -> Markup:
    value = escape(cell.value)
    if cell.strong:
        value = Markup("<b>{}</b>").format(value)
    ends = Markup(' <span class="ci">{}</span>').format(cell.interval)
    return value + ends if cell.interval else value


def _small(text: str) -> Markup:
    return Markup(' <span class="ci">{}</span>').format(text)


def _joined(env: Environment, names: Sequence[str]) -> str:
    assert env.loader is not None
    return "\n".join(env.loader.get_source(env, name)[0].replace("\r\n", "\n") for name in names)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _say(text: Text, lang: Language, values: Mapping[str, Any]) -> Markup:
    """The words in one language, `{name}` replaced by escaped values."""
    if not values:
        return escape(safe_value(text(lang)))  # somebody's taxonomy may hold braces
    spoken = {
        name: safe_value(value(lang) if isinstance(value, Text) else value)
        for name, value in values.items()
    }
    return escape(text(lang)).format(**spoken)


def _helpers(lang: Language) -> dict[str, Any]:
    words = load_strings()

    def both(text: Text, /, tag: str = "span", **values: Any) -> Markup:
        if text.zh == text.en and not values:
            return escape(safe_value(text.en))
        return Markup("").join(
            Markup('<{0} class="t" lang="{1}">{2}</{0}>').format(
                tag, _HTML_LANG[each], _say(text, each, values)
            )
            for each in LANGUAGES
        )

    def t(key: str, /, **values: Any) -> Markup:
        return both(words[key], **values)

    def tt(key: str, /, **values: Any) -> Markup:
        return both(words[key], "tspan", **values)

    def attrs(values: Mapping[str, Any] | None = None, /, **names: str | Text) -> Markup:
        texts = {
            name.replace("_", "-"): {
                each: str(_say(_text(what), each, values or {}).unescape()) for each in LANGUAGES
            }
            for name, what in names.items()
        }
        now = Markup(" ").join(
            Markup('{}="{}"').format(name, by_lang[lang])
            for name, by_lang in texts.items()
            if name != "text"
        )
        return Markup('{} data-l10n="{}"').format(now, json.dumps(texts, ensure_ascii=False))

    def _text(what: str | Text) -> Text:
        return what if isinstance(what, Text) else words[what]

    def word(what: str | Text, /, **values: Any) -> Markup:
        return _say(_text(what), lang, values)

    def show(cell: Cell) -> Markup:
        match cell:
            case Text():
                return both(cell)
            case Strong():
                return Markup("<b>{}</b>").format(show(cell.text))
            case Number():
                return _number(cell)
            case Stack():
                value, *rest = cell.texts
                first = Markup("<b>{}</b>").format(value) if cell.strong else escape(value)
                return first + Markup("").join(map(_small, rest))
            case Share() if cell.remark:
                return escape(cell_text(cell, lang)) + _small(both(cell.remark))
            case _:
                return escape(cell_text(cell, lang))

    return {
        "t": t, "tt": tt, "both": both, "both_svg": partial(both, tag="tspan"), "attrs": attrs,
        "word": word, "show": show,
    }  # fmt: skip
