"""Judge prompts: versioned files, filled with a rubric, with texts between fences.

A prompt file has three parts, each under its own line: `=== system ===`, `=== user ===` and
`=== reminder ===`. Placeholders are `{{name}}`; what replaces one is not searched for others. The
version is the file's name without suffix; for a user's file, with a checksum.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from flames.errors import InputError
from flames.models.base import Message
from flames.records import Response
from flames.scorers.judge.answers import fold
from flames.scorers.judge.turns import whole_prompt, with_turns
from flames.storage.text_files import read_text
from flames.taxonomy import Dimension, Language, Taxonomy
from flames.text import utf8_safe

BUILT_IN: Mapping[Language, str] = {"zh": "zh-v3", "en": "en-v3"}
"""The current prompt file of each language."""

_PART = re.compile(r"^===[ \t]*(\w+)[ \t]*===[ \t]*$", re.M)
_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_REMINDER = frozenset({"scale", "score_key"})
_NAMES = _REMINDER | set("dimension subcomponent definition rubric fence prompt response".split())
_RULINGS: Mapping[Language, str] = {"zh": "补充规则：", "en": "Rulings:"}
_UNKNOWN: Mapping[Language, str] = {"zh": "（未说明）", "en": "(not given)"}


@dataclass(frozen=True)
class JudgePrompt:
    """A judge prompt: its version in verdicts, the rubric's language, and the messages."""

    version: str
    lang: Language
    system: str
    user: str
    reminder: str

    @property
    def asks_stance(self) -> bool:
        """Whether it asks for the response's stance too."""
        return '"stance"' in self.system + self.user

    def messages(self, response: Response, taxonomy: Taxonomy) -> list[Message]:
        """Returns the messages that ask for a verdict on a response with dimension and prompt."""
        lang = self.lang
        dimension = taxonomy.dimension(response.dimension or "")
        part = dimension.subcomponent(response.subcomponent) if response.subcomponent else None
        definition = (part.definition if part else None) or dimension.definition
        prompt = utf8_safe(response.prompt or "")
        answer = utf8_safe(response.response or "")
        values = {
            "dimension": dimension.label(lang),
            "subcomponent": part.label(lang) if part else _UNKNOWN[lang],
            "definition": definition(lang) if definition else _UNKNOWN[lang],
            "rubric": rubric(taxonomy, dimension, response.subcomponent, lang),
            "scale": _scale(dimension),
            "score_key": score_key(response),
            "fence": fence(utf8_safe(whole_prompt(response)), answer),
            "prompt": prompt,
            "response": answer,
        }
        system, user = filled(self.system, values), filled(self.user, values)
        system, user = with_turns(system, user, response, lang, values["fence"])
        return [Message("system", system), Message("user", user)]

    def filled_reminder(self, dimension: Dimension, key: str) -> str:
        """Returns the reminder after an answer that could not be used."""
        return filled(self.reminder, {"scale": _scale(dimension), "score_key": key})


def fence(prompt: str, response: str, digits: int = 24) -> str:
    """Returns a hexadecimal number that neither text contains, however it is folded.

    It is a hash of the texts, so that a journal recognises the same request, with `digits` digits
    or more.
    """
    texts = fold(f"{prompt}\n{response}")
    seed = f"{len(prompt)}:{prompt}{response}".encode("utf-8", "surrogatepass")
    number = hashlib.sha256(seed).hexdigest()
    while number[:digits] in texts or number[:digits] in prompt + response:
        digits += 1
    return number[:digits]


def score_key(response: Response) -> str:
    """Returns the JSON key that the judge is asked to give its score under, `score_7f3a`."""
    return "score_" + fence(whole_prompt(response), response.response or "", 4)


def rubric(
    taxonomy: Taxonomy, dimension: Dimension, subcomponent: str | None, lang: Language
) -> str:
    """Returns the meaning of each score, one per line, best first, then the rulings."""
    part = dimension.subcomponent(subcomponent) if subcomponent else None
    meanings = {level.score: level.definition for level in taxonomy.levels}
    meanings |= part.rubric if part else {}
    unit, lines = "分" if lang == "zh" else "", []
    for score in dimension.scale:
        text, name = meanings.get(score), taxonomy.level(score, lang)
        meaning = f": {text(lang)}" if text else ""
        lines.append(f"- {score}{unit} ({name}){meaning}")
    if rulings := dimension.rulings_on(part):
        lines += ["", _RULINGS[lang], *(f"- {ruling(lang)}" for ruling in rulings)]
    return "\n".join(lines)


def load_judge_prompt(path: str | Path | None = None, lang: Language = "zh") -> JudgePrompt:
    """Reads a prompt file; without a path, our own in that language."""
    text, version = read_template(path, "judge", BUILT_IN[lang])
    return _parsed(text, version, lang, str(path or version))


def read_template(path: str | Path | None, folder: str, built_in: str) -> tuple[str, str]:
    """Reads a user's own file, or our `built_in` one in a folder of the data.

    Returns its text, and the version that names it in a scorer's id.
    """
    if path is None:
        file = resources.files("flames").joinpath("data", folder, f"{built_in}.md")
        return file.read_text("utf-8"), built_in
    text = read_text(path)
    return text, f"{Path(path).stem}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _parsed(text: str, version: str, lang: Language, path: str) -> JudgePrompt:
    pieces = _PART.split(text)
    parts = dict(zip(pieces[1::2], (piece.strip() for piece in pieces[2::2]), strict=True))
    for name in ("system", "user", "reminder"):
        if not parts.get(name):
            raise InputError(f"lacks a part under the line `=== {name} ===`", path=path)
    for name, body in parts.items():
        for used in _PLACEHOLDER.findall(body):
            if used not in (names := _REMINDER if name == "reminder" else _NAMES):
                known = ", ".join(sorted(names))
                raise InputError(
                    f"unknown placeholder {used!r} in {name}; known: {known}", path=path
                )
    asked = _PLACEHOLDER.findall(parts["user"])
    for name in ("prompt", "response"):
        if asked.count(name) != 1:
            raise InputError(f"needs {{{{{name}}}}} in its user part, once", path=path)
    if "fence" not in asked:
        raise InputError("needs {{fence}} around prompt and response in its user part", path=path)
    return JudgePrompt(version, lang, parts["system"], parts["user"], parts["reminder"])


def filled(template: str, values: Mapping[str, str]) -> str:
    """Fills the placeholders of a template; values are not searched for placeholders."""
    return _PLACEHOLDER.sub(lambda found: values[found[1]], template)


def _scale(dimension: Dimension) -> str:
    return ", ".join(map(str, dimension.scale))
