"""A scorer and its export, made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("onnxscript", reason="needs the extra train")
pytest.importorskip("onnxruntime", reason="needs the extra cpu")

import tiny_trained

from flames.scorers.base import ScorerContext
from flames.scorers.trained.exported import Package
from flames.training.export import ExportOptions, export


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny scorer that passes its self-test."""
    return tiny_trained.scorer(tmp_path_factory.mktemp("trained") / "tiny")


@pytest.fixture(scope="session")
def exported(trained: Path) -> tuple[Path, Package]:
    """Its export with every precision, and what the export says of itself."""
    out = trained.with_name("exported")
    (out.with_name(".exported.new") / "made").mkdir(parents=True)  # as a killed one left it
    return out, export(ExportOptions(scorer=trained, out=out), ScorerContext())


@pytest.fixture
def copied(exported: tuple[Path, Any], tmp_path: Path) -> Path:
    """A copy of the export, to be damaged."""
    import shutil

    return Path(shutil.copytree(exported[0], tmp_path / "copy"))
