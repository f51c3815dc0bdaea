"""A transformers model in this process."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from flames.errors import InputError, UsageError, need_extra
from flames.finish_reasons import status_of
from flames.models.base import (
    ChatModel,
    Frame,
    Message,
    Reply,
    RequestRejected,
    Sampling,
    Usage,
    load_frame,
)
from flames.models.load import ModelOptions
from flames.storage.checksums import file_sha256
from flames.thinking import Tags, read_tags, split_thinking

_LONGEST_ANSWER = 512
_DEFAULTS = Sampling(max_tokens=_LONGEST_ANSWER)


@dataclass(eq=False)
class TransformersModel:
    """A folder of configuration, tokenizer and weights, run one request at a time.

    `frame` is for base models; the tokenizer's chat template is used by default.
    """

    path: Path
    name: str
    frame: Frame | None = None
    think_tags: tuple[Tags, ...] = ()
    defaults: Sampling = _DEFAULTS
    concurrency: int = 1

    def __post_init__(self) -> None:
        self._loaded: tuple[Any, Any] | None = None
        self._lock = threading.Lock()

    def describe(self) -> dict[str, Any]:
        """Describes it for a manifest: folder name, checksum of the weights, frame."""
        described = {"provider": "transformers", "folder": self.path.name}
        described["sha256"] = weights_sha256(self.path)
        return {**described, "frame": self.frame.name} if self.frame else described

    async def ask(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """Gets one answer, loading the model first where it is not loaded."""
        return await asyncio.to_thread(self._ask, messages, sampling)

    async def aclose(self) -> None:
        """Frees the model."""
        self._loaded = None

    def _load(self) -> tuple[Any, Any]:
        transformers = import_module("transformers")
        transformers.utils.logging.disable_progress_bar()  # the run has a bar of its own
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(str(self.path))
            model = transformers.AutoModelForCausalLM.from_pretrained(
                str(self.path), dtype="auto", use_safetensors=True
            )
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UsageError(f"{self.path}: cannot be loaded: {reason}") from None
        if self.frame is None and not tokenizer.chat_template:
            raise UsageError(f"{self.path}: has no chat template; add --frame qa")
        model.to("cuda" if import_module("torch").cuda.is_available() else "cpu").eval()
        return tokenizer, model

    def _ask(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        torch = import_module("torch")
        with self._lock:
            self._loaded = self._loaded or self._load()
            tokenizer, model = self._loaded
            if self.frame is None:
                turns = [{"role": m.role, "content": m.content} for m in messages]
                try:
                    inputs = tokenizer.apply_chat_template(
                        turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
                    )
                except TemplateError as error:  # some take no system text, or no such order
                    raise RequestRejected(f"its chat template: {error}") from None
            else:
                inputs = tokenizer(self.frame.text(messages), return_tensors="pt")
            if sampling.seed is not None:
                torch.manual_seed(sampling.seed)
            inputs = inputs.to(model.device)
            asked = inputs["input_ids"].shape[1]
            try:
                with torch.inference_mode():
                    output = model.generate(
                        **inputs, **self._parameters(sampling, tokenizer, asked)
                    )
            except (ValueError, TypeError, IndexError, RuntimeError) as error:
                reason = str(error).strip().splitlines()[0]
                raise RequestRejected(f"{type(error).__name__}: {reason}") from None
        tokens = output[0, asked:].tolist()
        text = tokenizer.decode(tokens, skip_special_tokens=True)
        cut = len(tokens) >= (sampling.max_tokens or _LONGEST_ANSWER)
        if self.frame is not None:
            shortened = min((text.find(s) for s in self.frame.stop if s in text), default=-1)
            text, cut = (text[:shortened], False) if shortened >= 0 else (text, cut)
        elif cut:
            ends = model.generation_config.eos_token_id
            cut = tokens[-1] not in (ends if isinstance(ends, list) else [ends])
        answer, reasoning, unclosed = split_thinking(text, self.think_tags)
        finish = "length" if cut else "stop"
        return Reply(
            status_of(finish, answer, thought=bool(reasoning), unclosed=unclosed),
            text=answer,
            finish_reason=finish,
            reasoning=reasoning or None,
            usage=Usage(prompt_tokens=asked, completion_tokens=len(tokens)),
        )

    def _parameters(self, sampling: Sampling, tokenizer: Any, asked: int) -> dict[str, Any]:
        parameters: dict[str, Any] = {
            "max_new_tokens": sampling.max_tokens or _LONGEST_ANSWER,
            **sampling.extra,
        }
        if tokenizer.pad_token_id is None:
            parameters["pad_token_id"] = tokenizer.eos_token_id
        if sampling.temperature == 0:
            parameters["do_sample"] = False
        elif sampling.temperature is not None:
            parameters |= {"do_sample": True, "temperature": sampling.temperature}
        if self.frame is not None:
            parameters["stopping_criteria"] = [_stop_at(self.frame.stop, tokenizer, asked)]
        return parameters


def _stop_at(stops: tuple[str, ...], tokenizer: Any, asked: int) -> Callable[..., Any]:
    """Ends an answer at a text (transformers' own criterion supports few tokenizers)."""
    torch = import_module("torch")

    def ended(ids: Any, scores: Any, **_: Any) -> Any:
        text = tokenizer.decode(ids[0, asked:], skip_special_tokens=True)
        found = any(stop in text for stop in stops)
        return torch.full((len(ids),), found, dtype=torch.bool, device=ids.device)

    return ended


def checked_folder(path: str) -> Path:
    """Returns the folder behind `hf:PATH`, if it holds a transformers model."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise InputError("no such folder; hf: takes the folder of a downloaded model", path=folder)
    if not (folder / "config.json").is_file():
        raise InputError("holds no config.json, so no transformers model", path=folder)
    if not any(folder.glob("*.safetensors")):
        raise InputError("holds no weights as safetensors", path=folder)
    return folder


def weights_sha256(folder: Path) -> str:
    """Returns a checksum of the names and the content of a model's weights."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        digest.update(f"{file.name} {file_sha256(file)}\n".encode())
    return digest.hexdigest()


def hf_model(path: str, options: ModelOptions) -> ChatModel:
    """Loads a folder written by transformers' `save_pretrained`, or a cloned model repository."""
    folder = checked_folder(path)
    need_extra("hf", "running a transformers model", "transformers", "torch")
    return TransformersModel(
        folder,
        options.name or folder.resolve().name,
        frame=load_frame(options.frame),
        think_tags=read_tags(options.think_tags),
    )
