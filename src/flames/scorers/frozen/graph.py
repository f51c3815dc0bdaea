"""Gemma 3 as an ONNX graph: its first blocks, from embedded tokens to the states after blocks.

Products are computed in int8 by default, exactly and therefore alike whatever the batch: inputs
are quantized per token, by its own largest value, and weights per output to 7 bits, so that no
sum of two products overflows 16 bits on processors without VNNI.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flames.errors import InputError
from flames.scorers.frozen.gguf import Floats, Gguf
from flames.scorers.frozen.onnx import MICROSOFT, Graph

LONGEST = 512
"""Most tokens of a row: within the sliding window, all layers attend to everything before."""

_GLOBAL_EVERY = 6  # of these blocks, the last one attends to everything, with another base
_LOCAL_BASE = 10_000.0
_LARGEST_INPUT, _LARGEST_WEIGHT = 127.0, 63.0


class Shape:
    """Sizes of the model, read from its file."""

    def __init__(self, file: Gguf) -> None:
        def field(name: str) -> Any:
            if f"gemma3.{name}" not in file.fields:
                raise InputError(f"is no Gemma 3: it has no gemma3.{name}", path=file.path)
            return file.fields[f"gemma3.{name}"]

        self.width = int(field("embedding_length"))
        self.blocks = int(field("block_count"))
        self.heads = int(field("attention.head_count"))
        self.head = int(field("attention.key_length"))
        self.inner = int(field("feed_forward_length"))
        self.epsilon = float(field("attention.layer_norm_rms_epsilon"))
        self.base = float(field("rope.freq_base"))
        if field("attention.head_count_kv") != 1:
            raise InputError("has several heads for keys and values", path=file.path)


def build(file: Gguf, layers: Sequence[int], precision: str) -> bytes:
    """Builds the graph of the blocks up to the last of `layers` (counted from 1).

    Inputs are `embedded` (rows × tokens × width) and `mask` (tokens × tokens, added to the
    scores of attention; row and column as many as there are tokens). Outputs are
    `state<layer>` (rows × tokens × width).
    """
    return _Builder(file, precision).build(layers)


class _Builder:
    def __init__(self, file: Gguf, precision: str) -> None:
        self.file, self.int8 = file, precision == "int8"
        self.shape, self.graph = Shape(file), Graph()
        self.offset = self.graph.constant(np.zeros(1, np.int64))

    def build(self, layers: Sequence[int]) -> bytes:
        shape, graph = self.shape, self.graph
        state = graph.input("embedded", "float32", ("rows", "tokens", shape.width))
        self.mask = graph.input("mask", "float32", (1, "queries", "tokens"))
        self.turns = {base: self._turn(base) for base in (_LOCAL_BASE, shape.base)}
        for block in range(max(layers)):
            state = self._add(state, self._attention(state, block), block, "attention")
            name = f"state{block + 1}" if block + 1 in layers else None
            state = self._add(state, self._mixed(state, block), block, "ffw", name)
            if name:
                graph.output(name, "float32", ("rows", "tokens", shape.width))
        return graph.to_bytes()

    def _turn(self, base: float) -> list[str]:
        """Cosines and sines of rotary positions."""
        speed = base ** (-np.arange(0, self.shape.head, 2) / self.shape.head)
        angle = np.outer(np.arange(LONGEST), speed)
        return [self.graph.constant(f(angle).astype(np.float32)) for f in (np.cos, np.sin)]

    def _attention(self, state: str, block: int) -> str:
        shape, graph = self.shape, self.graph
        known = self._norm(state, f"blk.{block}.attn_norm.weight")
        names = [f"blk.{block}.attn_{each}.weight" for each in "qkv"]
        weights = [self.file.tensor(name) for name in names]
        q, k, v = self._product(known, weights)
        is_global = block % _GLOBAL_EVERY == _GLOBAL_EVERY - 1
        turn = self.turns[shape.base if is_global else _LOCAL_BASE]
        q = self._turned(q, f"blk.{block}.attn_q_norm.weight", turn, shape.heads)
        k = self._turned(k, f"blk.{block}.attn_k_norm.weight", turn, 1)
        # All heads share keys and values: a token's heads are rows of one product.
        folded = graph.constant(np.array([0, -1, shape.head], np.int64))
        q = graph.node("Reshape", [q, folded])
        scale = shape.head**-0.5
        scores = graph.node("FusedMatMul", [q, k], domain=MICROSOFT, transB=1, alpha=scale)
        chances = graph.node("Softmax", [graph.node("Add", [scores, self.mask])], axis=-1)
        mixed = graph.node("MatMul", [chances, v])
        whole = graph.constant(np.array([0, -1, shape.heads * shape.head], np.int64))
        mixed = graph.node("Reshape", [mixed, whole])
        return self._product(mixed, [self.file.tensor(f"blk.{block}.attn_output.weight")])[0]

    def _turned(self, values: str, norm: str, turn: list[str], heads: int) -> str:
        shape, graph = self.shape, self.graph
        apart = graph.constant(np.array([0, 0, heads, shape.head], np.int64))
        whole = graph.constant(np.array([0, 0, heads * shape.head], np.int64))
        normed = self._norm(graph.node("Reshape", [values, apart]), norm)
        inputs = [graph.node("Reshape", [normed, whole]), self.offset, *turn]
        return graph.node("RotaryEmbedding", inputs, domain=MICROSOFT, num_heads=heads)

    def _mixed(self, state: str, block: int) -> str:
        graph = self.graph
        known = self._norm(state, f"blk.{block}.ffn_norm.weight")
        names = [f"blk.{block}.ffn_{each}.weight" for each in ("gate", "up")]
        gate, up = self._product(known, [self.file.tensor(name) for name in names])
        opened = graph.node("FastGelu", [gate], domain=MICROSOFT)
        down = [self.file.tensor(f"blk.{block}.ffn_down.weight")]
        return self._product(graph.node("Mul", [opened, up]), down)[0]

    def _add(self, state: str, change: str, block: int, part: str, name: str | None = None) -> str:
        normed = self._norm(change, f"blk.{block}.post_{part}_norm.weight")
        return self.graph.node("Add", [state, normed], name=name)

    def _norm(self, values: str, name: str) -> str:
        weight = self.graph.constant(self.file.tensor(name))
        kind, epsilon = "SimplifiedLayerNormalization", self.shape.epsilon
        return self.graph.node(kind, [values, weight], axis=-1, epsilon=epsilon)

    def _product(self, values: str, weights: Sequence[Floats]) -> list[str]:
        """Multiplies with matrices (outputs × inputs) that share their input."""
        graph = self.graph
        whole = np.concatenate(weights).T
        if self.int8:
            joint = self._quantized(values, whole)
        else:
            joint = graph.node("MatMul", [values, graph.constant(whole)])
        if len(weights) == 1:
            return [joint]
        sizes = graph.constant(np.array([len(each) for each in weights], np.int64))
        return graph.nodes("Split", [joint, sizes], [None] * len(weights), axis=-1)

    def _quantized(self, values: str, whole: Floats) -> str:
        graph = self.graph
        step = np.maximum(np.abs(whole).max(axis=0), 1e-12) / _LARGEST_WEIGHT
        weights = graph.constant(np.round(whole / step).astype(np.int8))
        axis = graph.constant(np.array([-1], np.int64))
        largest = graph.node("ReduceMax", [graph.node("Abs", [values]), axis], keepdims=1)
        largest = graph.node("Max", [largest, graph.constant(np.array(1e-9, np.float32))])
        even = graph.node("Div", [values, largest])
        scale = graph.constant(np.array(1 / _LARGEST_INPUT, np.float32))
        middle = graph.constant(np.array(128, np.uint8))
        rounded = graph.node("QuantizeLinear", [even, scale, middle])
        inputs = [rounded, weights, scale, graph.constant(step.astype(np.float32)), middle]
        product = graph.node("MatMulIntegerToFloat", inputs, domain=MICROSOFT)
        return graph.node("Mul", [product, largest])
