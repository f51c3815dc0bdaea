"""Backends: what turns a batch of token ids into logits, on which processor."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flames.errors import InputError, OutsideError, need_extra

Ids = NDArray[np.int64]
Logits = NDArray[np.floating[Any]]

_FLAGS = frozenset(
    "avx2 avx_vnni avx512f avx512_vnni avx512_bf16 amx_tile amx_int8 amx_bf16 bf16 i8mm".split()
)  # what matters for matrix products; the last two are ARM's


class OutOfMemoryError(OutsideError):
    """A batch did not fit into memory; a smaller one may."""


@dataclass(frozen=True)
class Shapes:
    """The shapes of batches that a backend computes fastest.

    Args:
        budget: Most tokens per batch, padding included.
        width: Tokens per row are to be a multiple of this.
        tokens: Tokens per batch are to be a multiple of this.
    """

    budget: int = 1024
    width: int = 1
    tokens: int = 1


# A tile of AMX holds 16 rows. Attention over 172 tokens takes a third longer than over 176, and a
# layer's matrices are multiplied by 1,024 tokens a fifth faster than by 1,023 (OpenVINO 2026.4).
TILES = Shapes(budget=2048, width=16, tokens=128)


class Backend(Protocol):
    """Computes a model; `parallel` is how many batches to compute at the same time."""

    name: str
    parallel: int
    best: Shapes

    def infer(self, ids: Ids, mask: Ids) -> Logits:
        """Computes all heads' logits (rows × all classes) of token ids (rows × tokens).

        May be called from several threads at once. The mask is 1 for tokens and 0 for padding. A
        batch that is too large raises `OutOfMemoryError`.
        """


@dataclass(frozen=True)
class Processor:
    """A processor, its features that matter for matrix products, and the cores that may be used."""

    name: str
    flags: frozenset[str]
    cores: int

    @property
    def bf16(self) -> bool:
        """Whether it multiplies bfloat16 in hardware."""
        return bool(self.flags & {"avx512_bf16", "amx_bf16", "bf16"})

    @property
    def int8(self) -> bool:
        """Whether it multiplies 8-bit integers in hardware."""
        return bool(self.flags & {"avx_vnni", "avx512_vnni", "amx_int8", "i8mm"})


@cache
def processor() -> Processor:
    """Returns this machine's processor; without features if there is no `/proc/cpuinfo`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if (given := os.environ.get("OMP_NUM_THREADS", "")).isdecimal() and int(given):
        cores = min(cores or 1, int(given))  # as Slurm and Ray say how many are ours
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        text = ""
    return parse_cpuinfo(text, cores or 1)


