"""Thinking aloud taken out of an answer."""

from __future__ import annotations

import re

from flames.text import visible

_QUOTES = tuple("`'\"“‘「『")
_TAG = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE)


def split_reasoning(text: str) -> tuple[str, str]:
    """Splits `<think>…</think>` from an answer.

    A closing tag without an opening one ends reasoning that began before the text (some chat
    templates open it in the prompt); an opening tag without a closing one means that the answer
    was never reached, or, within an answer, is a part of it.

    Returns:
        The answer and the reasoning, both stripped where anything was split, else the text as
        it is and nothing.
    """
    tags = list(_TAG.finditer(text))
    if not tags:
        return text, ""
    answer: list[str] = []
    reasoning: list[str] = []
    position = depth = opened = thoughts = 0
    for tag in tags:
        piece = text[position : tag.start()]
        position = tag.end()
        if tag[1]:
            if depth == 0:
                reasoning, answer = [*reasoning, *answer, piece], []
            else:
                reasoning.append(piece)
            depth = 0
        else:
            (reasoning if depth else answer).append(piece)
            if depth == 0:
                depth, opened, thoughts = 1, tag.start(), len(reasoning)
    if depth and visible("".join(answer)):
        depth, position, reasoning = 0, opened, reasoning[:thoughts]
    (reasoning if depth else answer).append(text[position:])
    return "".join(answer).strip(), "\n".join(filter(None, map(str.strip, reasoning)))


def split_opening(text: str) -> tuple[str, str]:
    """As `split_reasoning`, for responses from elsewhere, which may speak of the tags.

    Only text that begins with a tag, or whose first tag is a closing one (no quotation mark
    before it), is split; any other is the answer as it is.
    """
    tag = _TAG.search(text)
    if tag is None:
        return text, ""
    before = text[: tag.start()]
    if before.endswith(_QUOTES) if tag[1] else visible(before):
        return text, ""
    return split_reasoning(text if tag[1] else text[tag.start() :])
