"""Pretrained backbones: a folder, a GGUF file or a name on the model hub."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flames.errors import FlamesError, InputError, OutsideError, UsageError
from flames.scorers.trained.encoding import check_vocabulary
from flames.scorers.trained.settings import read_config
from flames.text import shorten

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_ENCODERS = ("bert", "electra", "ernie", "nezha", "mpnet")


def load_backbone(
    name_or_path: str, *, layers: int | None = None, **options: Any
) -> tuple[Any, Tokenizer, int]:
    """Loads a backbone (its first `layers`, if given), its tokenizer and the id to pad with."""
    from transformers import AutoModel, AutoTokenizer

    source, where = _where(name_or_path)
    try:
        with quiet(), contextlib.redirect_stderr(io.StringIO()):  # unpacking draws progress bars
            tokenizer = AutoTokenizer.from_pretrained(source, **where)
            model, info = AutoModel.from_pretrained(
                source, **where, **{"dtype": "float32", **_unpacked(where), **options},
                output_loading_info=True, ignore_mismatched_sizes=True,
            )  # fmt: skip
    except Exception as error:  # transformers, safetensors and torch raise all kinds
        raise _unusable(name_or_path, error) from None
    check_loaded(_of_backbone(info, model), name_or_path, "backbone")
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or not set(backend.get_vocab()) - set(tokenizer.all_special_tokens):
        raise InputError("has no fast tokenizer (tokenizer.json)", path=name_or_path)
    model = _plain(getattr(model, "language_model", model))  # the text part of a multimodal one
    check_vocabulary(backend, model.get_input_embeddings().num_embeddings, name_or_path)
    if layers is not None:
        keep_first(model, layers)
    ids = (tokenizer.pad_token_id, model.config.pad_token_id, tokenizer.eos_token_id)
    return model, backend, next((int(each) for each in ids if each is not None), 0)


def _unpacked(where: Mapping[str, Any]) -> dict[str, Any]:
    """Asks for weights of a GGUF file as plain ones, not unpacked anew whenever they are used."""
    import transformers

    # The first releases of transformers 5 have no such option, and always unpack while loading.
    config = getattr(transformers, "GgufConfig", None)
    if config is None or "gguf_file" not in where:
        return {}
    return {"quantization_config": config(dequantize=True)}


def _of_backbone(info: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """What is wrong with the weights that are used: not the pooler's, nor other heads'."""
    own = {name for name, _ in model.named_children()}
    return {
        **info,
        "not_finite": [n for n, each in model.named_parameters() if not each.isfinite().all()],
        "missing_keys": [k for k in info["missing_keys"] if "pooler" not in k.split(".")],
        "unexpected_keys": [
            key
            for key in info["unexpected_keys"]
            if own & set(key.split(".")[:2]) - {"pooler"} and key.endswith(("weight", "bias"))
        ],
    }


def check_loaded(
    info: Mapping[str, Any], path: str | os.PathLike[str], what: str = "scorer"
) -> None:
    """Refuses a model with weights that are not what its configuration says."""
    for key, wrong in (
        ("mismatched_keys", "weights of the wrong shape"),
        ("missing_keys", "weights are missing"),
        ("unexpected_keys", "unknown weights"),
        ("error_msgs", "unreadable weights"),
        ("not_finite", "weights that are not finite"),
    ):
        names = sorted(
            f"{each[0]} {tuple(each[1])} instead of {tuple(each[2])}"
            if isinstance(each, tuple)
            else str(each)
            for each in info.get(key) or ()
        )
        if names:
            raise InputError(f"is a broken {what}, {wrong}: {first_three(names)}", path=path)


def first_three(names: Sequence[str]) -> str:
    """Joins names for a message, at most three of them: `a, b, c and 4 more`."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"


@contextlib.contextmanager
def read_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns whatever breaks while a folder is loaded into a one-line `InputError`."""
    try:
        yield
    except FlamesError:
        raise
    except Exception as error:  # transformers, safetensors and torch raise all kinds
        message = f"is a broken scorer: {shorten(one_line(error), 300)}"
        raise InputError(message, path=path) from error


def one_line(error: Exception) -> str:
    """Returns the message of an error on one line, or its type if it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def layers_of(model: Any) -> Any:
    """Returns the stack of layers of a backbone: its longest list of modules."""
    from torch import nn

    stacks = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    return max(stacks, key=len, default=nn.ModuleList())


def keep_first(model: Any, layers: int) -> None:
    """Drops all layers of a backbone but the first ones."""
    stack = layers_of(model)
    if not 0 < layers <= len(stack):
        raise UsageError(f"--layers {layers}: the backbone has {len(stack)} layers")
    del stack[layers:]
    model.config.num_hidden_layers = layers
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = model.config.layer_types[:layers]


def is_encoder(model_type: str) -> bool:
    """Returns whether an architecture's tokens attend to the whole text, not only to the left."""
    return any(name in model_type for name in _ENCODERS)


def longest_input(config: Any) -> int | None:
    """Returns how many tokens a backbone's positions cover, if it says so."""
    limit = getattr(config, "max_position_embeddings", None)
    if not isinstance(limit, int) or limit < 1:
        return None
    return limit - (config.pad_token_id or 0) - 1 if "roberta" in config.model_type else limit


def public_name(name_or_path: str) -> str:
    """Returns the name of a backbone on the hub, or its file or folder without the private path."""
    name = name_or_path.rstrip("/\\").replace("\\", "/")
    local = os.path.exists(name_or_path) or name.startswith((".", "~")) or name.count("/") != 1
    return name.rsplit("/", 1)[-1] if local else name


def model_type_of(name_or_path: str) -> str:
    """Reads the architecture of a backbone from its configuration."""
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
    """Keeps the progress bars and reports of transformers off the terminal."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # transformers warns itself about names that it will change.
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
    from transformers import CONFIG_MAPPING

    path, config = read_config(folder, "backbone")
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind is None:
        raise InputError("names no architecture", path=path, field="model_type")
    if kind not in (*CONFIG_MAPPING, "flames-scorer"):
        raise InputError(
            f"transformers {version('transformers')} does not know the architecture {kind!r}, "
            "and code that comes with a model is never run",
            path=path,
            field="model_type",
        )


def _unusable(name_or_path: str, error: Exception) -> FlamesError:
    reason = one_line(error)
    if isinstance(error, OSError) and not Path(name_or_path).exists():
        return OutsideError(
            f"{name_or_path} cannot be downloaded ({shorten(reason, 200)}); download it elsewhere "
            "and give its folder"
        )
    if isinstance(error, pickle.UnpicklingError):
        reason = "its weights hold more than tensors, and loading them would run their code"
    return InputError(f"is no usable backbone: {reason[:300]}", path=name_or_path)


def _plain(model: Any) -> Any:
    """Marks a model as not quantized: its weights were unpacked while loading."""
    for name in ("hf_quantizer", "is_quantized", "quantization_method"):
        if name in vars(model):
            delattr(model, name)
    if "quantization_config" in vars(model.config):
        del model.config.quantization_config
    return model
