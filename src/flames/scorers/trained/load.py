"""Loading a classifier's folder as a scorer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from flames.errors import InputError, UsageError
from flames.options import Opt
from flames.scorers.base import Scorer, ScorerContext
from flames.scorers.trained.checks import ReadingOptions
from flames.scorers.trained.encoding import Encoder
from flames.scorers.trained.scorer import ClassifierScorer

_LARGE = 2 << 30  # bytes of weights


@dataclass(frozen=True)
class TorchOptions(ReadingOptions):
    """The options of a scorer that torch computes with its original weights."""

    device: Annotated[
        str | None, Opt("cpu, cuda, cuda:N or mps; unless given the first GPU, if any.")
    ] = None
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        Opt(
            "Number format; unless given as stored on a GPU, float32 on a CPU, or bfloat16 "
            "there for weights above 2 GB."
        ),
    ] = None


def load(path: str, context: ScorerContext) -> Scorer:
    """A trained, imported or exported scorer, behind the `Scorer` protocol.

    The first use runs the self-test. An export runs on an inference engine, the others run on
    torch with their original weights.

    Options of the context: `TorchOptions`, and those of the self-test. The scorer's id says in
    what it is computed where that is not float32 (`+bf16`, `+fp16`), since labels may differ.

    Args:
        path: The folder.
        context: The taxonomy, which its heads must speak of, and the options.

    Raises:
        InputError: The folder holds no scorer, or a broken one.
        UsageError: An option cannot be met.
        CheckFailed: It fails its self-test.
    """
    from flames.scorers.trained.exported import read_package

    if read_package(path) is not None:
        from flames.scorers.trained.exported import load as load_export

        return load_export(path, context)
    from flames.scorers.selftest import ensure_selftest
    from flames.scorers.trained.backbone import quiet
    from flames.scorers.trained.checks import read_errors
    from flames.scorers.trained.encoding import TOKENIZER
    from flames.scorers.trained.model import FlamesScorer
    from flames.scorers.trained.settings import read_settings
    from flames.storage.checksums import file_sha256

    settings = read_settings(path)
    settings.check_taxonomy(context.taxonomy)
    options = context.read(TorchOptions)
    asked = options.applied(settings)
    device = pick_device(options.device)
    files = sorted(Path(path).glob("*.safetensors"))
    size = sum(each.stat().st_size for each in files)
    if not size:
        raise InputError("is no complete scorer: it holds no weights (*.safetensors)", path=path)
    usual = "auto" if device.type != "cpu" else "float32" if size < _LARGE else "bfloat16"
    with quiet(), read_errors(path):
        model: Any = FlamesScorer.from_pretrained(path, dtype=options.dtype or usual)
    model = model.to(device).eval()
    computed = str(model.dtype).removeprefix("torch.")
    if computed != "float32":
        short = computed.replace("bfloat", "bf").replace("float", "fp")
        asked = asked.model_copy(update={"version": f"{asked.version}+{short}"})
    scorer = ClassifierScorer(
        Encoder(model.encoder.tokenizer, asked),
        lambda rows: model.compute(rows, batch_tokens=options.batch_tokens),
        details={
            "backbone": model.config.text_config.model_type,
            "parameters": model.num_parameters(),
            "device": str(device),
            "dtype": computed,
        },
    )
    files = [*files, Path(path) / TOKENIZER]  # another tokenizer makes another scorer
    return ensure_selftest(scorer, context, "".join(map(file_sha256, files)))


def pick_device(name: str | None = None) -> Any:
    """A torch device by name; the first GPU, if any, unless given.

    Raises:
        UsageError: There is no such device here.
    """
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"unknown device {name!r}; one of: cpu, cuda, cuda:N, mps") from None
    there = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }.get(device.type, 0)
    if (device.index or 0) >= there:
        raise UsageError(f"there is no {name} here ({_present(there, device.type)}); use cpu")
    return device


def _present(count: int, kind: str) -> str:
    return f"{count} {kind} devices" if count else f"no {kind} device"
