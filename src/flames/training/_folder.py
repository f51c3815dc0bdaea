"""The folder of a training: claimed, resumed after a kill, filled with what came of it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flames.errors import InputError, UsageError
from flames.evaluation._evaluate import keys_sha256
from flames.io import write_atomic
from flames.scorers.classifier import ScorerSettings, write_settings
from flames.scorers.classifier._backbone import quiet
from flames.training._options import TrainOptions
from flames.training._splits import Split

CHECKPOINTS = "checkpoints"
_MANIFEST = "training.json"


def plan_of(options: TrainOptions, split: Split, settings: ScorerSettings) -> dict[str, Any]:
    """What is trained on what, as it stands in the folder's manifest."""
    assert settings.training_data is not None
    plan = {
        "schema": 1,
        "options": options.to_dict(),
        "data": settings.training_data.sha256,
        "held": {
            name: keys_sha256(row.key for row in part.rows)
            for name, part in split.parts().items()
            if name != "training"
        },
        "finished": False,
    }
    same: dict[str, Any] = json.loads(json.dumps(plan))  # as it will be read again
    return same


def claim(out: Path, plan: Mapping[str, Any], *, resume: bool) -> bool:
    """Makes sure that a training may use the folder.

    Args:
        out: The folder.
        plan: What is to be trained, by `plan_of`.
        resume: Whether an unfinished training may go on.

    Returns:
        Whether an unfinished one goes on.

    Raises:
        UsageError: The folder holds something else, or a training that `resume` does not fit.
        InputError: Its manifest is broken.
    """
    path = out / _MANIFEST
    if not path.is_file():
        if out.is_file() or (out.is_dir() and any(out.iterdir())):
            raise UsageError(f"{out} holds something else; give another --out")
        if resume:
            raise UsageError(f"{out} holds no training that could be resumed")
        return False
    try:
        known = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        raise InputError("is no manifest of a training", path=path) from None
    if known.get("finished"):
        raise UsageError(f"{out} holds a finished training; give another --out")
    if not resume:
        raise UsageError(f"{out} holds an unfinished training; --resume goes on with it")
    differences = {
        "options": "other options",
        "data": "other data",
        "held": "other held-back parts",
    }
    for part, what in differences.items():
        if known.get(part) != plan[part]:
            raise UsageError(f"{out} holds a training with {what}; give another --out")
    return True


def begin(out: Path, plan: Mapping[str, Any]) -> None:
    """Writes down what is being trained, before the first step."""
    write_atomic(out / _MANIFEST, json.dumps(plan, indent=1) + "\n")


def last_checkpoint(out: Path) -> str | None:
    """The last checkpoint that was written to its end."""
    folder = out / CHECKPOINTS
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for path in reversed(found):
        try:
            json.loads((path / "trainer_state.json").read_text("utf-8"))
        except (OSError, ValueError):
            continue
        return str(path)
    return None


def save(model: Any, out: Path) -> ScorerSettings:
    """Writes the scorer: weights first, the configuration that makes it one last."""
    made = out / CHECKPOINTS / "final"
    with quiet():
        model.to("cpu").save_pretrained(made)
    digest = hashlib.sha256()
    for shard in sorted(made.glob("*.safetensors")):
        with open(shard, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    known: ScorerSettings = model.settings.model_copy(
        update={"version": digest.hexdigest()[:8], "weights": digest.hexdigest()}
    )
    write_settings(made, known)
    for path in made.iterdir():
        shutil.copymode(made / "config.json", path)  # weights come readable by their owner only
    for path in sorted(made.iterdir(), key=lambda path: path.name == "config.json"):
        os.replace(path, out / path.name)
    return known


def finish(out: Path, settings: ScorerSettings, history: Sequence[Mapping[str, Any]]) -> None:
    """Marks the training as finished and removes its checkpoints."""
    known = json.loads((out / _MANIFEST).read_text("utf-8"))
    done = {**known, "finished": True, "scorer": settings.id, "history": list(history)}
    write_atomic(out / _MANIFEST, json.dumps(done, indent=1) + "\n")
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
