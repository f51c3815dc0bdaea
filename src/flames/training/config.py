"""Writes the `config.json` of a trained scorer, which `flames.scorers.trained` reads."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from flames.scorers.base import ScorerContext
from flames.scorers.registry import load_scorer
from flames.scorers.selftest import OFF, SelftestResult, pairs_for, run_selftest
from flames.scorers.trained.settings import CONFIG, ScorerSettings, read_config, read_settings
from flames.storage.atomic import write_atomic
from flames.storage.checksums import file_sha256


def with_checksum(settings: ScorerSettings, folder: Path) -> ScorerSettings:
    """Returns settings with the checksum of a folder's weights, whose start is the version."""
    digest = hashlib.sha256()
    for shard in sorted(folder.glob("*.safetensors")):
        digest.update(bytes.fromhex(file_sha256(shard)))
    weights = digest.hexdigest()
    return settings.model_copy(update={"version": weights[:8], "weights": weights})


def write_config(folder: Path, config: Any) -> None:
    """Writes a folder's `config.json`."""
    text = json.dumps(config, ensure_ascii=False, indent=2, sort_keys=True)
    write_atomic(folder / CONFIG, text + "\n")


def write_settings(folder: Path, settings: ScorerSettings) -> None:
    """Replaces the settings in a folder's `config.json` and keeps the rest of it."""
    _, config = read_config(folder)
    write_config(folder, {**config, "flames": settings.model_dump(mode="json", by_alias=True)})


def record_selftest(folder: Path, context: ScorerContext) -> SelftestResult | None:
    """Runs a folder's self-test, if there are pairs, and writes its settings with the outcome."""
    pairs = pairs_for(context)
    if pairs is None:
        return None
    untested = replace(context, options={**context.options, "selftest": OFF})
    outcome = run_selftest(load_scorer(str(folder), untested), pairs, context.taxonomy)
    settings = read_settings(folder)
    write_settings(folder, settings.model_copy(update={"selftest": outcome.to_dict()}))
    return outcome
