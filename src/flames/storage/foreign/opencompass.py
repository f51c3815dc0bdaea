"""`predictions/<model>/<dataset>.json` of OpenCompass, its `.jsonl` and its unfinished files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flames.errors import InputError
from flames.storage.foreign.shape import Fields, Format, Reader, asked, failed, inner, kept, text_at

_ASKED = "origin_prompt"
_ANSWER = "prediction"


def _fits(row: Fields) -> bool:
    return _ASKED in row and (_ANSWER in row or _is_choice(row))


def _is_choice(row: Fields) -> bool:
    return "pred_label" in row or any(str(name).startswith("label: ") for name in row)


def _unfold(document: Fields) -> list[Any] | None:
    if not document or not all(key.isdecimal() for key in document):
        return None
    if not isinstance(inner(document, next(iter(document))), Mapping):
        return None
    rows: list[Any] = []
    for key, entry in document.items():
        if not isinstance(entry, Mapping):
            raise InputError(f"must be an object, not {type(entry).__name__}", field=key)
        rows.append({"idx": key, **entry})
    return rows if _fits(rows[0]) else None


def _reader(path: str) -> Reader:
    folder = Path(path).absolute().parent
    model = {"model": folder.name} if folder.parent.name == "predictions" else {}

    def read(row: Fields) -> Iterator[dict[str, Any]]:
        if _is_choice(row):
            raise InputError("holds perplexities of given choices, no responses")
        shared = {**model, **kept(row, ["idx"])}
        if row.get("success") is False:
            yield {**shared, **asked(row[_ASKED]), **failed(row.get("error") or row[_ANSWER])}
            return
        for turns, answer in _answers(row[_ASKED], row[_ANSWER]):
            yield {**shared, **asked(turns), "response": answer}

    return read


def _answers(question: Any, answer: Any) -> Iterator[tuple[Any, str | None]]:
    """Yields what was asked and answered: once, per repeat, or at the end of a conversation."""
    if answer is None or isinstance(answer, str):
        yield question, answer
        return
    if not isinstance(answer, list) or not answer:
        what = "empty" if answer == [] else type(answer).__name__
        raise InputError(f"must be a text or a list of texts, not {what}", field=_ANSWER)
    if all(isinstance(turn, Mapping) for turn in answer):  # {"round", "user", "assistant"}
        asked_for = [text_at(turn, "user") for turn in answer]
        answered = [text_at(turn, "assistant") for turn in answer]
        yield _conversation(asked_for, answered), answered[-1]
        return
    if not all(isinstance(text, str) for text in answer):
        raise InputError("must be a text or a list of texts", field=_ANSWER)
    turns = isinstance(question, list) and len(question) == len(answer) > 1
    if turns and all(isinstance(turn, str) for turn in question):
        yield _conversation(question, answer), answer[-1]
    else:
        for repeat in answer:
            yield question, repeat


def _conversation(asked_for: list[Any], answered: list[Any]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for question, answer in zip(asked_for, answered, strict=True):
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": answer})
    return messages[:-1]


OPENCOMPASS = Format("predictions of OpenCompass", _fits, _reader, _unfold)
