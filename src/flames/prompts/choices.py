"""Multiple-choice questions: their options and right answer, and how they are asked.

A prompt of this kind carries `options`, a list of texts, and `answer`, the letter of the right one
if it is known, beside its ordinary fields. Its text is the whole question with the options.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flames.records import seeded_order

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LONGEST = 20_000
_LINE = re.compile(r"^[ \t\u3000]*([A-Z])[ \t]*[.．、:：)）][ \t]*(\S.*?)[ \t]*$", re.MULTILINE)
_SLOT = re.compile(r"(\{question\}|\{options\})")


class Choice(NamedTuple):
    """The options of a question, and the letter of the right one, if known."""

    options: tuple[str, ...]
    answer: str | None = None

    @property
    def letters(self) -> str:
        """The letters of the options."""
        return LETTERS[: len(self.options)]

    def shuffled(self, question: str, seed: int) -> Choice:
        """Returns the options in another order, which depends on the question and the seed."""
        key = seeded_order(seed)
        order = sorted(range(len(self.options)), key=lambda n: key(f"{question}\n{n}"))
        right = None if self.answer is None else order.index(LETTERS.index(self.answer))
        options = tuple(self.options[n] for n in order)
        return Choice(options, None if right is None else LETTERS[right])


def choice_of(fields: Mapping[str, Any]) -> Choice | None:
    """Returns the choice that a record's fields hold; None where they hold none.

    An answer that is none of the letters counts as not known.
    """
    options = fields.get("options")
    if not isinstance(options, Sequence) or isinstance(options, str):
        return None
    texts = tuple(each for each in options if isinstance(each, str) and each.strip())
    if len(texts) != len(options) or not 2 <= len(texts) <= len(LETTERS):
        return None
    answer = fields.get("answer")
    known = isinstance(answer, str) and len(answer) == 1 and answer in LETTERS[: len(texts)]
    return Choice(texts, answer if known else None)


def read_options(value: Any) -> tuple[str, ...] | None:
    """Reads the options of a source: a list, letters with their texts, or either as text.

    Returns None for anything else. Letters must be A, B, C, … without a gap.
    """
    if isinstance(value, str) and len(value) <= _LONGEST:
        value = _literal(value)
    if isinstance(value, Mapping):
        letters = [str(name).strip().upper() for name in value]
        if sorted(letters) != list(LETTERS[: len(letters)]):
            return None
        value = [text for _, text in sorted(zip(letters, value.values(), strict=True))]
    if not isinstance(value, list | tuple) or not 2 <= len(value) <= len(LETTERS):
        return None
    texts = tuple(
        str(each).strip() if isinstance(each, str | int | float) else "" for each in value
    )
    return texts if all(texts) else None


def _literal(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text.strip())  # JSON with single quotes is common
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def read_answer(value: Any, count: int, first: int = 0) -> str | None:
    """Reads the right answer of a source as a letter: a letter, or a number counted from `first`.

    Returns None for what names none of the options.
    """
    if isinstance(value, bool):
        return None
    text = str(value).strip().strip("()（）.．。").upper()
    if text.isdecimal() and len(text) < 4:
        place = int(text) - first
        return LETTERS[place] if 0 <= place < count else None
    return text if len(text) == 1 and text in LETTERS[:count] else None


def options_inside(question: str) -> tuple[str, tuple[str, ...]] | None:
    """Splits a question from the options that end it, a line each; None where there are none."""
    lines = list(_LINE.finditer(question))
    for start, first in enumerate(lines):
        letters = "".join(line[1] for line in lines[start:])
        if first[1] == "A" and len(letters) >= 2 and LETTERS.startswith(letters):
            texts = tuple(line[2] for line in lines[start:])
            return question[: first.start()].strip(), texts
    return None


def asked(template: str, question: str, choice: Choice) -> str:
    """Returns the text of a question as models are asked."""
    options = zip(choice.letters, choice.options, strict=True)
    slots = {
        "{question}": question.strip(),
        "{options}": "\n".join(f"{letter}. {text}" for letter, text in options),
    }
    return "".join(slots.get(part, part) for part in _SLOT.split(template.strip()))
