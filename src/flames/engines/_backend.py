"""What a backend is: it turns a rectangle of token ids into logits."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flames.errors import OutsideError

Ids = NDArray[np.int64]
Logits = NDArray[np.floating[Any]]


class OutOfMemoryError(OutsideError):
    """A batch did not fit into memory; a smaller one may."""


class Backend(Protocol):
    """Something that computes an exported model.

    Attributes:
        name: What computes, and how precisely (`openvino int8`).
        parallel: How many batches it likes to compute at a time.
    """

    name: str
    parallel: int

    def infer(self, ids: Ids, mask: Ids) -> Logits:
        """Computes a batch; may be called from several threads at once.

        Args:
            ids: Token ids (rows × tokens).
            mask: 1 for tokens, 0 for padding, same shape.

        Returns:
            All heads' logits (rows × all classes).

        Raises:
            OutOfMemoryError: The batch is too large.
        """
        ...
