"""What a run's manifest says: what was asked of whom."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from flames.records import PromptSetInfo

_SECRET = re.compile(
    r"api[-_]?key|authorization|secret|passw|credential|cookie|(?:access|auth|bearer)[-_]?token",
    re.IGNORECASE,
)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)


class RunSession(_Part):
    """One time that the run was worked on. Times are ISO 8601 in UTC."""

    started: str
    ended: str | None = None
    code_version: str
    python: str
    system: str
    requests: int = 0
    outcome: str | None = None


class Manifest(_Part):
    """What was asked of whom, with checksums and versions.

    `model` is what records call it; `asked` describes the model as it was reached (provider,
    address, checksum of its file). `samples` is how often each prompt is asked. `counts` and
    `responses_sha256` are there once the last check of the run found it in order.
    """

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    model: str
    spec: str
    asked: dict[str, Any]
    prompt_set: PromptSetInfo
    prompts_sha256: str
    samples: Annotated[int, Field(ge=1)] = 1
    system_prompt: str | None = None
    sampling: dict[str, Any] = Field(default_factory=dict)
    taxonomy: str
    created: str
    code_version: str
    sessions: tuple[RunSession, ...] = ()
    counts: dict[str, int] | None = None
    responses_sha256: str | None = None

    @property
    def planned(self) -> int:
        """How many responses a complete run holds."""
        return self.prompt_set.n * self.samples

    def settings(self) -> dict[str, Any]:
        """What must be the same for a run to be resumed."""
        return {
            "model": self.model,
            **{f"model's {name}": value for name, value in self.asked.items()},
            "prompts": self.prompts_sha256,
            "repeats": self.samples,
            "system prompt": self.system_prompt,
            **{f"sampling {name}": value for name, value in self.sampling.items()},
            "taxonomy": self.taxonomy,
        }


def differences(old: Manifest, new: Manifest) -> list[str]:
    """In what two runs differ, each as a short phrase."""
    before, now = old.settings(), new.settings()
    found = []
    for name in [*before, *(name for name in now if name not in before)]:
        if before.get(name) == now.get(name):
            continue
        if name == "prompts":
            found.append(f"prompts {_set(old)} there, {_set(new)} here")
        else:
            found.append(f"{name} {_short(before.get(name))} there, {_short(now.get(name))} here")
    return found


def _set(manifest: Manifest) -> str:
    info = manifest.prompt_set
    return f"{info.name} ({info.n}, {manifest.prompts_sha256[:8]})"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"


def without_secrets(data: Any) -> Any:
    """The data with the values of fields that hold secrets by their name taken out."""
    if isinstance(data, Mapping):
        return {
            name: "***" if _SECRET.search(str(name)) else without_secrets(value)
            for name, value in data.items()
        }
    if isinstance(data, list | tuple):
        return [without_secrets(value) for value in data]
    return data
