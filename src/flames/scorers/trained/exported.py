"""An exported scorer behind the `Scorer` protocol: no torch, no transformers.

What an exported scorer's folder says of itself, under `export` in its `config.json`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from flames.errors import InputError
from flames.metrics.result import Note
from flames.options import Opt
from flames.records import Frozen
from flames.scorers.base import Scorer, ScorerContext
from flames.scorers.selftest import ensure_selftest
from flames.scorers.trained.backend import processor
from flames.scorers.trained.checks import ReadingOptions, check_vocabulary
from flames.scorers.trained.encoding import TOKENIZER, Encoder
from flames.scorers.trained.engine import TOKENS, Engine, choose, open_backend
from flames.scorers.trained.scorer import ClassifierScorer, Logits
from flames.scorers.trained.settings import CONFIG, read_settings
from flames.storage.checksums import file_sha256

EXACT = "fp32"


@dataclass(frozen=True)
class ExportedOptions(ReadingOptions):
    """The options of an exported scorer."""

    backend: Annotated[
        str | None, Opt("Inference engine: openvino or onnxruntime; unless given the fastest.")
    ] = None
    precision: Annotated[
        str | None, Opt("int8, bf16 or fp32; unless given the fastest in hardware.")
    ] = None
    threads: Annotated[int | None, Opt("CPU threads.", min=1)] = None


class ExportedScorer(ClassifierScorer):
    """A classifier that an engine computes; encoding goes on meanwhile.

    Args:
        encoder: Makes token ids of prompts and responses.
        engine: Computes them.
        notes: What a reader of its numbers must know of the way it was computed.
        details: Anything else worth telling.
    """

    def __init__(
        self,
        encoder: Encoder,
        engine: Engine,
        *,
        notes: tuple[Note, ...] = (),
        details: dict[str, Any] | None = None,
    ) -> None:
        encoder.settings = encoder.settings.model_copy(
            update={"notes": (*encoder.settings.notes, *notes)}
        )
        super().__init__(
            encoder, engine.compute, title="an exported classifier", details=details or {}
        )
        self.engine = engine

    def read(self, pairs: Sequence[tuple[str, str]]) -> tuple[list[bool], Logits]:
        """Logits of pairs of prompt and response; see `ClassifierScorer.read`."""
        return self.engine.stream(pairs, self.encoder.encode)


def load(path: str, context: ScorerContext) -> Scorer:
    """The exported scorer of a folder, self-tested before its first use.

    Options of the context: `ExportedOptions`, and those of the self-test. The scorer's id says
    its precision where that is not fp32, since labels may differ.

    Raises:
        InputError: The folder holds no export, or a damaged one.
        UsageError: An option cannot be met.
        CheckFailed: It fails its self-test.
    """
    folder = Path(path)
    settings = read_settings(folder)
    settings.check_taxonomy(context.taxonomy)
    package = read_package(folder)
    if package is None:
        raise InputError("is no exported scorer (no `export` entry)", path=folder)
    options = context.read(ExportedOptions)
    backend, precision, lack = choose(
        package.used,
        package.precisions,
        backend=options.backend,
        precision=options.precision,
    )
    model = package.model(folder, precision)
    settings = options.applied(settings)
    if precision != EXACT:
        settings = settings.model_copy(update={"version": f"{settings.version}+{precision}"})
    engine = Engine(
        open_backend(backend, model, precision, options.threads),
        sum(settings.sizes),
        pad_id=settings.pad_id,
        padding_side=settings.padding_side,
        tokens=options.batch_tokens or TOKENS,
    )
    encoder = Encoder.from_folder(folder, settings)
    if package.vocabulary is not None:
        check_vocabulary(encoder.tokenizer, package.vocabulary, folder)
    scorer = ExportedScorer(
        encoder,
        engine,
        notes=tuple(filter(None, (Note.text(lack) if lack else None, package.doubt(precision)))),
        details=_details(engine, package, backend, precision),
    )
    return ensure_selftest(
        scorer, context, package.weights(precision) + file_sha256(folder / TOKENIZER)
    )


def _details(engine: Engine, package: Package, backend: str, precision: str) -> dict[str, Any]:
    checks = [c for c in package.checks if (c.backend, c.precision) == (backend, precision)]
    return {
        "engine": engine.backend.name,
        "processor": sorted(processor().flags),
        "labels unchanged (%)": round(checks[0].agreement, 2) if checks else "not checked",
        "checked on": dict(package.checked_on),
    }


SECTION = "export"
_FILE_OF = {"fp32": "fp32", "bf16": "fp32", "int8": "int8"}


class File(Frozen, extra="ignore"):
    """A model's file, and the one beside it that holds large weights.

    Args:
        name: Its name in the folder.
        sha256: Its checksum.
        data: Name and checksum of the file of its weights, where they stand apart.
    """

    name: str
    sha256: str
    data: tuple[str, str] | None = None


class Check(Frozen, extra="ignore"):
    """How one way of computing compares with the original's logits.

    Args:
        backend: What computed.
        precision: `fp32`, `bf16` or `int8`.
        n: How many responses it was compared on.
        changed: How many of them got another label.
        max_difference: The largest difference of a logit.
    """

    backend: str
    precision: str
    n: int
    changed: int
    max_difference: float

    @property
    def agreement(self) -> float:
        """Per cent of the labels that stayed as they were."""
        return 100 * (self.n - self.changed) / self.n


class Package(Frozen, extra="ignore"):
    """An exported scorer.

    Args:
        files: The models, by the precision of their weights.
        checks: What was compared at export.
        used: The precisions that may be used unasked: none of their checks changed more than
            one label in a hundred.
        checked_on: What the checks were made on: file name → checksum.
        calibrated_on: What int8 was calibrated on, in words.
        vocabulary: How many tokens its embedding has rows for.
        versions: Of the libraries that made it.
    """

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    files: dict[str, File]
    checks: tuple[Check, ...] = ()
    used: tuple[str, ...] = ()
    checked_on: dict[str, str] = Field(default_factory=dict)
    calibrated_on: str | None = None
    vocabulary: int | None = None
    versions: dict[str, str] = Field(default_factory=dict)

    @property
    def precisions(self) -> tuple[str, ...]:
        """What can be computed, fastest first."""
        return tuple(each for each in ("int8", "bf16", "fp32") if _FILE_OF[each] in self.files)

    def doubt(self, precision: str) -> Note | None:
        """What a reader of numbers in that precision must know, where it changed labels."""
        checks = [check for check in self.checks if check.precision == precision]
        if not checks or precision in self.used:
            return None
        worst = min(checks, key=lambda check: check.agreement)
        return Note("precision", precision=precision, changed=worst.changed, total=worst.n)

    def weights(self, precision: str) -> str:
        """The checksum of what is computed with."""
        file = self.files[_FILE_OF[precision]]
        return file.sha256 + (file.data[1] if file.data else "")

    def model(self, folder: Path, precision: str) -> Path:
        """The file for a precision, its checksum compared.

        Raises:
            InputError: It is not there, or damaged.
        """
        file = self.files.get(_FILE_OF[precision])
        if file is None:
            can = ", ".join(self.precisions)
            raise InputError(f"was not exported as {precision}, only as {can}", path=folder)
        pairs = [(file.name, file.sha256), *([file.data] if file.data else [])]
        for name, sha256 in pairs:
            path = folder / name
            if path.parent != folder or not path.is_file():
                raise InputError(f"is no complete export: it holds no {name}", path=folder)
            if file_sha256(path) != sha256:
                message = "is damaged (its checksum is not the export's); export again"
                raise InputError(message, path=path)
        return folder / file.name


def read_package(folder: str | Path) -> Package | None:
    """What a scorer's folder says of its export; None where it is none.

    Raises:
        InputError: It says something that cannot be used.
    """
    path = Path(folder) / CONFIG
    try:
        config: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None  # told by `read_settings`
    found = config.get(SECTION) if isinstance(config, dict) else None
    if found is None:
        return None
    try:
        return Package.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join([SECTION, *(str(part) for part in first["loc"])])
        raise InputError(f"is broken: {first['msg']}", path=path, field=field) from None
