"""The manifest of a run: model, prompts, settings and sessions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from flames.records import Frozen, PromptSetInfo
from flames.text import shorten

_SECRET = re.compile(
    r"api[-_]?key|authorization|secret|passw|credential|cookie|(?:access|auth|bearer)[-_]?token",
    re.IGNORECASE,
)


class RunSession(Frozen, extra="allow"):
    """One session of asking. Times are ISO 8601 in UTC.

    `changed` are the parameters that the endpoint refused: their other names, or `left out`. `cost`
    is that of the session's answers, None without prices. `batches` are the ids of the batches
    that it sent or looked at.
    """

    started: str
    ended: str | None = None
    code_version: str
    python: str
    system: str
    requests: int = 0
    cost: float | None = None
    currency: str | None = None
    outcome: str | None = None
    changed: dict[str, str] | None = None
    batches: tuple[str, ...] | None = None


class RunChange(Frozen, extra="allow"):
    """Settings that changed when a run was resumed; `accepted` ones may change the answers."""

    at: str
    what: tuple[str, ...]
    accepted: bool = False


class Manifest(Frozen, extra="allow"):
    """The model, prompts and settings of a run, with checksums and versions.

    `model` is the name in the records; `asked` says how it was reached (provider, address, file).
    `counts` and `responses_sha256` are there once the run has passed its last check.
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
    changes: tuple[RunChange, ...] = ()
    counts: dict[str, int] | None = None
    responses_sha256: str | None = None

    @property
    def planned(self) -> int:
        """Number of responses of a complete run."""
        return self.prompt_set.n * self.samples

    def settings(self) -> dict[str, Any]:
        """Returns what must be the same for a run to be resumed."""
        return {
            "model": self.model,
            **{f"model's {name}": value for name, value in self.asked.items()},
            "prompts": self.prompts_sha256,
            "repeats": self.samples,
            "system prompt": self.system_prompt,
            **{f"sampling {name}": value for name, value in self.sampling.items()},
            "taxonomy": self.taxonomy,
        }


class Difference(NamedTuple):
    """A setting that two runs do not share; `moved` says that the same model is elsewhere now."""

    name: str
    before: str
    now: str
    moved: bool

    def __str__(self) -> str:
        return f"{self.name} {self.before} → {self.now}"


# Where the model is; what it answers does not depend on it.
_PLACES = {f"model's {name}" for name in ("base_url", "provider", "headers", "file", "folder")}


def differences(old: Manifest, new: Manifest) -> list[Difference]:
    """Lists the settings in which two runs differ."""
    before, now = old.settings(), new.settings()
    texts = [{name: _short(value) for name, value in side.items()} for side in (before, now)]
    for text, manifest in zip(texts, (old, new), strict=True):
        info = manifest.prompt_set
        text["prompts"] = f"{info.full_name} ({info.n}, {manifest.prompts_sha256[:8]})"
    return [
        Difference(name, texts[0].get(name, "none"), texts[1].get(name, "none"), name in _PLACES)
        for name in before | now
        if before.get(name) != now.get(name)
    ]


def _short(value: Any) -> str:
    if value is None:
        return "none"
    return shorten(value if isinstance(value, str) else repr(value), 60)


def without_secrets(data: Any) -> Any:
    """Returns data with the values of all fields named like secrets replaced by `***`."""
    if isinstance(data, Mapping):
        return {
            name: "***" if _SECRET.search(str(name)) else without_secrets(value)
            for name, value in data.items()
        }
    if isinstance(data, list | tuple):
        return [without_secrets(value) for value in data]
    return data
