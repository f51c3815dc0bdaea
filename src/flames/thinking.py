"""Reasoning that a text holds before its answer: one list of tags for every reader of texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from flames.errors import UsageError
from flames.options import Opt
from flames.text import has_visible_text

_TEXT_PARTS = ("text", "input_text", "output_text", None)
_QUOTES = tuple("`'\"“‘「『")
# The names of `<name>…</name>`, also as `[NAME]…[/NAME]`.
_NAMES = (
    "think(?:ing)?",  # DeepSeek, Qwen and most others
    "thoughts?",
    "reasoning",
    *("seed:think", "mm:think", "longcat_think"),  # Seed-OSS, MiniMax, LongCat
)


@dataclass(frozen=True)
class Tags:
    """A pair of tags as regular expressions, looked for only where the text `mark` is."""

    opens: re.Pattern[str]
    closes: re.Pattern[str]
    mark: str


def _tags(opens: str, closes: str, mark: str) -> Tags:
    return Tags(re.compile(opens, re.IGNORECASE), re.compile(closes, re.IGNORECASE), mark)


_CHANNEL = r"(?:<\|start\|>assistant\s*)?<\|channel\|>\s*"
_FINAL = _CHANNEL + r"final[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>"
_TAGS = (
    *(_tags(f"<{name}>", f"</{name}>", "<") for name in _NAMES),
    _tags(r"◁think▷", r"◁/think▷", "▷"),  # Kimi-VL
    _tags(r"\[think\]", r"\[/think\]", "["),  # Magistral
    _tags(r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>", "<|"),  # Sky-T1, OpenThinker
    _tags(r"<\|start_thinking\|>", r"<\|end_thinking\|>", "<|"),  # Cohere
    _tags(  # gpt-oss
        _CHANNEL + r"(?:analysis|commentary)[^<]*<\|message\|>",
        rf"(?:<\|end\|>\s*)?{_FINAL}|<\|end\|>",
        "<|channel|>",
    ),
    _tags("analysis", "assistantfinal", "assistantfinal"),  # gpt-oss where its marks were dropped
    _tags(r"<\|channel>thought", r"<channel\|>", "channel"),  # Gemma
    _tags(r"<unused94>(?:thought\b)?", r"<unused95>", "<unused9"),  # MedGemma
)
_MARKS = ("<", "[", "▷", "assistantfinal", "channel")  # one of them is in every mark
_FINAL_MARK = re.compile(_FINAL)
_ENDS = ("<|return|>", "<|end|>")


ThinkTags = Annotated[
    tuple[str, ...],
    Opt("Further tag of reasoning before answers, like <plan>; may be repeated.", metavar="TAG"),
]


class Thinking(NamedTuple):
    """A text, split; `unclosed` means that it ends inside its reasoning."""

    answer: str
    reasoning: str
    unclosed: bool = False


def read_tags(given: Iterable[str]) -> tuple[Tags, ...]:
    """Reads further tags: an opening one, or one with its closing one after a space.

    Without a closing tag it is the opening one with a slash: `<plan>` ends at `</plan>`.
    """
    found = []
    for text in [given] if isinstance(given, str) else given:
        opens, _, closes = text.strip().partition(" ")
        closes = closes.strip() or f"{opens[:1]}/{opens[1:]}"
        if len(opens) < 2 or len(closes) < 2:
            raise UsageError(f"--think-tags takes a tag like <plan>, or two, not {text!r}")
        found.append(_tags(re.escape(opens), re.escape(closes), ""))
    return tuple(found)


def split_thinking(text: str, more: Sequence[Tags] = ()) -> Thinking:
    """Splits the reasoning in front of an answer from it, both stripped if there is any.

    Only what a text begins with is reasoning; an answer may speak of the tags. A closing tag alone
    ends reasoning that began before the text (some chat templates open it in the prompt), unless
    a quotation mark stands before it. An opening tag alone means that there is no answer.
    """
    if not more and not _has_mark(text):
        return Thinking(text, "")
    tags = [each for each in (*more, *_TAGS) if each.mark in text]
    at, thoughts, final = 0, list[str](), None
    while tags:
        start = next((n for n in range(at, len(text)) if has_visible_text(text[n])), len(text))
        if final := _FINAL_MARK.match(text, start):
            at = final.end()
            break
        pair = next((each for each in tags if each.opens.match(text, start)), None)
        if pair is not None:
            opening = pair.opens.match(text, start)
            assert opening is not None
            begun, end = opening.end(), _closing(pair, text, opening.end())
        elif at == 0:
            begun, end = 0, _lone_closing(tags, text)
        else:
            break
        if end is None:
            if pair is None or (pair.mark == "assistantfinal"):
                break
            return Thinking("", _joined([*thoughts, text[begun:]]), unclosed=True)
        thoughts.append(text[begun : end.start()])
        at = end.end()
        if final := _FINAL_MARK.search(end[0]):
            break
    if at == 0:
        return Thinking(text, "")
    answer = text[at:].strip()
    for mark in _ENDS if final else ():
        answer = answer.removesuffix(mark).strip()
    return Thinking(answer, _joined(thoughts))


def _has_mark(text: str) -> bool:
    for mark in _MARKS:  # noqa: SIM110  (asked of every response, and `any` takes twice as long)
        if mark in text:
            return True
    return False


def split_parts(content: Any) -> tuple[str, str]:
    """Returns answer and reasoning of a message's content: a text, or a list of typed parts."""
    if isinstance(content, str):
        return content, ""
    answer: list[str] = []
    thoughts: list[str] = []
    for part in content if isinstance(content, list) else ():
        if isinstance(part, str):
            answer.append(part)
        elif isinstance(part, Mapping):
            kind = part.get("type")
            if isinstance(part.get("text"), str) and kind in _TEXT_PARTS:
                answer.append(part["text"])
            elif kind in ("thinking", "reasoning"):
                inner = part.get("thinking") or part.get("reasoning") or part.get("text")
                thoughts.append(inner if isinstance(inner, str) else split_parts(inner)[0])
    return "".join(answer), "\n".join(thoughts)


def _joined(thoughts: Iterable[str]) -> str:
    return "\n".join(filter(None, map(str.strip, thoughts)))


def _closing(pair: Tags, text: str, start: int) -> re.Match[str] | None:
    """Finds the closing tag; where thoughts hold a pair of tags themselves, the one after it."""
    found = pair.closes.search(text, start)
    inner = start
    while found is not None and pair.opens.search(text, inner, found.start()):
        later = pair.closes.search(text, found.end())
        opens_again = pair.opens.search(text, found.end(), later.start()) if later else None
        if later is None or opens_again or text[: later.start()].endswith(_QUOTES):
            break
        inner, found = found.end(), later
    return found


def _lone_closing(tags: Sequence[Tags], text: str) -> re.Match[str] | None:
    """Finds a closing tag before any opening one and without a quotation mark before it."""
    first: re.Match[str] | None = None
    for pair in tags:
        closing = pair.closes.search(text)
        if closing and (first is None or closing.start() < first.start()):
            first = closing
    if first is None or text[: first.start()].endswith(_QUOTES):
        return None
    opened = (pair.opens.search(text, 0, first.start()) for pair in tags)
    return None if any(opened) else first
