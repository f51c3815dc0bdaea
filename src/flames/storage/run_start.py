"""Starting a run directory, and going on with one that is there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from flames.errors import UsageError, notify
from flames.records import Prompt, text_sha256
from flames.storage.atomic import locked, to_jsonl, write_atomic
from flames.storage.checksums import file_sha256
from flames.storage.manifest import Difference, Manifest, RunChange, differences
from flames.storage.run_batches import BATCHES, batch_log
from flames.storage.run_dir import (
    MANIFEST,
    PROMPTS,
    RESPONSES,
    TAXONOMY,
    RunDir,
    is_run,
    write_manifest,
)
from flames.taxonomy import Taxonomy, load_taxonomy

FAILED_START = "failed-start"
"""Folder of what is left of a start without an answer, once the run began anew."""

_GROWING = frozenset(("prompts", "repeats"))
_OF_A_START = (MANIFEST, PROMPTS, TAXONOMY, RESPONSES, "requests.log", BATCHES, "verdicts")


def create_run(
    path: str | os.PathLike[str],
    manifest: Manifest,
    prompts: Sequence[Prompt],
    *,
    taxonomy: Taxonomy | None = None,
    resume: bool = False,
    accept_changes: bool = False,
    grow: bool = False,
) -> RunDir:
    """Makes a run directory, or, with `resume`, opens the one that is there to continue it.

    A run without a single answer is no obstacle: with other settings it begins anew.

    Args:
        manifest: The manifest; its `prompts_sha256` is filled in.
        prompts: The prompts, in the order of asking.
        taxonomy: The taxonomy, kept in the run unless it is Flames' own.
        accept_changes: Continue, even where settings differ that change the answers.
        grow: Continue where there are only more prompts and more repeats now.
    """
    folder = Path(path)
    lines = to_jsonl(prompt.to_dict() for prompt in prompts)
    manifest = manifest.model_copy(update={"prompts_sha256": text_sha256(lines)})
    _make(folder)
    with locked(folder):
        if is_run(folder):
            run = RunDir(folder)
            different = _differences(run.manifest, manifest)
            grown = _GROWING if grow and run_grows(run, manifest, prompts) else frozenset()
            apart = [each for each in different if not each.moved and each.name not in grown]
            answered = len(run.settled())
            waiting = sum(len(batch.ids) for batch in batch_log(run).open)
            if answered or waiting or not apart:
                known = f"{answered} of {manifest.planned} responses"
                known += f" and {waiting} in a batch" if waiting else ""
                begun = known if answered or waiting else None
                _check(run, apart, begun, resume=resume, accepted=accept_changes)
                if different:
                    _change(run, manifest, prompts, different, lines, taxonomy, bool(apart))
                run.prompts()  # a broken file is reported before anything is asked
                return run
            _put_aside(folder, apart)
        write_atomic(folder / PROMPTS, lines)
        _write_taxonomy(folder, taxonomy)
        write_manifest(folder, manifest)  # last: it makes the directory a run
    return RunDir(folder)


def prompts_gone(run: RunDir, prompts: Sequence[Prompt]) -> int:
    """Counts the prompts of a run that are not asked now, or not with the same text."""
    if file_sha256(run.path / PROMPTS) == text_sha256(to_jsonl(p.to_dict() for p in prompts)):
        return 0  # also where a kill came between this file and the manifest
    asked = {prompt.id: prompt.asked for prompt in prompts}
    return sum(asked.get(known) != prompt.asked for known, prompt in run.prompts().items())


def run_grows(run: RunDir, manifest: Manifest, prompts: Sequence[Prompt]) -> bool:
    """Tells whether all that was asked is asked still, each prompt at least as often."""
    return manifest.samples >= run.samples and not prompts_gone(run, prompts)


def _differences(old: Manifest, new: Manifest) -> list[Difference]:
    known = any(change.accepted for change in old.changes) and old.asked == new.asked
    found = differences(old, new)
    return [each for each in found if not (known and each.name == "model")]


def _write_taxonomy(folder: Path, taxonomy: Taxonomy | None) -> None:
    if taxonomy is not None and taxonomy != load_taxonomy():
        write_atomic(folder / TAXONOMY, taxonomy.model_dump_json(by_alias=True, indent=1))
    else:
        (folder / TAXONOMY).unlink(missing_ok=True)


def _check(
    run: RunDir,
    apart: Sequence[Difference],
    begun: str | None,
    *,
    resume: bool,
    accepted: bool,
) -> None:
    if apart and not accepted:
        what = "; ".join(map(str, apart))
        raise UsageError(
            f"{run.path}: is a run with other settings ({what}); choose another --out, or go on "
            "with --accept-changes, which its manifest will tell"
        )
    if begun and not (resume or accepted):
        raise UsageError(
            f"{run.path}: exists already with {begun}; "
            "add --resume to continue it, or choose another --out"
        )


def _change(
    run: RunDir,
    manifest: Manifest,
    prompts: Sequence[Prompt],
    different: Sequence[Difference],
    lines: str,
    taxonomy: Taxonomy | None,
    accepted: bool,
) -> None:
    """Goes on with other settings; answers stay, and stay under the model's first name."""
    if not run_grows(run, manifest, prompts):
        gone = prompts_gone(run, prompts)
        what = f"{gone} of its prompts are not asked now" if gone else "it asked more repeats"
        raise UsageError(f"{run.path}: {what}; choose another --out")
    change = RunChange(at=manifest.created, what=tuple(map(str, different)), accepted=accepted)
    kept = {"model": run.model, "created": run.manifest.created, "sessions": run.manifest.sessions}
    write_atomic(run.path / PROMPTS, lines)
    _write_taxonomy(run.path, taxonomy)
    run.update(**{
        **{name: getattr(manifest, name) for name in Manifest.model_fields},
        **kept,
        "changes": (*run.manifest.changes, change),
    })  # fmt: skip
    moved = all(each.moved for each in different)
    how = "the model is elsewhere now" if moved else "there is more to ask now"
    how = "goes on with other settings" if accepted else how
    notify(f"{how}: {'; '.join(change.what)}", run.path)


def _put_aside(folder: Path, apart: Sequence[Difference]) -> None:
    """Moves what a start without an answer left into a folder of its own."""
    number = 1 + sum(1 for _ in folder.glob(f"{FAILED_START}-*"))
    aside = folder / f"{FAILED_START}-{number}"
    aside.mkdir()
    reports = [path.name for path in folder.glob("report.*")]
    for name in (*_OF_A_START[1:], *reports, MANIFEST):  # it is a run until the manifest is gone
        if (folder / name).exists():
            os.replace(folder / name, aside / name)
    what = "; ".join(map(str, apart))
    notify(f"had no answer yet and begins anew ({what}); what was there is in {aside.name}", folder)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = [item.name for item in folder.iterdir() if not item.name.startswith(".")]
    except OSError as error:
        raise UsageError(f"{folder}: cannot be used as a run directory: {error.strerror}") from None
    # A killed start may have left these.
    foreign = sorted(n for n in set(names) - {PROMPTS, TAXONOMY} if not _is_aside(n))
    if MANIFEST not in names and foreign:
        raise UsageError(f"{folder}: is no run and not empty ({foreign[0]}); choose another --out")


def _is_aside(name: str) -> bool:
    return name.startswith(f"{FAILED_START}-")
