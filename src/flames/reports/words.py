"""The words of all pages and tables in Chinese and English: `strings.json`, looked up by key."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from string import Formatter
from typing import Any

from flames.taxonomy import Language, Text


class _Filler(Formatter):
    """Fills in values; signed numbers get the minus sign that tables have."""

    def format_field(self, value: Any, format_spec: str) -> str:
        text = str(super().format_field(value, format_spec))
        return text.replace("-", "−") if format_spec.startswith("+") else text


_FILLER = _Filler()
LANGUAGES: tuple[Language, Language] = ("zh", "en")
DASH = "–"


@cache
def load_strings() -> dict[str, Text]:
    """Returns all words by key: `strings.json` holds `{key: {"zh": …, "en": …}}`."""
    data = json.loads(resources.files("flames.reports").joinpath("strings.json").read_text("utf-8"))
    return {key: Text.model_validate(value) for key, value in data.items()}


def same(name: object) -> Text:
    """Returns a name that is the same in both languages."""
    return Text(zh=str(name), en=str(name))


def say(key: str, /, **values: object) -> Text:
    """Returns the words under a key in both languages, `{name}` replaced by value."""
    text = load_strings()[key]
    if not values:
        return text

    def filled(lang: Language) -> str:
        known = {name: v(lang) if isinstance(v, Text) else v for name, v in values.items()}
        return _FILLER.vformat(text(lang), (), known)

    return Text(zh=filled("zh"), en=filled("en"))


def name_of(kind: str, name: str) -> Text:
    """Returns what a reason, method, technique or test is called; an unknown one as it is."""
    return load_strings().get(f"{kind}.{name}") or same(name)


def listed(texts: Iterable[Text | str], joint: str = "comma") -> Text:
    """Returns texts in a row, joined as each language does (`comma`, `semicolon`); – for none."""
    found = [text if isinstance(text, Text) else same(text) for text in texts]
    between = say(joint)
    return Text(
        zh=between.zh.join(text.zh for text in found) or DASH,
        en=between.en.join(text.en for text in found) or DASH,
    )


def reasons(counts: Mapping[str, int]) -> Text:
    """Returns unscored responses by reason, as a list."""
    return listed(join(name_of("reason", name), f" {n:,}") for name, n in counts.items())


def join(*parts: Text | str) -> Text:
    """Returns texts put together without anything between them."""
    found = [part if isinstance(part, Text) else same(part) for part in parts]
    return Text(zh="".join(p.zh for p in found), en="".join(p.en for p in found))


def p_text(p: float | None) -> str:
    """Returns what stands behind the letter p in a sentence: `= 0.003` or `< 0.001`."""
    return DASH if p is None else "< 0.001" if p < 0.001 else f"= {p:.3f}"
