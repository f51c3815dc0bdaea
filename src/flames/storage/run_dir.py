"""A run directory: the prompts as asked, the journal of responses, verdicts and reports.

manifest.json  prompts.jsonl  responses.jsonl  requests.log  verdicts/<scorer>.jsonl
report.{html,md,json,csv}

Making a run directory, or finding that one is there already.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from flames.errors import InputError, OutsideError, UsageError
from flames.records import Key, Prompt, PromptSetInfo, Response, Status
from flames.storage.atomic import to_jsonl, write_atomic
from flames.storage.checksums import file_sha256
from flames.storage.journal import Journal, JournalLine, read_journal, response_reader
from flames.storage.lock import locked
from flames.storage.manifest import Manifest, differences
from flames.storage.rows import parse_json
from flames.taxonomy import Taxonomy, load_taxonomy

MANIFEST = "manifest.json"
PROMPTS = "prompts.jsonl"
RESPONSES = "responses.jsonl"
REQUESTS = "requests.log"
TAXONOMY = "taxonomy.json"
ReportFormat = Literal["html", "md", "json", "csv"]

_UNSAFE = re.compile(r"[^\w.@+-]+")


def safe_name(text: str) -> str:
    """The text as a file name: letters, digits and `._@+-` kept, the rest made `-`."""
    name = _UNSAFE.sub("-", text).strip("-.")[:80].strip("-.")
    return name or hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def is_run(path: str | os.PathLike[str]) -> bool:
    """Whether a run directory is there."""
    return (Path(path) / MANIFEST).is_file()


def open_run(path: str | os.PathLike[str]) -> RunDir:
    """The run in that directory.

    Raises:
        InputError: There is none, or its manifest cannot be read.
    """
    folder = Path(path)
    if not is_run(folder):
        what = "no such directory" if not folder.exists() else f"is no run: no {MANIFEST} in it"
        raise InputError(what, path=folder)
    return RunDir(folder)


class RunDir:
    """A run directory, to read or to go on with.

    Args:
        path: A directory with a manifest in it.

    Raises:
        InputError: The manifest cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.manifest = self._read_manifest()

    def _read_manifest(self) -> Manifest:
        path = self.path / MANIFEST
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            raise InputError("cannot be read", path=path) from None
        try:
            return Manifest.model_validate(parse_json(text, str(path), None))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(map(str, first["loc"])) or None
            raise InputError(f"is no manifest: {first['msg']}", path=path, field=field) from None

    @property
    def model(self) -> str:
        """The name that the responses are recorded under."""
        return self.manifest.model

    @property
    def samples(self) -> int:
        """How often each prompt is asked."""
        return self.manifest.samples

    @property
    def prompt_set(self) -> PromptSetInfo:
        """What was to be asked."""
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
        """The prompts as asked, by id, in their order.

        Raises:
            InputError: The file is missing or was changed by other hands.
        """
        path = self.path / PROMPTS
        found: dict[str, Prompt] = {}
        try:
            if file_sha256(path) != self.manifest.prompts_sha256:
                message = "was changed since the run began; put it back, or begin another run"
                raise InputError(message, path=path)
            with path.open(encoding="utf-8") as file:
                for number, line in enumerate(file, start=1):
                    prompt = Prompt.model_validate(parse_json(line, str(path), number))
                    found[prompt.id] = prompt
        except (ValidationError, UnicodeDecodeError) as error:
            raise InputError(f"is no file of prompts: {error}", path=path) from None
        return found

    def planned(self) -> Iterator[tuple[Prompt, int]]:
        """Every prompt with every sample, in the order of asking."""
        prompts = self.prompts()
        for sample in range(self.samples):
            for prompt in prompts.values():
                yield prompt, sample

    def _keys(self) -> set[Key]:
        return {Key(prompt.id, self.model, sample) for prompt, sample in self.planned()}

    def responses(self) -> Iterator[Response]:
        """One response a key: its answer, or else its last error; in the order of asking.

        Dimension, subcomponent, technique and prompt are filled in. Keys that were never asked
        are left out.

        Raises:
            InputError: A line of the journal cannot be read, or has no place in it; or the
                prompts were changed.
        """
        lines = read_journal(self.responses_path, self._keys())
        places = {response.key: (line.offset, line.length) for line, response in lines}
        if not places:
            return
        with self.responses_path.open("rb") as file:
            for prompt, sample in self.planned():
                place = places.get(Key(prompt.id, self.model, sample))
                if place is not None:
                    file.seek(place[0])
                    yield _joined(json.loads(file.read(place[1])), prompt)

    def settled(self) -> set[Key]:
        """The keys that need no asking any more."""
        lines = read_journal(self.responses_path)
        return {response.key for _, response in lines if response.status != "error"}

    def verdict_files(self) -> dict[str, Path]:
        """The files of verdicts by scorer id."""
        return dict(sorted(self._verdict_files()))

    def _verdict_files(self) -> Iterator[tuple[str, Path]]:
        for path in sorted((self.path / "verdicts").glob("*.jsonl")):
            with path.open(encoding="utf-8") as file:
                line = file.readline()
            if line.strip():
                record = parse_json(line, str(path), 1)
                scorer = record.get("scorer") if isinstance(record, dict) else None
                if not isinstance(scorer, str):
                    raise InputError("is no verdict", path=path, line=1)
                yield scorer, path

    def verdicts_path(self, scorer_id: str) -> Path:
        """Where the verdicts of a scorer stand, or will.

        The name goes without the version (`verdicts/lexical.jsonl`), unless another scorer's
        file has that name.
        """
        found = self.verdict_files()
        if scorer_id in found:
            return found[scorer_id]
        name = safe_name(scorer_id.rpartition("@")[0] or scorer_id)
        short = self.path / "verdicts" / f"{name}.jsonl"
        if short not in found.values():
            return short
        digest = hashlib.sha256(scorer_id.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        return short.with_name(f"{safe_name(scorer_id)}-{digest}.jsonl")

    def report_path(self, form: ReportFormat) -> Path:
        """Where the report of that format stands, or will."""
        return self.path / f"report.{form}"

    @contextmanager
    def writing(
        self, seen: Callable[[Response], None] | None = None
    ) -> Iterator[Journal[Key, Status]]:
        """Opens the journal for appending and locks the run against a second writer.

        Args:
            seen: Called with every response that is there.

        Yields:
            The journal; its entries are the status of every key.

        Raises:
            UsageError: Another process is writing to the run.
            InputError: The journal cannot be read, or holds what does not belong in it; or the
                prompts were changed.
        """
        read = response_reader(self.responses_path, self._keys())

        def entry(line: JournalLine) -> tuple[Key, Status]:
            response = read(line)
            if seen is not None:
                seen(response)
            return response.key, response.status

        with locked(self.path), closing(Journal(self.responses_path, entry)) as journal:
            yield journal

    def request_log(self, known: int = 0) -> Journal[None, None]:
        """Opens the log of requests: a dot for each, written before it is sent.

        So a kill can hide none: requests without an outcome in the journal were cut off.

        Args:
            known: How many the journal of responses knows; there were never fewer.

        Returns:
            The log; its size is the number of requests.
        """
        log: Journal[None, None] = Journal(self.path / REQUESTS)
        log.write(b"." * (known - log.size))
        return log

    def update(self, **changes: object) -> None:
        """Changes fields of the manifest, on disk too.

        Raises:
            OutsideError: The disk did not take it.
        """
        self.manifest = self.manifest.model_copy(update=changes)
        try:
            write_manifest(self.path, self.manifest)
        except UsageError as error:  # the run is there and was writable, so the world has changed
            raise OutsideError(str(error)) from None

    def check(self, expected: Mapping[Key, str] | None = None) -> dict[str, int]:
        """Re-reads everything and counts the responses by status, `missing` ones included.

        Args:
            expected: The status of each key as it was written, where the writer knows.

        Raises:
            OutsideError: What the disk holds is not what was written: prompts that changed, a
                key twice or foreign, another status.
        """
        try:
            plan = self._keys()
            lines = read_journal(self.responses_path, plan)
            statuses = {response.key: response.status for _, response in lines}
        except InputError as error:
            raise OutsideError(str(error)) from None
        for key, status in (expected or {}).items():
            if statuses.get(key) != status:
                found = statuses.get(key, "nothing")
                raise OutsideError(
                    f"{self.responses_path}: {tuple(key)} was written as {status}, "
                    f"but {found} is there"
                )
        counts = dict.fromkeys(("ok", "truncated", "empty", "blocked", "error", "missing"), 0)
        for status in statuses.values():
            counts[status] += 1
        counts["missing"] = len(plan) - len(statuses)
        return counts


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Puts the manifest in its place, whole."""
    data = manifest.model_dump(by_alias=True, exclude_none=True)
    write_atomic(folder / MANIFEST, json.dumps(data, ensure_ascii=False, indent=1) + "\n")


def _joined(fields: dict[str, object], prompt: Prompt) -> Response:
    fields["dimension"] = prompt.dimension
    fields["prompt"] = prompt.text
    named = {"subcomponent": prompt.subcomponent, "technique": prompt.technique}
    fields.update({name: value for name, value in named.items() if value is not None})
    return Response.model_validate(fields)


def create_run(
    path: str | os.PathLike[str],
    manifest: Manifest,
    prompts: Sequence[Prompt],
    *,
    taxonomy: Taxonomy | None = None,
    resume: bool = False,
) -> RunDir:
    """Makes a run directory, or opens the one that is there to go on with it.

    Args:
        path: The directory; made with its parents where it is missing.
        manifest: What is to be asked; its `prompts_sha256` is filled in.
        prompts: The prompts, in the order of asking.
        taxonomy: Kept in the run where it is not Flames' own.
        resume: Go on with a run that is there.

    Raises:
        UsageError: There is a run and `resume` is not set, or it is one of something else; or
            the directory holds other things.
        InputError: The manifest or the prompts of the run that is there are broken.
    """
    folder = Path(path)
    lines = to_jsonl(prompt.to_dict() for prompt in prompts)
    digest = hashlib.sha256(lines.encode("utf-8")).hexdigest()
    manifest = manifest.model_copy(update={"prompts_sha256": digest})
    _make(folder)
    with locked(folder):
        if is_run(folder):
            return _same(RunDir(folder), manifest, resume)
        write_atomic(folder / PROMPTS, lines)
        if taxonomy is not None and taxonomy != load_taxonomy():
            write_atomic(folder / TAXONOMY, taxonomy.model_dump_json(by_alias=True, indent=1))
        write_manifest(folder, manifest)  # last: it makes the directory a run
    return RunDir(folder)


def _same(run: RunDir, manifest: Manifest, resume: bool) -> RunDir:
    """The run that is there, if it is one of the same thing and may be gone on with."""
    if different := differences(run.manifest, manifest):
        raise UsageError(
            f"{run.path}: is a run of something else ({'; '.join(different)}); choose another --out"
        )
    if not resume:
        raise UsageError(
            f"{run.path}: is there already with {len(run.settled())} of {manifest.planned} "
            "responses; add --resume to go on with it, or choose another --out"
        )
    run.prompts()  # a broken file is told before anything is asked
    return run


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = [item.name for item in folder.iterdir() if not item.name.startswith(".")]
    except OSError as error:
        raise UsageError(f"{folder}: cannot be used as a run directory: {error.strerror}") from None
    foreign = sorted(set(names) - {PROMPTS, TAXONOMY})  # those two may be of a killed beginning
    if MANIFEST not in names and foreign:
        raise UsageError(f"{folder}: is no run and not empty ({foreign[0]}); choose another --out")
