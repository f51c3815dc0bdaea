"""What a backend is: it turns a rectangle of token ids into logits.

What this machine's processor can do.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
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


TOLD = "avx2 avx_vnni avx512f avx512_vnni avx512_bf16 amx_tile amx_int8 amx_bf16 bf16 i8mm".split()
"""The flags that matter for matrix products (the last two are ARM's)."""


@dataclass(frozen=True)
class Processor:
    """A processor.

    Args:
        name: As it calls itself.
        flags: Those of `TOLD` that it has.
        cores: How many this process may use.
    """

    name: str
    flags: frozenset[str]
    cores: int

    @property
    def bf16(self) -> bool:
        """Whether it multiplies bfloat16 in hardware."""
        return bool(self.flags & {"avx512_bf16", "amx_bf16", "bf16"})

    @property
    def int8(self) -> bool:
        """Whether it multiplies whole numbers of eight bits in hardware."""
        return bool(self.flags & {"avx_vnni", "avx512_vnni", "amx_int8", "i8mm"})

    @property
    def amx(self) -> bool:
        """Whether it has Intel's matrix unit."""
        return "amx_tile" in self.flags


@cache
def processor() -> Processor:
    """This machine's processor; one that nothing is known of where `/proc/cpuinfo` is missing."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        text = ""
    return parse(text, cores or 1)


def parse(cpuinfo: str, cores: int) -> Processor:
    """A processor from the text of `/proc/cpuinfo`."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    return Processor(fields.get("model name", "unknown"), frozenset(flags & set(TOLD)), cores)