def parse_cpuinfo(cpuinfo: str, cores: int) -> Processor:
    """Reads the text of `/proc/cpuinfo`."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    return Processor(fields.get("model name", "unknown"), _FLAGS & flags, cores)


def _memory_or(error: Exception, shape: tuple[int, ...]) -> Exception:
    if isinstance(error, MemoryError) or "alloc" in str(error).lower():
        return OutOfMemoryError(f"not enough memory for a batch of {shape[0]} × {shape[1]} tokens")
    return error


def _unreadable(runtime: str, error: Exception, path: Path | None) -> InputError:
    reason = " ".join(str(error).split())[:200]
    return InputError(f"cannot be run by {runtime}: {reason}", path=path)


def session(
    model: Path | bytes, threads: int, extra: str = "cpu", without: Sequence[str] = ()
) -> Any:
    """Opens a model (a file, or its content) with onnxruntime; 0 threads stand for all cores.

    `without` names optimizers of onnxruntime that are not to run.

    From 1.29 on, onnxruntime reports every model it opens to its makers unless an environment
    variable is set before the import.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    need_extra(extra, "scoring with onnxruntime", "onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        given = model if isinstance(model, bytes) else str(model)
        return onnxruntime.InferenceSession(
            given, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(without)
        )
    except Exception as error:  # its exceptions have no public base
        path = model if isinstance(model, Path) else None
        raise _unreadable("onnxruntime", error, path) from None


class OnnxRuntime:
    """An ONNX model on onnxruntime's CPU provider, one batch per core at a time."""

    def __init__(self, path: Path, precision: str, threads: int | None = None) -> None:
        self.name = f"onnxruntime {precision}"
        self.best = Shapes()
        self.parallel = threads or processor().cores
        # That optimizer merges the inputs of quantized products, which are then not integer ones.
        self._session = session(path, threads=1, without=["CommonSubexpressionElimination"])

    def infer(self, ids: Ids, mask: Ids) -> Logits:
        """Computes a batch; see `Backend`."""
        try:
            outputs = self._session.run(["logits"], {"input_ids": ids, "attention_mask": mask})
        except Exception as error:
            raise _memory_or(error, ids.shape) from None
        return np.asarray(outputs[0])


def turn_keys(model: Any) -> None:
    """Makes the transposition of a product's second factor a part of the product.

    OpenVINO then computes attention without a transposed copy of the keys. The result is the same.
    """
    from openvino import opset13 as ops

    for node in model.get_ordered_ops():
        if node.get_type_name() != "MatMul" or node.get_attributes()["transpose_b"]:
            continue
        turned = node.input_value(1).get_node()
        if turned.get_type_name() != "Transpose":
            continue
        order = turned.input_value(1).get_node()
        if order.get_type_name() != "Constant":
            continue
        *first, row, column = order.get_vector().astype(int)
        if row < column:
            continue
        straight = ops.transpose(turned.input_value(0), ops.constant([*first, column, row]))
        flipped = node.get_attributes()["transpose_a"]
        product = ops.matmul(node.input_value(0), straight, flipped, True)
        for reader in list(node.output(0).get_target_inputs()):
            reader.replace_source_output(product.output(0))


class OpenVino:
    """An ONNX model on OpenVINO's CPU plugin, one stream per core.

    What is not quantized in an `int8` model is computed in bf16 where the processor can, else in
    fp32. Importing OpenVINO reports its use to its makers unless its telemetry package is missing;
    None in that package's place makes the import take the stub that OpenVINO has for that case.
    """

    def __init__(self, path: Path, precision: str, threads: int | None = None) -> None:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        need_extra("cpu", "scoring with OpenVINO", "openvino")
        import openvino

        self.name = f"openvino {precision}"
        self.parallel = threads or processor().cores
        bf16 = precision == "bf16" or (precision == "int8" and processor().bf16)
        self.best = TILES if bf16 and "amx_tile" in processor().flags else Shapes()
        config = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "NUM_STREAMS": self.parallel,
            "INFERENCE_NUM_THREADS": self.parallel,
            "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
        }
        core = openvino.Core()
        try:
            model = core.read_model(str(path))
            turn_keys(model)
            self._model = core.compile_model(model, "CPU", config)
        except RuntimeError as error:
            raise _unreadable("OpenVINO", error, path) from None
        self._free: SimpleQueue[Any] = SimpleQueue()
        for _ in range(self.parallel):
            self._free.put(self._model.create_infer_request())
        # The first array that OpenVINO sees sets up its bindings, and two threads that get there
        # at the same time deadlock: one row goes ahead alone.
        row = np.ones((1, 2), dtype=np.int64)
        self.infer(row, row)

    def infer(self, ids: Ids, mask: Ids) -> Logits:
        """Computes a batch; see `Backend`."""
        request = self._free.get()
        try:
            outputs = request.infer({"input_ids": ids, "attention_mask": mask})
            return np.array(outputs["logits"])
        except (MemoryError, RuntimeError) as error:
            raise _memory_or(error, ids.shape) from None
        finally:
            self._free.put(request)


class Torch:
    """A `FlamesScorer` in evaluation mode, on its device and in its precision."""

    parallel = 1
    best = Shapes()

    def __init__(self, model: Any) -> None:
        self.name = f"torch {str(model.dtype).removeprefix('torch.')} {model.device}"
        self.model = model

    def compute(self, ids: Any, mask: Any) -> Any:
        """Computes the logits of tensors of ids and mask (rows × width)."""
        return self.model(input_ids=ids, attention_mask=mask).logits

    def infer(self, ids: Ids, mask: Ids) -> Logits:
        """Computes a batch; see `Backend`."""
        import torch

        device = self.model.device
        try:
            with torch.inference_mode():
                tensors = torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)
                return np.asarray(self.compute(*tensors).float().cpu().numpy())
        except torch.OutOfMemoryError:
            if device.type == "cuda":
                torch.cuda.empty_cache()
            raise OutOfMemoryError(
                f"not enough memory on {device} for {ids.shape[0]} × {ids.shape[1]} tokens; use a "
                "smaller model, another device or --scorer-option dtype=bfloat16"
            ) from None
