"""Which backend computes an exported model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path

from flames.engines._backend import Backend
from flames.engines._onnxruntime import OnnxRuntime
from flames.engines._openvino import OpenVino
from flames.engines._processor import Processor, processor
from flames.errors import MissingExtraError, UsageError

_MAKERS: Mapping[str, Callable[[Path, str, int | None], Backend]] = {
    "openvino": OpenVino,
    "onnxruntime": OnnxRuntime,
}
_CAN = {"openvino": ("int8", "bf16", "fp32"), "onnxruntime": ("int8", "fp32")}


def available() -> tuple[str, ...]:
    """The backends that are installed, the faster one first."""
    return tuple(name for name in _MAKERS if find_spec(name) is not None)


def choose(
    faithful: Iterable[str],
    there: Iterable[str] = ("int8", "bf16", "fp32"),
    *,
    backend: str | None = None,
    precision: str | None = None,
    cpu: Processor | None = None,
    present: tuple[str, ...] | None = None,
) -> tuple[str, str, str | None]:
    """The best pair of backend and precision.

    Args:
        faithful: What may be used unasked: those whose labels agree with the original's.
        there: What was exported; the most exact of it is used where nothing else may be.
        backend: `openvino` or `onnxruntime`; the fastest that is installed unless given.
        precision: `int8`, `bf16` or `fp32`; the fastest that the processor computes in
            hardware unless given.
        cpu: This machine's processor unless given.
        present: The installed backends unless given.

    Returns:
        Backend, precision, and what could not be had, in words, or None.

    Raises:
        MissingExtraError: No backend is installed.
        UsageError: That backend is unknown or missing, or cannot compute that precision.
    """
    cpu = cpu or processor()
    present = available() if present is None else present
    if not present:
        raise MissingExtraError("cpu", "an exported scorer")
    if backend is not None and backend not in _MAKERS:
        raise UsageError(f"unknown backend {backend!r}; one of: {', '.join(_MAKERS)}")
    if backend is not None and backend not in present:
        raise MissingExtraError("cpu", f"the backend {backend}")
    chosen = backend or present[0]
    if precision is not None:
        if precision not in _CAN[chosen]:
            can = ", ".join(_CAN[chosen])
            raise UsageError(f"{chosen} computes {can}, not {precision!r}")
        lacks = precision == "bf16" and not cpu.bf16
        return chosen, "fp32" if lacks else precision, _lack("bf16") if lacks else None
    allowed, known = set(faithful), set(there)
    lack = None
    for each in _CAN[chosen]:
        if each not in allowed & known:
            continue
        if (each == "int8" and not cpu.int8) or (each == "bf16" and not cpu.bf16):
            lack = lack or _lack(each)
            continue
        return chosen, each, lack
    return chosen, "fp32" if "fp32" in known else "int8", lack


def _lack(precision: str) -> str:
    units = {"int8": "VNNI", "bf16": "avx512_bf16 or AMX"}
    return f"this processor has no {units[precision]}, so {precision} is not used: slower, as exact"


def open_backend(name: str, path: Path, precision: str, threads: int | None = None) -> Backend:
    """Opens a model with a backend.

    Raises:
        InputError: The model cannot be read.
        MissingExtraError: The backend is not installed.
    """
    return _MAKERS[name](path, precision, threads)
