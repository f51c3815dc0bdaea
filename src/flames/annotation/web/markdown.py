"""A lead's Markdown as HTML: without HTML of its own, images, or links that do anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from flames.annotation.web.hidden import Translate, mark_hidden_characters


def render_markdown(text: str, t: Translate) -> Markup:
    """Renders Markdown; headings stand below the page's own, hidden characters are shown."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")

    def shown(_: Any, tokens: Sequence[Token], number: int, *__: Any) -> str:
        return str(mark_hidden_characters(tokens[number].content, t))

    def code(*given: Any) -> str:
        return f"<code>{shown(*given)}</code>"

    def block(*given: Any) -> str:
        return f'<pre tabindex="0"><code>{shown(*given)}</code></pre>\n'

    for name, rule in {"text": shown, "code_inline": code, "code_block": block,
                       "fence": block}.items():  # fmt: skip
        parser.add_render_rule(name, rule)
    tokens = parser.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 1, 6)}"
    return Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704  (escaped)
