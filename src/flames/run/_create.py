"""Making a run directory, or finding that one is there already."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from flames.errors import UsageError
from flames.io import to_jsonl, write_atomic
from flames.records import Prompt
from flames.run._lock import locked
from flames.run._manifest import Manifest, differences
from flames.run._rundir import MANIFEST, PROMPTS, TAXONOMY, RunDir, is_run, write_manifest
from flames.taxonomy import Taxonomy, load_taxonomy


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
