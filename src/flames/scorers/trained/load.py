"""Loading a trained, imported or exported scorer from its folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from flames.errors import InputError, UsageError
from flames.metrics.result import Note
from flames.options import Opt
from flames.scorers.base import InputTruncation, Scorer, ScorerContext
from flames.scorers.card import find_card
from flames.scorers.selftest import ensure_selftest
from flames.scorers.trained.backbone import quiet, read_errors
from flames.scorers.trained.backends import processor
from flames.scorers.trained.encoding import TOKENIZER, Encoder, check_vocabulary
from flames.scorers.trained.engine import Engine, choose, open_backend
from flames.scorers.trained.exported import Package, read_package
from flames.scorers.trained.scorer import ClassifierScorer
from flames.scorers.trained.settings import ScorerSettings, read_settings
from flames.storage.checksums import file_sha256
from flames.storage.home import home

RELEASED = "CaasiHUANG/flames-scorer"
_LARGE = 2 << 30  # bytes of weights


@dataclass(frozen=True)
class ReadingOptions:
    """Options of every trained scorer."""

    batch_tokens: Annotated[int | None, Opt("Tokens per batch, padding included.", min=1)] = None
    input_truncation: InputTruncation = None


@dataclass(frozen=True)
class TorchOptions(ReadingOptions):
    """Options of a scorer that runs on torch with its original weights."""

    device: Annotated[
        str | None, Opt("cpu, cuda, cuda:N or mps; by default the first GPU, if any.")
    ] = None
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        Opt(
            "Data type of the weights; by default as stored on a GPU, and on a CPU float32, or "
            "bfloat16 for weights above 2 GB."
        ),
    ] = None


@dataclass(frozen=True)
class ExportedOptions(ReadingOptions):
    """Options of an exported scorer."""

    backend: Annotated[
        Literal["openvino", "onnxruntime"] | None,
        Opt("Inference engine; by default the fastest that is installed."),
    ] = None
    precision: Annotated[
        Literal["int8", "bf16", "fp32"] | None,
        Opt("Precision; by default the fastest that the processor computes in hardware."),
    ] = None
    threads: Annotated[int | None, Opt("CPU threads.", min=1)] = None


def load(path: str, context: ScorerContext) -> Scorer:
    """Loads a trained, imported or exported scorer, and tests it at its first use.

    Its id names a precision other than float32 (`+bf16`, `+fp16`, `+int8`): labels may differ.
    """
    folder = Path(path)
    settings = read_settings(folder)
    settings.check_taxonomy(context.taxonomy)
    if cut := context.read(ReadingOptions).input_truncation:
        settings = settings.model_copy(update={"input_truncation": cut})
    package = read_package(folder)
    if package is None:
        scorer, weights = _original(folder, settings, context.read(TorchOptions))
    else:
        scorer, weights = _exported(folder, package, settings, context.read(ExportedOptions))
    weights += file_sha256(folder / TOKENIZER)  # another tokenizer makes another scorer
    card = find_card(scorer.info.id, folder)
    if card is not None and card.scorer == scorer.info.id:
        scorer.info = replace(scorer.info, notes=(*scorer.info.notes, *card.notes()))
    return ensure_selftest(scorer, context, weights)


def _original(
    folder: Path, settings: ScorerSettings, options: TorchOptions
) -> tuple[ClassifierScorer, str]:
    from flames.scorers.trained.model import FlamesScorer

    device = pick_device(options.device)
    files = sorted(folder.glob("*.safetensors"))
    size = sum(each.stat().st_size for each in files)
    if not size:
        raise InputError("is no complete scorer: it has no weights (*.safetensors)", path=folder)
    usual = "auto" if device.type != "cpu" else "float32" if size < _LARGE else "bfloat16"
    with quiet(), read_errors(folder):
        model: Any = FlamesScorer.from_pretrained(folder, dtype=options.dtype or usual)
    model = model.to(device).eval()
    computed = str(model.dtype).removeprefix("torch.")
    if computed != "float32":
        settings = _marked(settings, computed.replace("bfloat", "bf").replace("float", "fp"))
    scorer = ClassifierScorer(
        Encoder(model.encoder.tokenizer, settings),
        model.engine(options.batch_tokens),
        title="a trained classifier, one head per dimension",
        details={
            "backbone": model.config.text_config.model_type,
            "parameters": model.num_parameters(),
            "device": str(device),
            "dtype": computed,
        },
    )
    return scorer, "".join(map(file_sha256, files))


def _exported(
    folder: Path, package: Package, settings: ScorerSettings, options: ExportedOptions
) -> tuple[ClassifierScorer, str]:
    backend, precision, lack = choose(
        package.used, package.precisions, backend=options.backend, precision=options.precision
    )
    model = package.model(folder, precision)
    if precision != "fp32":
        settings = _marked(settings, precision)
    notes = (Note.text(lack) if lack else None, package.precision_note(precision))
    settings = settings.model_copy(update={"notes": (*settings.notes, *filter(None, notes))})
    opened = open_backend(backend, model, precision, options.threads)
    engine = Engine.of(opened, settings, tokens=options.batch_tokens or 0)
    encoder = Encoder.from_folder(folder, settings)
    if package.vocabulary is not None:
        check_vocabulary(encoder.tokenizer, package.vocabulary, folder)
    checks = [c for c in package.checks if (c.backend, c.precision) == (backend, precision)]
    scorer = ClassifierScorer(
        encoder,
        engine,
        title="an exported classifier",
        details={
            "engine": engine.backend.name,
            "processor": sorted(processor().flags),
            "labels unchanged (%)": round(checks[0].agreement, 2) if checks else "not checked",
            "checked on": dict(package.checked_on),
        },
    )
    return scorer, package.weights(precision)


def _marked(settings: ScorerSettings, precision: str) -> ScorerSettings:
    return settings.model_copy(update={"version": f"{settings.version}+{precision}"})


def default_folder() -> Path:
    """Returns the folder of the imported released scorer."""
    return home() / "scorers" / "flames-scorer"


def parts_of_released(argument: str) -> list[str]:
    """Returns the folder of the imported released scorer, for the options that it takes."""
    return [str(default_folder())]


def load_released(argument: str, context: ScorerContext) -> Scorer:
    """Loads the imported released scorer, for `--scorer flames-scorer`."""
    folder = default_folder()
    if not (folder / "config.json").is_file():
        raise UsageError(
            "the released scorer is not imported yet; download its checkpoint (about 14 GB) and "
            f"run `flames scorer import FOLDER`, or `flames scorer import {RELEASED}` if the model "
            "hub can be reached"
        )
    return load(str(folder), context)


def pick_device(name: str | None = None) -> Any:
    """Returns a torch device by name; by default the first GPU, if any."""
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"unknown device {name!r}; use cpu, cuda, cuda:N or mps") from None
    present = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }.get(device.type, 0)
    if (device.index or 0) >= present:
        count = f"{present} {device.type} devices" if present else f"no {device.type} device"
        raise UsageError(f"there is no {name} here ({count}); use cpu")
    return device
