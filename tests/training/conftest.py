"""What the tests of training share: a tiny backbone."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_models


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny backbone; without the libraries of training the test skips."""
    for name in ("torch", "transformers", "accelerate"):
        pytest.importorskip(name, reason="needs the extra train")
    return tiny_models.backbone(tmp_path_factory.mktemp("backbones") / "bert")
