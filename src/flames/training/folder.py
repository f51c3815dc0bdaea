"""The folder of a training: its manifest, and what of it can be continued."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flames.analysis.evaluate import keys_sha256
from flames.errors import InputError, UsageError
from flames.storage.atomic import write_atomic
from flames.training.options import TrainOptions
from flames.training.splits import Split

CHECKPOINTS = "checkpoints"
_MANIFEST = "training.json"


def plan_of(options: TrainOptions, split: Split, data_sha256: str) -> dict[str, Any]:
    """Describes what is trained on which data, for the folder's manifest."""
    plan = {
        "schema": 1,
        "options": asdict(options),
        "data": data_sha256,
        "held": {
            name: keys_sha256(row.key for row in part.rows)
            for name, part in split.parts().items()
            if name != "training"
        },
        "finished": False,
    }
    as_read: dict[str, Any] = json.loads(json.dumps(plan))  # to compare with a manifest
    return as_read


def claim(out: Path, plan: Mapping[str, Any], *, resume: bool) -> bool:
    """Checks that a training may use the folder; returns whether there is one to continue."""
    path = out / _MANIFEST
    if not path.is_file():
        if out.is_file() or (out.is_dir() and any(out.iterdir())):
            raise UsageError(f"{out} is not empty; give another --out")
        if resume:
            raise UsageError(f"{out} holds no training to resume; omit --resume")
        return False
    try:
        known = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        raise InputError("is no manifest of a training", path=path) from None
    if known.get("finished"):
        raise UsageError(f"{out} holds a finished training; give another --out")
    if not resume:
        raise UsageError(f"{out} holds an unfinished training; continue it with --resume")
    for part, what in (("options", "options"), ("data", "data"), ("held", "held-back parts")):
        if known.get(part) != plan[part]:
            raise UsageError(f"{out} holds a training with other {what}; give another --out")
    return True


def begin(out: Path, plan: Mapping[str, Any]) -> None:
    """Writes the manifest, before the first step."""
    write_atomic(out / _MANIFEST, json.dumps(plan, indent=1) + "\n")


def last_checkpoint(out: Path) -> str | None:
    """Returns the last checkpoint that was written completely."""
    folder = out / CHECKPOINTS
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for path in reversed(found):
        try:
            json.loads((path / "trainer_state.json").read_text("utf-8"))
        except (OSError, ValueError):
            continue
        return str(path)
    return None


def finish(out: Path, scorer: str, history: Sequence[Mapping[str, Any]]) -> None:
    """Marks the training as finished and deletes its checkpoints."""
    known = json.loads((out / _MANIFEST).read_text("utf-8"))
    done = {**known, "finished": True, "scorer": scorer, "history": list(history)}
    write_atomic(out / _MANIFEST, json.dumps(done, indent=1) + "\n")
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
