"""What a judge is shown of the conversation before a prompt; prompts of one turn know none of it.

It is added to the judge prompt, a user's own too, so that the messages about a prompt of one turn
stay the same to the letter and answers in a journal stay valid.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources

from flames.records import Response
from flames.taxonomy import Language
from flames.text import utf8_safe

BUILT_IN: Mapping[Language, str] = {"zh": "zh-turns-v1", "en": "en-turns-v1"}
"""The current file of each language; verdicts on such prompts carry its name."""

_PART = re.compile(r"^=== (\w+) ===$", re.M)


@cache
def _parts(lang: Language) -> dict[str, str]:
    file = resources.files("flames").joinpath("data", "judge", f"{BUILT_IN[lang]}.md")
    pieces = _PART.split(file.read_text("utf-8"))
    return dict(zip(pieces[1::2], (piece.strip() for piece in pieces[2::2]), strict=True))


def texts_before(response: Response) -> list[tuple[str, str]]:
    """Returns role and text of all that comes before the prompt, a system text first."""
    return [(role, utf8_safe(text)) for role, text in response.asked.before]


def whole_prompt(response: Response) -> str:
    """Returns the prompt with all that comes before it, which a fence must not stand in."""
    return "\n".join([*(text for _, text in texts_before(response)), response.prompt or ""])


def with_turns(
    system: str, user: str, response: Response, lang: Language, fence: str
) -> tuple[str, str]:
    """Returns the system and the user part with what comes before the prompt, if anything does."""
    before = texts_before(response)
    if not before:
        return system, user
    parts = _parts(lang)
    names = dict(line.split(" ", 1) for line in parts["roles"].splitlines())

    def turns() -> Iterator[str]:
        for role, text in before:
            yield _filled(parts["turn"], role=names[role], text=text, fence=fence)

    shown = _filled(parts["user"], turns="\n".join(turns()), fence=fence)
    return f"{system}\n\n{_filled(parts['system'], fence=fence)}", f"{shown}\n\n{user}"


def _filled(template: str, **values: str) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], template)
