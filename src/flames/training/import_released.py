"""Imports the released scorer into our format: native Llama with attention biases."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from flames.errors import InputError, OutsideError, UsageError, need_extra
from flames.metrics.result import Note
from flames.options import Opt
from flames.prompts.sets import load_prompts
from flames.scorers.base import ScorerContext
from flames.scorers.selftest import OFF
from flames.scorers.trained.backbone import one_line
from flames.scorers.trained.encoding import TOKENIZER, Encoder
from flames.scorers.trained.load import RELEASED, default_folder
from flames.scorers.trained.settings import (
    CONFIG,
    RELEASED_TEMPLATE,
    ScorerSettings,
    heads_of,
    read_config,
)
from flames.storage.atomic import folder_atomic
from flames.taxonomy import Taxonomy, TaxonomyOptions, load_taxonomy
from flames.training.checkpoint import Checkpoint, convert, differing, is_derived
from flames.training.config import record_selftest, with_checksum
from flames.training.options import Progress

_SHARD = 2 << 30  # bytes of a written shard, and roughly the peak memory use
_NEEDED = ["*.json", "*.bin", "tokenizer.model"]
_SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
          "num_attention_heads")  # fmt: skip
_DEFAULTS = {
    "rms_norm_eps": 1e-6,
    "max_position_embeddings": 2048,
    "hidden_act": "silu",
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}


@dataclass(frozen=True, kw_only=True)
class ImportOptions(TaxonomyOptions):
    """Options for importing the released scorer, or one of the same format."""

    source: Annotated[
        str,
        Opt(
            f"Folder of the released checkpoint, or its name on the model hub ({RELEASED}).",
            metavar="PATH|NAME",
            positional=True,
        ),
    ]
    out: Annotated[
        Path | None,
        Opt("Output folder; by default where `--scorer flames-scorer` looks.", metavar="DIR"),
    ] = None
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        Opt("Data type of the weights; as stored by default."),
    ] = None
    overwrite: Annotated[bool, Opt("Overwrite an imported scorer that is there.")] = False
    selftest: Annotated[
        str | None,
        Opt("Self-test pairs for another taxonomy; off: test at first use.", metavar="FILE"),
    ] = None


def import_released(
    options: ImportOptions,
    *,
    report: Callable[[str], None] = print,
    progress: Progress = lambda what, share: None,
) -> Path:
    """Imports the released scorer and runs its self-test; what `flames scorer import` does.

    Shards are written in pieces of 2 GB to save memory; the result appears whole or not at all.
    """
    taxonomy = load_taxonomy(options.taxonomy)
    folder = _import(options, taxonomy, progress)
    if options.selftest == OFF:
        return folder
    given = {} if options.selftest is None else {"selftest": options.selftest}
    outcome = record_selftest(folder, ScorerContext(taxonomy=taxonomy, options=given))
    if outcome is None:
        report("not self-tested: there are no pairs for this taxonomy (--selftest FILE)")
    else:
        result = "passed" if outcome.passed else "FAILED; scoring with it will be refused"
        report(f"self-test {result}: {outcome.summary}")
    return folder


def _import(options: ImportOptions, taxonomy: Taxonomy, progress: Progress) -> Path:
    what = "importing the released scorer"
    need_extra("train", what, "sentencepiece", "torch", "transformers")
    import torch

    target = options.out or default_folder()
    if target.is_file():
        raise UsageError(f"{target} is a file; give a folder as --out")
    if target.is_dir() and not options.overwrite and any(target.iterdir()):
        raise UsageError(f"{target} exists; overwrite it with --overwrite")
    folder = _folder(options.source, progress)
    original = _config(folder)
    tokenizer, symbols = _tokenizer(folder, original)
    settings = ScorerSettings(
        name="flames-scorer",
        taxonomy=taxonomy.id,
        heads=heads_of(taxonomy),
        template=RELEASED_TEMPLATE,
        pooling="last",
        pad_id=original["pad_token_id"],
        symbols=symbols,
        notes=(Note.text("the released scorer (InternLM-chat-7B) of the authors, imported"),),
    )
    Encoder(tokenizer, settings)
    config, expected = _native(original, settings)
    checkpoint = Checkpoint(folder)
    progress("checking the tensors", 0.0)
    checkpoint.check(expected, original["rotary"]["base"])
    dtype = getattr(torch, options.dtype) if options.dtype else None
    with folder_atomic(target) as made:
        _write(checkpoint, len(expected), made, dtype, progress)
        config.settings = with_checksum(settings, made)
        config.save_pretrained(made)
        tokenizer.save(str(made / TOKENIZER))
        for path in made.iterdir():
            shutil.copymode(made / CONFIG, path)  # weights are made private
    return target


def _folder(source: str, progress: Progress) -> Path:
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise InputError("is a file; give the folder of the checkpoint", path=source)
    if source.count("/") != 1 or source.startswith((".", "~", "/")):
        message = f"no such folder; the released scorer's name on the hub is {RELEASED}"
        raise InputError(message, path=source)
    from huggingface_hub import snapshot_download

    progress(f"downloading {source}", 0.0)
    try:
        return Path(snapshot_download(source, allow_patterns=_NEEDED))
    except Exception as error:  # the hub's client raises all kinds
        raise OutsideError(
            f"{source} cannot be downloaded ({one_line(error)[:200]}); download it elsewhere and "
            "give its folder"
        ) from None


def _config(folder: Path) -> dict[str, Any]:
    path, found = read_config(folder, "checkpoint")
    if not isinstance(found, dict):
        raise InputError("is no configuration", path=path)
    if (kind := found.get("model_type", "internlm")) != "internlm":
        raise InputError(f"is a {kind!r} model, not the released 'internlm'", path=path)
    config = {
        **_DEFAULTS,
        "bias": True,
        **{name: value for name, value in found.items() if value is not None},
        "rotary": {"base": float((found.get("rotary") or {}).get("base", 10000))},
    }
    for name in _SIZES:
        if not isinstance(config.get(name), int) or config[name] < 1:
            raise InputError("must be a positive whole number", path=path, field=name)
    return config


def _tokenizer(folder: Path, original: Mapping[str, Any]) -> tuple[Any, tuple[str, ...]]:
    path = folder / "tokenizer.model"
    if not path.is_file():
        raise InputError("has no tokenizer.model", path=folder)
    tokenizer, symbols = convert(path)
    if (size := tokenizer.get_vocab_size()) > original["vocab_size"]:
        message = f"has {size} pieces, the model only {original['vocab_size']}"
        raise InputError(message, path=path)
    for symbol in ("<|User|>", "<|Bot|>", "<eoh>"):
        if tokenizer.token_to_id(symbol) is None:
            raise InputError(f"has no symbol {symbol}: not the released tokenizer", path=path)
    texts = [
        RELEASED_TEMPLATE.replace("{prompt}", each.text).replace("{response}", each.text[::-1])
        for each in load_prompts("open").prompts
    ]
    wrong = differing(path, tokenizer, texts)
    if len(wrong) > len(texts) // 100:
        message = f"cannot be converted: {len(wrong)} of {len(texts)} texts get other ids"
        raise InputError(message, path=path)
    return tokenizer, symbols


def _native(
    original: Mapping[str, Any], settings: ScorerSettings
) -> tuple[Any, dict[str, tuple[int, ...]]]:
    """The configuration of the native model, and the shapes of the checkpoint's tensors."""
    import torch
    from transformers import LlamaConfig

    from flames.scorers.trained.model import FlamesScorer, FlamesScorerConfig

    text = LlamaConfig(
        **{name: original[name] for name in (*_SIZES, *_DEFAULTS)},
        attention_bias=bool(original["bias"]),
        rope_parameters={"rope_type": "default", "rope_theta": original["rotary"]["base"]},
    )
    config = FlamesScorerConfig(
        text_config=text, flames=settings, head_bias=False, architectures=["FlamesScorer"]
    )
    with torch.device("meta"):
        model = FlamesScorer(config)
    shapes = {
        re.sub(r"^backbone\.", "model.", name): tuple(tensor.shape)
        for name, tensor in model.state_dict().items()
    }
    return config, shapes


def _write(checkpoint: Checkpoint, count: int, out: Path, dtype: Any, progress: Progress) -> None:
    from safetensors.torch import save_file

    placed: dict[str, str] = {}
    total = 0
    for number, group in enumerate(_groups(checkpoint, dtype), start=1):
        shard = f"model-{number:05}.safetensors"
        save_file(group, out / shard, metadata={"format": "pt"})
        total += sum(tensor.nbytes for tensor in group.values())
        placed.update(dict.fromkeys(group, shard))
        progress("writing the tensors", len(placed) / count)
    index = {"metadata": {"total_size": total}, "weight_map": placed}
    (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), "utf-8")


def _groups(checkpoint: Checkpoint, dtype: Any) -> Iterator[dict[str, Any]]:
    group: dict[str, Any] = {}
    size = 0
    for name, tensor in checkpoint.tensors():
        if is_derived(name):
            continue
        kept = tensor.to(dtype or tensor.dtype).clone().contiguous()
        if group and size + kept.nbytes > _SHARD:
            yield group
            group, size = {}, 0
        group[re.sub(r"^model\.", "backbone.", name)] = kept
        size += kept.nbytes
    yield group
