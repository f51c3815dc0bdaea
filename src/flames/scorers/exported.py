"""An exported scorer behind the `Scorer` protocol: no torch, no transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flames.checksums import file_sha256
from flames.engines import Engine, choose, open_backend, processor
from flames.engines._engine import TOKENS
from flames.errors import InputError
from flames.export._package import Package, read_package
from flames.scorers.base import Scorer, ScorerContext
from flames.scorers.classifier._checks import as_asked, check_vocabulary, whole
from flames.scorers.classifier.encoding import TOKENIZER, Encoder
from flames.scorers.classifier.scorer import ClassifierScorer, Logits
from flames.scorers.classifier.settings import read_settings
from flames.selftest import ensure

EXACT = "fp32"


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
        notes: tuple[str, ...] = (),
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

    Options of the context: `backend` (`openvino` or `onnxruntime`), `precision` (`int8`,
    `bf16`, `fp32`), `threads`, `batch_tokens`, `truncation`, and those of the self-test. The
    scorer's id tells its precision where that is not fp32, for labels may differ.

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
    options = context.options
    backend, precision, lack = choose(
        package.used,
        package.precisions,
        backend=options.get("backend"),
        precision=options.get("precision"),
    )
    model = package.model(folder, precision)
    settings = as_asked(settings, options)
    if precision != EXACT:
        settings = settings.model_copy(update={"version": f"{settings.version}+{precision}"})
    engine = Engine(
        open_backend(backend, model, precision, whole(options, "threads")),
        sum(settings.sizes),
        pad_id=settings.pad_id,
        padding_side=settings.padding_side,
        tokens=whole(options, "batch_tokens") or TOKENS,
    )
    encoder = Encoder.from_folder(folder, settings)
    if package.vocabulary is not None:
        check_vocabulary(encoder.tokenizer, package.vocabulary, folder)
    scorer = ExportedScorer(
        encoder,
        engine,
        notes=tuple(filter(None, (lack, package.doubt(precision)))),
        details=_details(engine, package, backend, precision),
    )
    return ensure(scorer, context, package.weights(precision) + file_sha256(folder / TOKENIZER))


def _details(engine: Engine, package: Package, backend: str, precision: str) -> dict[str, Any]:
    checks = [c for c in package.checks if (c.backend, c.precision) == (backend, precision)]
    return {
        "engine": engine.backend.name,
        "processor": sorted(processor().flags),
        "labels unchanged (%)": round(checks[0].agreement, 2) if checks else "not checked",
        "checked on": dict(package.checked_on),
    }
