"""Reads GGUF files: their fields, and tensors unpacked to float32."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flames.errors import InputError

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_SCALARS = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}
_TEXT, _LIST = 8, 9


class _Tensor(NamedTuple):
    shape: tuple[int, ...]  # as numpy has it: the last axis is contiguous
    kind: int
    start: int


class Gguf:
    """An open GGUF file (version 2 or 3); its weights stay on disk until they are asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fields: dict[str, Any] = {}
        self._tensors: dict[str, _Tensor] = {}
        try:
            self._data: Bytes = np.memmap(path, dtype=np.uint8, mode="r")
            self._read()
        except (OSError, ValueError, struct.error, KeyError, IndexError) as error:
            raise InputError(f"is no GGUF file that can be read: {error}", path=path) from None

    def _read(self) -> None:
        at = _Cursor(self._data)
        magic, version, tensors, fields = at.take("<4sIQQ")
        if magic != b"GGUF" or version not in (2, 3):
            raise ValueError("no GGUF of version 2 or 3")
        for _ in range(fields):
            name = at.text()
            self.fields[name] = at.value(at.take("<I")[0])
        found = {}
        for _ in range(tensors):
            name = at.text()
            shape = at.take(f"<{at.take('<I')[0]}Q")
            kind, start = at.take("<IQ")
            found[name] = _Tensor(tuple(reversed(shape)), kind, start)
        step = self.fields.get("general.alignment", 32)
        first = -(-at.place // step) * step
        self._tensors = {n: t._replace(start=first + t.start) for n, t in found.items()}

    def rows(self, name: str) -> tuple[Bytes, Callable[[Bytes], Floats]]:
        """Returns a matrix's packed rows (rows × bytes), on disk, and what unpacks some of them."""
        shape, kind, start = self._tensor(name)
        if kind not in _KINDS:
            raise InputError(f"has weights of the type {kind}, not known here", path=self.path)
        block, size, unpack = _KINDS[kind]
        width = shape[-1] // block * size
        end = start + width * prod(shape[:-1])
        if end > len(self._data):
            raise InputError(f"ends before its weights {name!r}", path=self.path)
        packed = self._data[start:end].reshape(-1, width)

        def unpacked(some: Bytes) -> Floats:
            return unpack(some.reshape(-1, size)).reshape(len(some), shape[-1])

        return packed, unpacked

    def tensor(self, name: str) -> Floats:
        """Returns a tensor, unpacked."""
        packed, unpacked = self.rows(name)
        return unpacked(packed).reshape(self._tensor(name).shape)

    def _tensor(self, name: str) -> _Tensor:
        if name not in self._tensors:
            raise InputError(f"has no weights {name!r}", path=self.path)
        return self._tensors[name]


class _Cursor:
    def __init__(self, data: Bytes) -> None:
        self.place = 0
        self._view = data.data

    def take(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(form, self._view, self.place)
        self.place += struct.calcsize(form)
        return found

    def text(self) -> str:
        (size,) = self.take("<Q")
        if size > len(self._view) - self.place:
            raise ValueError("a text runs past its end")
        self.place += size
        return str(self._view[self.place - size : self.place], "utf-8", "replace")

    def value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self.text()
        if kind != _LIST:
            return self.take(f"<{_SCALARS[kind]}")[0]
        inner, count = self.take("<IQ")
        if count > len(self._view) - self.place:
            raise ValueError("a list runs past its end")
        if inner in (_TEXT, _LIST):
            return [self.value(inner) for _ in range(count)]
        return list(self.take(f"<{count}{_SCALARS[inner]}"))


def _half(packed: Bytes) -> Floats:
    found: Floats = packed.copy().view(np.float16).astype(np.float32)
    return found


def _q5_0(packed: Bytes) -> Floats:
    bits = np.unpackbits(packed[:, 2:6], axis=1, bitorder="little")
    low = packed[:, 6:]
    whole = np.concatenate([low & 15, low >> 4], axis=1) | (bits << 4)
    found: Floats = (whole.astype(np.int8) - 16) * _half(packed[:, :2])
    return found


def _q8_0(packed: Bytes) -> Floats:
    whole: NDArray[np.int8] = packed[:, 2:].view(np.int8)
    found: Floats = whole * _half(packed[:, :2])
    return found


def _q4_k(packed: Bytes) -> Floats:
    scale, least = _half(packed[:, :2]), _half(packed[:, 2:4])
    a, b, c = packed[:, 4:8], packed[:, 8:12], packed[:, 12:16]
    scales = np.concatenate([a & 63, (c & 15) | (a >> 6 << 4)], axis=1)
    leasts = np.concatenate([b & 63, (c >> 4) | (b >> 6 << 4)], axis=1)
    low = packed[:, 16:].reshape(-1, 4, 1, 32)
    whole = np.concatenate([low & 15, low >> 4], axis=2).reshape(-1, 8, 32)
    found: Floats = (scale * scales)[:, :, None] * whole - (least * leasts)[:, :, None]
    return found


def _q6_k(packed: Bytes) -> Floats:
    low = packed[:, :128].reshape(-1, 2, 1, 64)
    low = np.concatenate([low & 15, low >> 4], axis=2).reshape(-1, 2, 4, 32)
    shifts = np.array([[0], [2], [4], [6]], np.uint8)
    high = packed[:, 128:192].reshape(-1, 2, 1, 32) >> shifts
    whole = (low | ((high & 3) << 4)).astype(np.int8) - 32
    scale = packed[:, 192:208].view(np.int8) * _half(packed[:, 208:])
    found: Floats = scale[:, :, None] * whole.reshape(-1, 16, 16)
    return found


_KINDS: Mapping[int, tuple[int, int, Callable[[Bytes], Floats]]] = {
    0: (1, 4, lambda packed: packed.copy().view(np.float32)),
    1: (1, 2, _half),
    6: (32, 22, _q5_0),
    8: (32, 34, _q8_0),
    12: (256, 144, _q4_k),
    14: (256, 210, _q6_k),
}  # by the format's number: weights in a block, its bytes, and what unpacks blocks
