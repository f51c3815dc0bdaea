"""The batches of a run: a journal that tells, at any moment, which requests may be paid already.

Every step at the provider has a line before it and one after it, so that a kill between them is
seen. A line names the file of requests that was uploaded, by which it is found again.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from flames.errors import InputError
from flames.records import Key, dump_line, text_sha256
from flames.storage.journal import Journal, JournalLine, read_lines
from flames.storage.run_dir import RunDir

BATCHES: Final = "batches.jsonl"
"""The file of a run directory that tells of its batches."""

BY_BATCH: Final = "batch"
"""Field of a response that came by a batch: its id, or the name of a file of results."""

Event = Literal["planned", "uploaded", "creating", "created", "over", "dropped"]

_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,44}")
_HASHED = re.compile(r"[0-9a-f]{32}")


def custom_id(key: Key) -> str:
    """Returns the id of a request in a batch: always the same for a prompt and a sample.

    It has 8 to 64 letters, digits, `.`, `_` and `-`, which every provider takes.
    """
    name = key.prompt_id
    if not _PLAIN_ID.fullmatch(name) or _HASHED.fullmatch(name):
        name = text_sha256(name)[:32]
    return f"flames-{name}-{key.sample}"


def custom_ids(run: RunDir) -> dict[str, Key]:
    """Returns the keys of a run by their ids in a batch, in the order of asking."""
    keys = (Key(prompt.id, run.model, sample) for prompt, sample in run.planned())
    return {custom_id(key): key for key in keys}


@dataclass
class Batch:
    """One batch of a run, as far as it has come.

    Args:
        name: The name of its file of requests at the provider; no other file has it.
        ids: The custom ids of its requests.
        sampling: The parameters that they were asked with, without secrets.
        event: The last line about it.
        at: The time of that line, as seconds since 1970.
        file: The id of the uploaded file.
        id: The id of the batch.
        status: How it ended, once it is over.
    """

    name: str
    ids: tuple[str, ...]
    sampling: Mapping[str, Any] = field(default_factory=dict)
    event: Event = "planned"
    at: float = 0.0
    file: str | None = None
    id: str | None = None
    status: str | None = None

    @property
    def open(self) -> bool:
        """Whether its requests may have been sent, and are not yet collected."""
        return self.event in ("creating", "created")


class BatchLog:
    """The batches of a run, by the name of their file, in their order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.batches: dict[str, Batch] = {}
        for line in read_lines(path):
            self._read(line)
        self._journal: Journal[None, None] | None = None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Opens the journal for appending; the caller holds the lock of the run."""
        end = max((line.end for line in read_lines(self.path)), default=0)
        with closing(Journal[None, None](self.path)) as self._journal:
            self._journal.cut(end)
            yield
        self._journal = None

    @property
    def open(self) -> list[Batch]:
        """Those whose requests may have been sent, and are not yet collected."""
        return [batch for batch in self.batches.values() if batch.open]

    def plan(self, ids: Sequence[str], content: bytes, sampling: Mapping[str, Any]) -> Batch:
        """Notes a batch that is about to be made of so many requests."""
        named = next(iter(self.batches), None)
        run = named.split("-")[1] if named else secrets.token_hex(6)
        number = len(self.batches) + 1
        name = f"flames-{run}-{number:03}-{checksum(content)}.jsonl"
        batch = self.batches[name] = Batch(name, tuple(ids), sampling)
        self.note(batch, "planned", ids=list(ids), sampling=dict(sampling))
        return batch

    def note(self, batch: Batch, event: Event, **fields: Any) -> None:
        """Adds a line about a batch; once it returns, not even a power cut can lose it."""
        assert self._journal is not None, "the log is not open for writing"
        time = datetime.now(UTC)
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ")
        self._journal.append(dump_line({"file": batch.name, "event": event, "at": at, **fields}))
        self._journal.sync()
        _apply(batch, event, time.timestamp(), fields)

    def _read(self, line: JournalLine) -> None:
        row = line.fields or {}
        name, event, at = row.get("file"), row.get("event"), row.get("at")
        ids, sampling = row.get("ids"), row.get("sampling")
        try:
            time = datetime.fromisoformat(str(at)).timestamp()
            if event == "planned" and isinstance(name, str) and isinstance(ids, list):
                self.batches[name] = Batch(name, tuple(map(str, ids)), sampling or {})
            _apply(self.batches[str(name)], event, time, row)  # type: ignore[arg-type]
        except (ValueError, KeyError):
            problem = "is no line about a batch of this run; restore the file"
            raise InputError(problem, path=self.path, line=line.number) from None


def _apply(batch: Batch, event: Event, at: float, fields: Mapping[str, Any]) -> None:
    batch.event, batch.at = event, at
    if event == "uploaded":
        batch.file = str(fields["id"])
    elif event == "created":
        batch.id = str(fields["id"])
    elif event == "over":
        batch.status = str(fields.get("status"))


def checksum(content: bytes) -> str:
    """Returns the first 12 hex digits of a file's SHA-256; its name at the provider has them."""
    return hashlib.sha256(content).hexdigest()[:12]


def batch_log(run: RunDir) -> BatchLog:
    """Reads the journal of a run's batches, which may be empty."""
    return BatchLog(run.path / BATCHES)


def in_batches(run: RunDir, answered: Container[Key] = ()) -> dict[Key, Batch]:
    """Returns the keys of a run whose requests lie in a batch that is not yet collected.

    Those that are `answered` are left out.
    """
    batches: Iterable[Batch] = batch_log(run).open
    if not batches:
        return {}
    keys = custom_ids(run)
    found = ((keys.get(given), batch) for batch in batches for given in batch.ids)
    return {key: batch for key, batch in found if key is not None and key not in answered}
