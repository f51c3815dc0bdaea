"""A scorer's original weights as a backend: torch, on a processor or a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from flames.scorers.trained.backend import Ids, Logits, OutOfMemoryError


class Torch:
    """A `FlamesScorer` where it stands: its device, its precision.

    Args:
        model: The scorer, in evaluation mode.
    """

    parallel = 1

    def __init__(self, model: Any) -> None:
        self.name = f"torch {str(model.dtype).removeprefix('torch.')} {model.device}"
        self.model = model

    def compute(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """What is wanted of a batch (rows × width): its logits."""
        logits: torch.Tensor = self.model(input_ids=ids, attention_mask=mask).logits
        return logits

    def infer(self, ids: Ids, mask: Ids) -> Logits:
        """Computes a batch; see `Backend`."""
        device = self.model.device
        try:
            with torch.inference_mode():
                found = self.compute(
                    torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)
                )
                return np.asarray(found.float().cpu().numpy())
        except torch.OutOfMemoryError:
            if device.type == "cuda":
                torch.cuda.empty_cache()
            raise OutOfMemoryError(
                f"not enough memory on {device} for {ids.shape[0]} × {ids.shape[1]} tokens; a "
                "smaller model, another device or --scorer-option dtype=bfloat16 may do"
            ) from None
