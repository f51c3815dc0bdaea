"""OpenVINO as a backend."""

from __future__ import annotations

import sys
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from flames.errors import InputError, MissingExtraError
from flames.scorers.trained.backend import Ids, Logits, OutOfMemoryError, processor

_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}


def runtime() -> Any:
    """The `openvino` package, without its telemetry.

    Importing it reports the use to its makers unless its telemetry package is missing; None in
    its place makes the import take the stub that OpenVINO brings for that case.

    Raises:
        MissingExtraError: It is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError:
        raise MissingExtraError("cpu", "scoring with OpenVINO") from None
    return openvino


class OpenVino:
    """An ONNX model on OpenVINO's processor plugin, one stream a core.

    Args:
        path: The model.
        precision: What is computed in: `fp32`, `bf16`, or `int8` (a quantised model; what is
            not quantised in it is computed in bf16 where the processor can, else in fp32).
        threads: Cores to use; all that the process may use unless given.

    Raises:
        InputError: The model cannot be read.
        MissingExtraError: OpenVINO is not installed.
    """

    def __init__(self, path: Path, precision: str, threads: int | None = None) -> None:
        openvino = runtime()
        self.name = f"openvino {precision}"
        self.parallel = threads or processor().cores
        rest = "bf16" if processor().bf16 else "fp32"
        core = openvino.Core()
        try:
            model = core.read_model(str(path))
            self._model = core.compile_model(
                model,
                "CPU",
                {
                    "PERFORMANCE_HINT": "THROUGHPUT",
                    "NUM_STREAMS": self.parallel,
                    "INFERENCE_NUM_THREADS": self.parallel,
                    "INFERENCE_PRECISION_HINT": _PRECISIONS[
                        rest if precision == "int8" else precision
                    ],
                },
            )
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"cannot be run by OpenVINO: {reason}", path=path) from None
        self._free: SimpleQueue[Any] = SimpleQueue()
        for _ in range(self.parallel):
            self._free.put(self._model.create_infer_request())
        # OpenVINO's first look at an array sets up its bindings, and two threads that come to it
        # at once wait for each other for ever: one row goes ahead alone.
        row = np.ones((1, 2), dtype=np.int64)
        self.infer(row, row)

    def infer(self, ids: Ids, mask: Ids) -> Logits:
        """Computes a batch; see `Backend`."""
        request = self._free.get()
        try:
            found = request.infer({"input_ids": ids, "attention_mask": mask})
            logits: Logits = found["logits"].copy()
            return logits
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, MemoryError) or "alloc" in str(error).lower():
                raise OutOfMemoryError(f"no memory for a batch of {ids.shape}") from None
            raise
        finally:
            self._free.put(request)
