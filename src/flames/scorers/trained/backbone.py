"""Pretrained backbones: a folder, a GGUF file or a name on the model hub."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flames.errors import FlamesError, InputError, OutsideError, UsageError
from flames.scorers.trained.checks import check_loaded, check_vocabulary
from flames.text import shorten

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_ENCODERS = ("bert", "electra", "ernie", "nezha", "mpnet")


def load_backbone(
    name_or_path: str, *, layers: int | None = None, **options: Any
) -> tuple[Any, Tokenizer, int]:
    """Loads a backbone, its tokenizer and the id to pad with.

    Args:
        name_or_path: A folder, a `.gguf` file, or a name on the model hub.
        layers: Keep only so many of its layers, the first ones.
        options: Options of `AutoModel.from_pretrained` (`dtype`, …).

    Raises:
        InputError: There is none, or it cannot be read.
        OutsideError: It cannot be fetched from the model hub.
        UsageError: It has fewer layers.
    """
    from transformers import AutoModel, AutoTokenizer

    source, where = _where(name_or_path)
    try:
        with quiet(), contextlib.redirect_stderr(io.StringIO()):  # unpacking draws bars of its own
            tokenizer = AutoTokenizer.from_pretrained(source, **where)
            model, info = AutoModel.from_pretrained(
                source, **where, **{"dtype": "float32", **options},
                output_loading_info=True, ignore_mismatched_sizes=True,
            )  # fmt: skip
    except Exception as error:  # transformers, safetensors and torch raise all kinds
        raise _unusable(name_or_path, error) from None
    check_loaded(_of_backbone(info, model), name_or_path, "backbone")
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or not set(backend.get_vocab()) - set(tokenizer.all_special_tokens):
        raise InputError("has no fast tokenizer (tokenizer.json)", path=name_or_path)
    model = _plain(_text_model(model))
    check_vocabulary(backend, model.get_input_embeddings().num_embeddings, name_or_path)
    if layers is not None:
        _keep_first(model, layers)
    return model, backend, _pad_id(tokenizer, model.config)


def _of_backbone(info: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """What was wrong with weights that are used: not the pooler's, nor other heads'."""
    own = {name for name, _ in model.named_children()}
    found = dict(info)
    found["not_finite"] = [
        name for name, each in model.named_parameters() if not each.isfinite().all()
    ]
    found["missing_keys"] = [k for k in info["missing_keys"] if "pooler" not in k.split(".")]
    found["unexpected_keys"] = [
        key
        for key in info["unexpected_keys"]
        if own & set(key.split(".")[:2]) - {"pooler"} and key.endswith(("weight", "bias"))
    ]
    return found


def layers_of(model: Any) -> Any:
    """The stack of layers of a backbone: its longest list of modules."""
    from torch import nn

    stacks = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    return max(stacks, key=len, default=nn.ModuleList())


def _keep_first(model: Any, layers: int) -> None:
    stack = layers_of(model)
    if not 0 < layers <= len(stack):
        raise UsageError(f"--layers {layers}: the backbone has {len(stack)} layers")
    del stack[layers:]
    model.config.num_hidden_layers = layers
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = model.config.layer_types[:layers]


def is_encoder(model_type: str) -> bool:
    """Whether an architecture's tokens see the whole text, not only what stands before them."""
    return any(name in model_type for name in _ENCODERS)


def longest_input(config: Any) -> int | None:
    """The most tokens that a backbone's positions reach, where it says so."""
    limit = getattr(config, "max_position_embeddings", None)
    if not isinstance(limit, int) or limit < 1:
        return None
    return limit - (config.pad_token_id or 0) - 1 if "roberta" in config.model_type else limit


def shown_name(name_or_path: str) -> str:
    """What is told of a backbone: its name on the hub, or that of its file or folder alone.

    Where somebody's folders stand is nobody else's business.
    """
    name = name_or_path.rstrip("/\\").replace("\\", "/")
    local = os.path.exists(name_or_path) or name.startswith((".", "~")) or name.count("/") != 1
    return name.rsplit("/", 1)[-1] if local else name


def model_type_of(name_or_path: str) -> str:
    """The architecture of a backbone, read from its configuration alone.

    Raises:
        InputError: There is none, or it cannot be read.
        OutsideError: It cannot be fetched from the model hub.
    """
    from transformers import AutoConfig

    source, where = _where(name_or_path)
    try:
        with quiet():
            found = str(AutoConfig.from_pretrained(source, **where).model_type)
    except Exception as error:  # of all kinds
        raise _unusable(name_or_path, error) from None
    if found == "flames-scorer":
        raise InputError("is a scorer; give the backbone that it was made from", path=name_or_path)
    return found


@contextlib.contextmanager
def quiet() -> Any:
    """Keeps transformers' own bars and reports off the terminal; ours says what matters."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # What transformers says to itself about names that it will change.
            warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _where(name_or_path: str) -> tuple[str, dict[str, Any]]:
    path = Path(name_or_path)
    if path.is_dir():
        _check_config(path)
        return str(path), {"local_files_only": True}
    if path.suffix == ".gguf" and path.is_file():
        return str(path.parent), {"gguf_file": path.name, "local_files_only": True}
    if path.exists() or name_or_path.startswith((".", os.sep, "~")) or name_or_path.count("/") > 1:
        raise InputError("is no model: give a folder or a .gguf file", path=name_or_path)
    return name_or_path, {}


def _check_config(folder: Path) -> None:
    """Makes sure that a folder says which architecture it holds, and that it is a known one."""
    from transformers import CONFIG_MAPPING

    path = folder / "config.json"
    if not path.is_file():
        raise InputError("is no backbone: it holds no config.json", path=folder)
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        raise InputError("is no JSON in UTF-8", path=path) from None
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind is None:
        raise InputError("names no architecture", path=path, field="model_type")
    if kind not in (*CONFIG_MAPPING, "flames-scorer"):
        raise InputError(
            f"transformers {version('transformers')} has no architecture {kind!r}, and code that "
            "a model brings is never run",
            path=path,
            field="model_type",
        )


def _unusable(name_or_path: str, error: Exception) -> FlamesError:
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and not Path(name_or_path).exists():
        advice = "fetch it elsewhere and give its folder"
        return OutsideError(f"{name_or_path} cannot be fetched ({shorten(reason, 200)}); {advice}")
    if isinstance(error, pickle.UnpicklingError):
        reason = "its weights hold more than tensors, and loading them would run their code"
    return InputError(f"is no usable backbone: {reason[:300]}", path=name_or_path)


def _text_model(model: Any) -> Any:
    """The text part of a model that sees or hears as well."""
    return model.language_model if hasattr(model, "language_model") else model


def _plain(model: Any) -> Any:
    """A model whose quantized weights were unpacked while loading no longer counts as quantized."""
    for name in ("hf_quantizer", "is_quantized", "quantization_method"):
        if name in vars(model):
            delattr(model, name)
    if "quantization_config" in vars(model.config):
        del model.config.quantization_config
    return model


def _pad_id(tokenizer: Any, config: Any) -> int:
    for found in (tokenizer.pad_token_id, config.pad_token_id, tokenizer.eos_token_id):
        if found is not None:
            return int(found)
    return 0
