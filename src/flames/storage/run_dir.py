"""A run directory: the prompts as asked, the journal of responses, verdicts and reports.

manifest.json  prompts.jsonl  responses.jsonl  requests.log  verdicts/<scorer>.jsonl
report.{html,md,json,csv}
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

from flames.errors import InputError, OutsideError, UsageError
from flames.records import Key, Prompt, PromptSetInfo, Response, Status, text_sha256
from flames.storage.atomic import locked, write_atomic
from flames.storage.checksums import file_sha256
from flames.storage.journal import Journal, JournalLine, read_journal, response_reader
from flames.storage.manifest import Manifest
from flames.storage.run_responses import Plan, RunPrompts, RunResponses
from flames.storage.text_files import parse_json, read_json_file
from flames.taxonomy import Taxonomy, load_taxonomy

MANIFEST = "manifest.json"
PROMPTS = "prompts.jsonl"
RESPONSES = "responses.jsonl"
VERDICTS = "verdicts"
TAXONOMY = "taxonomy.json"
ReportFormat = Literal["html", "md", "json", "csv"]

_UNSAFE = re.compile(r"[^\w.@+-]+")


def safe_name(text: str) -> str:
    """Returns a text as a file name: all but letters, digits and `._@+-` becomes `-`."""
    name = _UNSAFE.sub("-", text).strip("-.")[:80].strip("-.")
    return name or text_sha256(text)[:12]


def is_run(path: str | os.PathLike[str]) -> bool:
    """Tells whether a path is a run directory."""
    return (Path(path) / MANIFEST).is_file()


def open_run(path: str | os.PathLike[str]) -> RunDir:
    """Opens a run directory."""
    folder = Path(path)
    if not is_run(folder):
        what = "no such directory" if not folder.exists() else f"is no run: it has no {MANIFEST}"
        raise InputError(what, path=folder)
    return RunDir(folder)


class RunDir:
    """A run directory, to read or to continue."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.manifest = read_json_file(Manifest, self.path / MANIFEST, "manifest")

    @property
    def model(self) -> str:
        """The name that the responses are recorded under."""
        return self.manifest.model

    @property
    def samples(self) -> int:
        """Number of responses per prompt."""
        return self.manifest.samples

    @property
    def prompt_set(self) -> PromptSetInfo:
        """The prompts of the run."""
        return self.manifest.prompt_set

    @cached_property
    def taxonomy(self) -> Taxonomy:
        """The taxonomy that the prompts were read with."""
        path = self.path / TAXONOMY
        return load_taxonomy(path if path.exists() else None)

    @property
    def responses_path(self) -> Path:
        """The journal of responses."""
        return self.path / RESPONSES

    def prompts(self) -> dict[str, Prompt]:
        """Returns the prompts as asked, by id, in their order."""
        return dict(self._stored_prompts())

    def _stored_prompts(self) -> RunPrompts:
        path = self.path / PROMPTS
        if file_sha256(path) != self.manifest.prompts_sha256:
            message = "was changed since the run began; restore it, or start another run"
            raise InputError(message, path=path)
        return RunPrompts(path)

    def plan(self) -> Plan:
        """Returns what the run asks."""
        return Plan(self._stored_prompts(), self.model, self.samples)

    def planned(self) -> Iterator[tuple[Prompt, int]]:
        """Yields every prompt with every sample, in the order of asking."""
        prompts = self.prompts().values()
        yield from ((prompt, sample) for sample in range(self.samples) for prompt in prompts)

    def responses(self) -> Iterator[Response]:
        """Yields the responses of `stored_responses`."""
        yield from self.stored_responses().values()

    def stored_responses(
        self, plan: Plan | None = None, seen: Callable[[Response], None] | None = None
    ) -> RunResponses:
        """Returns the responses by key, each read when it is asked for; see `RunResponses`."""
        return RunResponses(self.responses_path, plan or self.plan(), seen)

    def settled(self) -> set[Key]:
        """Returns the keys that need no further request."""
        lines = read_journal(self.responses_path)
        return {response.key for _, response in lines if response.status != "error"}

    def verdict_files(self) -> dict[str, Path]:
        """Returns the files of verdicts by scorer id."""
        found: dict[str, Path] = {}
        for path in sorted((self.path / VERDICTS).glob("*.jsonl")):
            with path.open(encoding="utf-8") as file:
                line = file.readline()
            if line.strip():
                record = parse_json(line, str(path), 1)
                scorer = record.get("scorer") if isinstance(record, dict) else None
                if not isinstance(scorer, str):
                    raise InputError("is no verdict", path=path, line=1)
                found[scorer] = path
        return dict(sorted(found.items()))

    def verdicts_path(self, scorer_id: str) -> Path:
        """Returns the file of a scorer's verdicts, whether it exists or not.

        Its name has no version (`verdicts/lexical.jsonl`), unless another scorer has that name.
        """
        found = self.verdict_files()
        if scorer_id in found:
            return found[scorer_id]
        name = safe_name(scorer_id.rpartition("@")[0] or scorer_id)
        short = self.path / VERDICTS / f"{name}.jsonl"
        if short not in found.values():
            return short
        return short.with_name(f"{safe_name(scorer_id)}-{text_sha256(scorer_id)[:8]}.jsonl")

    def report_path(self, form: ReportFormat) -> Path:
        """Returns the file of the report in a format, whether it exists or not."""
        return self.path / f"report.{form}"

    @contextmanager
    def writing(
        self, seen: Callable[[Response], None] | None = None
    ) -> Iterator[Journal[Key, Status]]:
        """Opens the journal (key → status) for appending, and locks the run for one writer.

        `seen` is called with every response that is there.
        """
        read = response_reader(self.responses_path, self.plan())

        def entry(line: JournalLine) -> tuple[Key, Status]:
            response = read(line)
            if seen is not None:
                seen(response)
            return response.key, response.status

        with locked(self.path), closing(Journal(self.responses_path, entry)) as journal:
            yield journal

    def request_log(self, known: int = 0) -> Journal[None, None]:
        """Opens the log of requests: one dot per request, written before it is sent.

        A kill therefore hides none: requests without an outcome in the journal were cut off.
        The log has at least the `known` requests, for which the journal accounts.
        """
        log: Journal[None, None] = Journal(self.path / "requests.log")
        log.write(b"." * (known - log.size))
        return log

    def update(self, **changes: object) -> None:
        """Changes fields of the manifest, on disk too."""
        self.manifest = self.manifest.model_copy(update=changes)
        try:
            write_manifest(self.path, self.manifest)
        except UsageError as error:  # it was writable when the run began
            raise OutsideError(str(error)) from None

    def check(self, expected: Mapping[Key, str] | None = None) -> dict[str, int]:
        """Reads the run again and counts the responses by status, `missing` ones included.

        Raises:
            OutsideError: The disk does not hold what was written, or what the writer `expected`.
        """
        try:
            plan = self.plan()
            lines = read_journal(self.responses_path, plan)
            statuses = {response.key: response.status for _, response in lines}
        except InputError as error:
            raise OutsideError(str(error)) from None
        for key, status in (expected or {}).items():
            if statuses.get(key) != status:
                what = f"written as {status}, but {statuses.get(key, 'nothing')} is there"
                raise OutsideError(f"{self.responses_path}: {tuple(key)} was {what}")
        found = list(statuses.values())
        counts = {status: found.count(status) for status in get_args(Status)}
        return {**counts, "missing": len(plan) - len(statuses)}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest of a run directory."""
    data = manifest.model_dump(by_alias=True, exclude_none=True)
    write_atomic(folder / MANIFEST, json.dumps(data, ensure_ascii=False, indent=1) + "\n")
