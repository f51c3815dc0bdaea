"""Finds the items of a project by what a file of labels says of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flames.annotation.formats import MARK, same_text
from flames.annotation.ledger import Item
from flames.errors import InputError
from flames.records import Key, Prompt, prompt_id
from flames.storage.mapping import columns_there
from flames.thinking import split_thinking


class ItemIndex:
    """Finds items by our reference, their key, or their texts."""

    def __init__(self, items: Iterable[Item]) -> None:
        self.by_ref: dict[str, Item] = {}
        self.by_key: dict[Key, Item] = {}
        self.by_text: dict[tuple[str, str], Item | None] = {}
        for item in items:
            self.by_ref[item.ref] = item
            if item.kind == "work":
                response = item.response
                self.by_key[response.key] = item
                for prompt in {response.prompt_id, (response.prompt or "").strip()}:
                    text = (prompt, (response.response or "").strip())
                    self.by_text[text] = None if text in self.by_text else item

    def prompts(self) -> dict[str, Prompt]:
        """Returns what the line of a label may leave out: the prompt's dimension and text."""
        return {
            key.prompt_id: Prompt(
                id=key.prompt_id,
                dimension=item.dimension,
                subcomponent=item.subcomponent,
                text=item.response.prompt or "-",
                history=item.response.history,
                system=item.response.system,
            )
            for key, item in self.by_key.items()
        }

    def find(self, fields: Mapping[str, Any]) -> Item:
        """Returns the item of a label; one with another text than the label's is an error."""
        if item := self.by_ref.get(str(fields.get(MARK))):
            return item
        prompt, text = _texts(fields)
        if not (prompt or fields.get("prompt_id") or MARK in fields):
            raise InputError(f"names no item: {columns_there(fields, 'prompt')}")
        response = split_thinking(text).answer  # as responses are read
        number, model = str(fields.get("prompt_id") or prompt_id(prompt)), fields.get("model")
        key = Key(number, str(model), int(fields.get("sample") or 0))
        item = (
            self.by_key.get(key)
            or self.by_text.get((number, response))
            or self.by_text.get((prompt, response))
        )
        where = f"prompt {number}, model {model!r}"
        if item is None:
            what = f"item {fields[MARK]!r}" if MARK in fields else where
            raise InputError(f"{what} is not in this project")
        stored = {"prompt": item.response.prompt, "response": item.response.response}
        for name, given in (("prompt", prompt), ("response", response)):
            if _differs(given, stored[name]):
                raise InputError(f"{where} has another {name} in this project")
        return item

    def shown(self, fields: Mapping[str, Any]) -> tuple[Item, bool]:
        """Returns the item that a task was made of, and whether the task still has its texts.

        Who edits tasks in another tool keeps their references; who sorts columns apart does not.
        """
        item = self.by_ref.get(str(fields.get(MARK)))
        if item is None:
            return self.find(fields), True
        texts = _texts(fields)
        stored = item.response.prompt, item.response.response
        if not any(map(_differs, texts, stored)):
            return item, True
        other = self.by_text.get(texts)
        if other is not None and other is not item:
            what = f"item {item.ref} has the texts of item {other.ref}: were columns sorted apart?"
            raise InputError(what)
        return item, False


def _texts(fields: Mapping[str, Any]) -> tuple[str, str]:
    prompt, response = (str(fields.get(name) or "").strip() for name in ("prompt", "response"))
    return prompt, response


def _differs(given: str, stored: str | None) -> bool:
    return bool(given and stored) and not same_text(given, str(stored))
