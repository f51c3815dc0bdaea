"""A model's folder that vLLM's own batch runner generates with, offline."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flames.errors import UsageError
from flames.models.base import Message, Reply, Sampling
from flames.models.batches import FileModel
from flames.models.hf import checked_folder, weights_sha256
from flames.models.load import ModelOptions
from flames.thinking import read_tags

PREFIX = "hf:"
_OURS = frozenset({"input-file", "output-file", "model", "served-model-name", "i", "o"})


@dataclass(eq=False, repr=False, kw_only=True)
class VllmModel(FileModel):
    """A folder of configuration, tokenizer and weights; `options` are those of the engine."""

    path: Path = Path()
    options: Mapping[str, str] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """Describes it for a manifest: folder name, checksum of the weights, engine options."""
        described = {**super().describe(), "provider": "vllm offline", "folder": self.path.name}
        described["sha256"] = weights_sha256(self.path)
        return {**described, "engine_options": dict(self.options)} if self.options else described

    async def ask(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """Refuses: it is asked by files."""
        raise UsageError(f"{self.name} is asked by vLLM's batch runner, not request by request")

    def command(self, requests: Path, results: Path) -> list[str]:
        """Returns the command that answers a file of requests."""
        program = shutil.which("vllm")
        if program is None:
            raise UsageError(
                "--engine vllm needs the program vllm: pip install vllm (Linux with a GPU; see "
                "https://docs.vllm.ai for others)"
            )
        given = [f"--{name}={value}" if value else f"--{name}" for name, value in
                 self.options.items()]  # fmt: skip
        files = ["--input-file", str(requests), "--output-file", str(results)]
        folder = str(self.path.resolve())
        return [program, "run-batch", *files, "--model", folder,
                "--served-model-name", self.model, *given]  # fmt: skip


def vllm_model(spec: str, reach: ModelOptions, options: Mapping[str, str]) -> VllmModel:
    """Returns the model behind `hf:PATH` for `--engine vllm`."""
    if not spec.startswith(PREFIX):
        raise UsageError(f"--engine vllm takes hf:PATH, the folder of a model, not {spec!r}")
    if reach.frame is not None:
        raise UsageError("vLLM's batch runner takes chats only: leave out --frame")
    for name in options:
        if name in _OURS:
            raise UsageError(f"--engine-option {name}: that is what Flames sets itself")
    folder = checked_folder(spec.removeprefix(PREFIX))
    name = reach.name or folder.resolve().name
    tags = read_tags(reach.think_tags)
    return VllmModel(name, "http://localhost", path=folder, options=dict(options), think_tags=tags)
