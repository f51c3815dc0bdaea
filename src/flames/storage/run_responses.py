"""The prompts and responses of a run, each read from its file when it is asked for."""

from __future__ import annotations

import json
import os
import weakref
from array import array
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from flames.errors import InputError
from flames.records import Key, Prompt, Response
from flames.storage.journal import read_journal
from flames.storage.text_files import parse_json


class RunPrompts(Mapping[str, Prompt]):
    """The prompts of a run by id, in their order, each read when it is asked for."""

    def __init__(self, path: Path) -> None:
        self._places: dict[str, int] = {}
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._file)
        self._path, self._ends, offset = path, array("q", [0]), 0
        with path.open("rb") as file:
            for number, raw in enumerate(file):
                offset += len(raw)
                self._ends.append(offset)
                self._places[self._read(raw, number).id] = number

    def _read(self, raw: bytes, number: int) -> Prompt:
        try:
            row = parse_json(raw.decode("utf-8"), str(self._path), number + 1)
            return Prompt.model_validate(row)
        except (ValidationError, UnicodeDecodeError) as error:
            raise InputError(f"is no file of prompts: {error}", path=self._path) from None

    def __getitem__(self, prompt_id: str) -> Prompt:
        number = self._places[prompt_id]
        start, end = self._ends[number], self._ends[number + 1]
        return self._read(os.pread(self._file, end - start, start), number)

    def __contains__(self, prompt_id: object) -> bool:
        return prompt_id in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class Plan(Collection[Key]):
    """Every prompt with every sample, in the order of asking."""

    def __init__(self, prompts: Mapping[str, Prompt], model: str, samples: int) -> None:
        self.prompts, self.model, self.samples = prompts, model, samples
        self._at = {prompt_id: at for at, prompt_id in enumerate(prompts)}

    def __len__(self) -> int:
        return len(self._at) * self.samples

    def __contains__(self, key: object) -> bool:
        return isinstance(key, Key) and self.position(key) is not None

    def position(self, key: Key) -> int | None:
        """Returns the place of a key, by prompt and then by sample; None outside the plan."""
        at = self._at.get(key.prompt_id)
        if at is None or key.model != self.model or not 0 <= key.sample < self.samples:
            return None
        return at * self.samples + key.sample

    def __iter__(self) -> Iterator[Key]:
        for sample in range(self.samples):
            for prompt_id in self._at:
                yield Key(prompt_id, self.model, sample)


class RunResponses(Mapping[Key, Response]):
    """One response per key: its answer, or else its last error; in the order of asking.

    Dimension, subcomponent, technique and prompt are filled in. Keys that were never asked are
    left out. `seen` is called with each response while the journal is read.
    """

    def __init__(
        self, path: Path, plan: Plan, seen: Callable[[Response], None] | None = None
    ) -> None:
        self._plan = plan
        self._offsets = array("q", [-1]) * len(plan)
        self._lengths = array("q", [0]) * len(plan)
        failed: dict[Key, Response] = {}
        for line, response in read_journal(path, plan):
            position = plan.position(response.key)
            assert position is not None
            self._offsets[position], self._lengths[position] = line.offset, line.length
            if seen is not None and response.status == "error":
                failed[response.key] = response  # an answer may follow
            elif seen is not None:
                failed.pop(response.key, None)
                seen(response)
        for response in failed.values():
            assert seen is not None
            seen(response)
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC) if path.exists() else -1
        if self._file >= 0:
            weakref.finalize(self, os.close, self._file)

    def __getitem__(self, key: Key) -> Response:
        position = self._plan.position(key)
        if position is None or self._offsets[position] < 0:
            raise KeyError(key)
        raw = os.pread(self._file, self._lengths[position], self._offsets[position])
        return _joined(json.loads(raw), self._plan.prompts[key.prompt_id])

    def __iter__(self) -> Iterator[Key]:
        return (key for key in self._plan if key in self)

    def __contains__(self, key: object) -> bool:
        position = self._plan.position(key) if isinstance(key, Key) else None
        return position is not None and self._offsets[position] >= 0

    def __len__(self) -> int:
        return len(self._offsets) - self._offsets.count(-1)


def _joined(fields: dict[str, object], prompt: Prompt) -> Response:
    fields["dimension"] = prompt.dimension
    fields["prompt"] = prompt.text
    names = ("subcomponent", "technique", "expected", "history", "system")
    named = {name: getattr(prompt, name) for name in names}
    fields.update({name: value for name, value in named.items() if value is not None})
    return Response.model_validate(fields)
