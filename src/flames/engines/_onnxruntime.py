"""onnxruntime as a backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flames.engines._backend import Ids, Logits, OutOfMemoryError
from flames.engines._processor import processor
from flames.errors import InputError, MissingExtraError


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
        try:
            import onnxruntime
        except ImportError:
            raise MissingExtraError("cpu", "scoring with onnxruntime") from None
        self.name = f"onnxruntime {precision}"
        self.parallel = threads or processor().cores
        options: Any = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no public base
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"cannot be run by onnxruntime: {reason}", path=path) from None

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
