"""Writes ONNX models without the package `onnx`: the few messages of the format that a graph needs.

The numbers are those of fields in onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MICROSOFT = "com.microsoft"
"""The domain of operators that onnxruntime has in addition to the standard's."""

_VERSIONS = {"": 18, MICROSOFT: 1}
_FORMAT = 8
_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int64": 7}
_FLOAT, _INT, _INTS = 1, 2, 7  # types of attributes


class Graph:
    """A graph that grows node by node; a node's name is its output's."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._values: list[bytes] = []
        self._ends: list[bytes] = []
        self._count = 0

    def input(self, name: str, dtype: str, shape: Sequence[str | int]) -> str:
        """Adds an input; a named dimension is free."""
        self._ends.append(_field(11, _value(name, dtype, shape)))
        return name

    def output(self, name: str, dtype: str, shape: Sequence[str | int]) -> None:
        """Makes a value an output of the graph."""
        self._ends.append(_field(12, _value(name, dtype, shape)))

    def constant(self, values: NDArray[Any]) -> str:
        """Adds a constant and returns its name."""
        name = self._name()
        array = np.ascontiguousarray(values)
        dims = b"".join(_number(1, size) for size in array.shape)
        kind = _number(2, _TYPES[str(array.dtype)])
        self._values.append(_field(5, dims, kind, _text(8, name), _field(9, array.tobytes())))
        return name

    def node(self, kind: str, inputs: Sequence[str], *, name: str | None = None, domain: str = "",
             **attributes: float | Sequence[int]) -> str:  # fmt: skip
        """Adds a node with one output and returns the output's name."""
        return self.nodes(kind, inputs, [name or self._name()], domain=domain, **attributes)[0]

    def nodes(self, kind: str, inputs: Sequence[str], outputs: Sequence[str | None], *,
              domain: str = "", **attributes: float | Sequence[int]) -> list[str]:  # fmt: skip
        """Adds a node with several outputs and returns their names."""
        names = [name or self._name() for name in outputs]
        ends = [_text(1, each) for each in inputs] + [_text(2, each) for each in names]
        given = [_field(5, _attribute(*each)) for each in attributes.items()]
        where = [_text(7, domain)] if domain else []
        self._nodes.append(_field(1, *ends, _text(4, kind), *given, *where))
        return names

    def to_bytes(self) -> bytes:
        """Returns the model as a file's content."""
        versions = [
            _field(8, _text(1, domain), _number(2, version))
            for domain, version in _VERSIONS.items()
        ]
        graph = _field(7, *self._nodes, _text(2, "flames"), *self._values, *self._ends)
        return b"".join([_number(1, _FORMAT), graph, *versions])

    def _name(self) -> str:
        self._count += 1
        return f"v{self._count}"


def _attribute(name: str, value: float | Sequence[int]) -> bytes:
    start = _text(1, name)
    if isinstance(value, float):
        return start + _key(2, 5) + struct.pack("<f", value) + _number(20, _FLOAT)
    if isinstance(value, int):
        return start + _number(3, value) + _number(20, _INT)
    return start + b"".join(_number(8, each) for each in value) + _number(20, _INTS)


def _value(name: str, dtype: str, shape: Sequence[str | int]) -> bytes:
    dims = b"".join(
        _field(1, _text(2, size) if isinstance(size, str) else _number(1, size)) for size in shape
    )
    tensor = _field(1, _number(1, _TYPES[dtype]), _field(2, dims))
    return _text(1, name) + _field(2, tensor)


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1  # negative ones in two's complement
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _key(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


def _number(field: int, value: int) -> bytes:
    return _key(field, 0) + _varint(value)


def _field(field: int, *parts: bytes) -> bytes:
    return b"".join((_key(field, 2), _varint(sum(map(len, parts))), *parts))


def _text(field: int, value: str) -> bytes:
    return _field(field, value.encode())
