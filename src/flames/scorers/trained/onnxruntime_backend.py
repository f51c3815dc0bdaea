"""onnxruntime as a backend."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from flames.errors import InputError, MissingExtraError
from flames.scorers.trained.backend import Ids, Logits, OutOfMemoryError, processor


def runtime() -> Any:
    """The `onnxruntime` package, without its telemetry.

    From 1.29 on it reports every model that it opens to its makers, on Linux too, unless this
    variable is set before it is imported.

    Raises:
        MissingExtraError: It is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError("cpu", "scoring with onnxruntime") from None
    return onnxruntime


def session(path: Path, threads: int) -> Any:
    """Opens a model to be computed with so many threads (0 is all).

    Raises:
        InputError: The model cannot be read.
        MissingExtraError: onnxruntime is not installed.
    """
    onnxruntime = runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no public base
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"cannot be run by onnxruntime: {reason}", path=path) from None


class OnnxRuntime:
    """An ONNX model on onnxruntime's processor provider, a batch at a time on each core.

    Args:
        path: The model.
        precision: `fp32` or `int8`, as the model was written.
        threads: Cores to use; all that the process may use unless given.

    Raises:
        InputError: The model cannot be read.
        MissingExtraError: onnxruntime is not installed.
    """

    def __init__(self, path: Path, precision: str, threads: int | None = None) -> None:
        self.name = f"onnxruntime {precision}"
        self.parallel = threads or processor().cores
        self._session = session(path, threads=1)

    def infer(self, ids: Ids, mask: Ids) -> Logits:
        """Computes a batch; see `Backend`."""
        try:
            found = self._session.run(["logits"], {"input_ids": ids, "attention_mask": mask})
        except Exception as error:
            if isinstance(error, MemoryError) or "alloc" in str(error).lower():
                raise OutOfMemoryError(f"no memory for a batch of {ids.shape}") from None
            raise
        logits: Logits = found[0]
        return logits
