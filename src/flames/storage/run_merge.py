"""Runs of one model that were made apart, put together by key."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from flames.errors import UsageError, notify
from flames.records import Key, Prompt, PromptSetInfo, Response, dump_line, ids_sha256
from flames.storage.atomic import to_jsonl, write_atomic
from flames.storage.checksums import file_sha256
from flames.storage.journal import read_journal, read_lines
from flames.storage.manifest import Manifest, differences
from flames.storage.run_batches import in_batches
from flames.storage.run_dir import RunDir, open_run
from flames.storage.run_start import create_run
from flames.text import shorten

_MAY_DIFFER = {"prompts", "repeats"}


def merge_runs(paths: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]) -> RunDir:
    """Puts runs of one model with the same settings together into a new run directory.

    Prompts and repeats are those of all runs. Of several responses to one key an answer counts
    before an error, and else the earlier named run's; different answers are told. Each response
    brings its run's verdicts along.

    Raises:
        UsageError: The runs have other settings, or the same prompt id with two texts.
    """
    runs = [open_run(path) for path in paths]
    if len({os.path.realpath(run.path) for run in runs}) < max(len(runs), 2):
        raise UsageError("merging takes at least two run directories, each once")
    for run in runs:
        if waiting := len(in_batches(run)):
            what = f"{waiting} of its responses are in a batch: collect them first"
            raise UsageError(f"{run.path}: {what} (flames ask … --batch --resume)")
    for run in runs[1:]:
        _check_same(runs[0], run)
    prompts = _prompts(runs)
    taken = _taken(runs)
    samples = max(run.samples for run in runs)
    merged = create_run(out, _manifest(runs, prompts, samples), prompts, taxonomy=runs[0].taxonomy)
    planned = [Key(prompt.id, merged.model, n) for n in range(samples) for prompt in prompts]
    lines = [line for key in planned if key in taken for line in taken[key][1]]
    write_atomic(merged.responses_path, "".join(line + "\n" for line in lines))
    logs = (run.path / "requests.log" for run in runs)
    dots = sum(log.stat().st_size for log in logs if log.exists())
    write_atomic(merged.path / "requests.log", "." * dots)
    _merge_verdicts(runs, merged, {key: number for key, (number, _) in taken.items()}, planned)
    digest = file_sha256(merged.responses_path)
    merged.update(counts=merged.check(), responses_sha256=digest)
    return merged


def _check_same(first: RunDir, other: RunDir) -> None:
    found = differences(first.manifest, other.manifest)
    apart = [each for each in found if not each.moved and each.name not in _MAY_DIFFER]
    if apart:
        what = "; ".join(map(str, apart))
        raise UsageError(f"{other.path}: has other settings than {first.path} ({what})")


def _prompts(runs: Sequence[RunDir]) -> list[Prompt]:
    found: dict[str, Prompt] = {}
    for run in runs:
        for prompt in run.prompts().values():
            known = found.setdefault(prompt.id, prompt)
            if known.asked.differs(prompt.asked) or known.dimension != prompt.dimension:
                what = f"the prompt {shorten(prompt.id)!r} has another text or dimension"
                raise UsageError(f"{run.path}: {what} than in {runs[0].path}")
    return list(found.values())


def _manifest(runs: Sequence[RunDir], prompts: Sequence[Prompt], samples: int) -> Manifest:
    manifests = [run.manifest for run in runs]
    sessions = sorted(chain.from_iterable(m.sessions for m in manifests), key=lambda s: s.started)
    origins = [
        {"run": run.path.name, "responses_sha256": run.manifest.responses_sha256} for run in runs
    ]
    return manifests[0].model_copy(
        update={
            "prompt_set": _prompt_set(runs, prompts),
            "samples": samples,
            "created": min(manifest.created for manifest in manifests),
            "sessions": tuple(sessions),
            "changes": tuple(chain.from_iterable(m.changes for m in manifests)),
            "merged": origins,
            "counts": None,
            "responses_sha256": None,
        }
    )


def _prompt_set(runs: Sequence[RunDir], prompts: Sequence[Prompt]) -> PromptSetInfo:
    infos = [run.prompt_set for run in runs]
    if all(info == infos[0] for info in infos):
        return infos[0]
    digest = ids_sha256(prompts)
    name = "+".join(dict.fromkeys(info.full_name for info in infos))
    return PromptSetInfo(name=name, sha256=digest, n=len(prompts), of="ids", ids_sha256=digest)


def _taken(runs: Sequence[RunDir]) -> dict[Key, tuple[int, list[str]]]:
    """Returns for each key the number of the run that it is taken from, and its lines there."""
    taken: dict[Key, tuple[int, list[str]]] = {}
    last: dict[Key, Response] = {}
    conflicts: Counter[int] = Counter()
    example: dict[int, Key] = {}
    for number, run in enumerate(runs):
        asked = {Key(p.id, run.model, sample) for p, sample in run.planned()}
        for line, response in read_journal(run.responses_path, asked):
            key = response.key
            known = last.get(key)
            if known is not None and taken[key][0] != number and known.status != "error":
                same = (known.status, known.response) == (response.status, response.response)
                if not same and response.status != "error":
                    conflicts[number] += 1
                    example.setdefault(number, key)
                continue
            if known is None or taken[key][0] != number:
                taken[key] = (number, [])
            taken[key][1].append(dump_line(line.fields))
            last[key] = response
    for number, n in conflicts.items():
        key = example[number]
        first = f"prompt {shorten(key.prompt_id)!r}, sample {key.sample}"
        what = (
            f"{n} of its answers differ from an earlier named run's, which count (first: {first})"
        )
        notify(what, runs[number].path)
    return taken


def _merge_verdicts(
    runs: Sequence[RunDir], merged: RunDir, origin: dict[Key, int], planned: Sequence[Key]
) -> None:
    found: dict[str, dict[Key, dict[str, object]]] = {}
    for number, run in enumerate(runs):
        for scorer, path in run.verdict_files().items():
            for line in read_lines(path):
                fields = line.fields or {}
                key = Key(str(fields.get("prompt_id")), merged.model, fields.get("sample", 0))
                if origin.get(key) == number:
                    found.setdefault(scorer, {})[key] = fields
    for scorer, verdicts in found.items():
        target = merged.verdicts_path(scorer)
        Path(target).parent.mkdir(exist_ok=True)
        write_atomic(target, to_jsonl(verdicts[key] for key in planned if key in verdicts))
