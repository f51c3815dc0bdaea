"""Requests out and results in as files, for `vllm run-batch` and others that read such files."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any

from flames import __version__
from flames.collect.ask import prepare
from flames.collect.batch_files import request_files
from flames.collect.batch_results import BatchResults
from flames.collect.plan import AskOptions, Plan, make_plan, now
from flames.collect.responses import response_to
from flames.errors import InputError, UsageError
from flames.models.base import Sampling, load_frame
from flames.models.batches import FileModel, batch_request, reply_to
from flames.models.openai_client import OpenAIModel
from flames.models.providers import PROVIDERS, BatchTerms
from flames.options import Opt
from flames.prompts.sets import PromptSet
from flames.records import Key, Prompt, Response
from flames.storage.atomic import locked, write_atomic
from flames.storage.checksums import file_sha256
from flames.storage.manifest import RunSession
from flames.storage.run_batches import BY_BATCH, custom_id, custom_ids, in_batches
from flames.storage.run_dir import PROMPTS, RunDir, is_run, open_run
from flames.thinking import ThinkTags, read_tags

REQUESTS = "requests.jsonl"


@dataclass(frozen=True, kw_only=True)
class ExportOptions(AskOptions):
    """Which requests are written where."""

    model: Annotated[
        str,
        Opt(
            "Run directory; or, for a new run, the model's name as the requests give it.",
            metavar="RUN|MODEL",
            positional=True,
        ),
    ]
    requests: Annotated[
        Path | None,
        Opt("File of requests; requests.jsonl in the run directory unless given.", metavar="FILE"),
    ] = None
    overwrite: Annotated[bool, Opt("Replace the file of requests if it exists.")] = False


@dataclass(frozen=True)
class Exported:
    """The run, the number of requests that it lacked, and their files."""

    run: RunDir
    requests: int
    files: list[Path]


def export_requests(options: ExportOptions, sampling: Sampling | None = None) -> Exported:
    """Writes the requests that a run lacks, as lines of a batch; makes the run if it is new."""
    if is_run(options.model):
        plan, run = _of_run(options, sampling)
    else:
        names = {each.name for each in fields(AskOptions)} - {"out", "resume", "accept_changes"}
        given = {name: getattr(options, name) for name in names}
        if options.out is None or Path(options.model).is_dir():
            what = "is no run; to begin one, give the model's name and --out DIR"
            raise UsageError(f"{options.model}: {what}")
        given["model"] = FileModel(options.model, "http://localhost")
        plan = make_plan(**given, sampling=sampling)
        plan = replace(plan, spec=options.model)
        run = prepare(plan, options.out, resume=True, accept_changes=options.accept_changes)
    with locked(run.path):
        settled, waiting = run.settled(), in_batches(run)
    lacking: dict[str, Prompt] = {}
    for prompt, sample in run.planned():
        key = Key(prompt.id, run.model, sample)
        if key not in settled and key not in waiting:
            lacking[custom_id(key)] = prompt
    model = plan.model
    assert isinstance(model, OpenAIModel)
    provider = PROVIDERS.get(model.provider or "")
    terms = provider.batch if provider else None

    def line(prompt: Prompt) -> tuple[str, dict[str, Any]]:
        return batch_request(model, terms or BatchTerms(), plan.messages(prompt), plan.sampling)

    made = list(request_files(lacking, line, terms))
    paths = _paths(options.requests or run.path / REQUESTS, len(made))
    there = [path for path in paths if options.requests is not None and path.exists()]
    if there and not options.overwrite:
        raise UsageError(f"{there[0]}: exists already; add --overwrite, or choose another file")
    for path, file in zip(paths, made, strict=True):
        write_atomic(path, file.content)
    return Exported(run, len(lacking), paths)


def _of_run(options: ExportOptions, sampling: Sampling | None) -> tuple[Plan, RunDir]:
    """Plans what a run lacks, as its manifest has it."""
    mine = ("model", "requests", "overwrite")
    bare = ExportOptions(model=options.model)
    changed = (
        n for n, value in vars(bare).items() if n not in mine and getattr(options, n) != value
    )
    if (name := next(changed, None)) or (sampling or Sampling()) != Sampling():
        what = "--" + name.replace("_", "-") if name else "the sampling parameters"
        raise UsageError(f"{options.model}: a run is exported as it is: leave out {what}")
    run = open_run(options.model)
    manifest, asked = run.manifest, run.manifest.asked
    hidden = [name for name, value in manifest.sampling.items() if value == "***"]
    if hidden:
        what = f"the field {hidden[0]!r} of its requests was not stored, as it may be a secret"
        raise UsageError(f"{run.path}: {what}")
    named: dict[str, Any] = {
        name: manifest.sampling.get(name) for name in ("temperature", "max_tokens", "seed")
    }
    extra = {name: value for name, value in manifest.sampling.items() if name not in named}
    model = FileModel(
        str(asked.get("model") or run.model),
        "http://localhost",
        name=run.model,
        provider=asked.get("provider"),
        frame=load_frame(asked.get("frame")),
        max_tokens_field=asked.get("max_tokens_field"),
    )
    info, prompts = run.prompt_set, tuple(run.prompts().values())
    plan = make_plan(
        model,
        PromptSet(info.name, info.sha256, prompts, run.path / PROMPTS, info.version),
        system=manifest.system_prompt,
        sampling=Sampling(**named, extra=extra),
        repeats=run.samples,
    )
    return plan, run


def _paths(path: Path, parts: int) -> list[Path]:
    if parts <= 1:
        return [path] * parts
    return [path.with_stem(f"{path.stem}-{n}") for n in range(1, parts + 1)]


@dataclass(frozen=True)
class ImportOptions:
    """How answers in files are read."""

    think_tags: ThinkTags = ()


@dataclass
class Imported:
    """What became of the results in files.

    Attributes:
        counts: New responses by status.
        known: Results of prompts that were answered before.
        missing: Prompts of the run that are still not answered.
        told: Lines about results that were not taken.
    """

    run: RunDir
    counts: Counter[str] = field(default_factory=Counter)
    known: int = 0
    missing: int = 0
    told: list[str] = field(default_factory=list)


def import_results(
    path: str | os.PathLike[str],
    files: Sequence[str | os.PathLike[str]],
    options: ImportOptions | None = None,
) -> Imported:
    """Takes results of batches from files into a run, as answers to its prompts.

    What was answered before stays. A file that was imported may be imported again.

    Raises:
        InputError: A line is no result, an id has two different answers, or none is of the run.
    """
    run, tags = open_run(path), read_tags((options or ImportOptions()).think_tags)
    prompts, ids = run.prompts(), custom_ids(run)
    results, written = BatchResults(ids), set[tuple[object, Key]]()
    found = Imported(run)

    def seen(response: Response) -> None:
        written.add((response.extra.get(BY_BATCH), response.key))

    with ExitStack() as stack:
        journal = stack.enter_context(run.writing(seen))
        log = stack.enter_context(closing(run.request_log()))
        sources: dict[Key, str] = {}
        for name in files:
            try:
                file = stack.enter_context(Path(name).open("rb"))
                before = len(results)
                results.add(file, os.fspath(name))
            except OSError as error:
                raise InputError(error.strerror or "cannot be read", path=name) from None
            if len(results) == before and results.unknown:
                what = f"none of its results is of this run: {results.told()[0]}"
                raise InputError(what, path=name)
            for key, _ in results:
                sources.setdefault(key, Path(name).name)
        started = now()
        for key, outcome in results:
            reply = reply_to(outcome, think_tags=tags)
            again = reply.status == "error" and (sources[key], key) in written
            if again or journal.entries.get(key, "error") != "error":
                found.known += 1
                continue
            response = response_to(
                prompts[key.prompt_id],
                key,
                reply,
                attempts=1,
                sampling=run.manifest.sampling or None,
                created=started,
                **{BY_BATCH: sources[key]},
            )
            journal.keep(key, response.status, response.to_line())
            log.write(b".")
            found.counts[response.status] += 1
        counts = run.check(journal.entries)
        names = ", ".join(dict.fromkeys(Path(name).name for name in files))
        session = RunSession(
            started=started,
            ended=now(),
            code_version=__version__,
            python=platform.python_version(),
            system=platform.platform(),
            requests=found.counts.total(),
            outcome=f"imported {names}",
        )
        digest = file_sha256(run.responses_path)
        sessions = (*run.manifest.sessions, session)
        run.update(sessions=sessions, counts=counts, responses_sha256=digest)
    found.missing = counts["missing"] + counts["error"]
    found.told = results.told()
    return found
