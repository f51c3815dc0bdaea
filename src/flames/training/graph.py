"""Writes a scorer's torch model as an ONNX graph, and quantizes such a graph to int8.

Matrix products with constant weights get weights with one scale per output channel and inputs
with one fixed scale, both symmetric, as `QuantizeLinear`/`DequantizeLinear` pairs that OpenVINO
and onnxruntime fuse into integer products. Because the scales are fixed, a row's result does not
depend on its batch. On a processor without VNNI weights get 7 bits, so that sums of products do
not overflow. Before that, outliers are moved from the input channels into the weights
(SmoothQuant, Xiao et al. 2023, arXiv 2211.10438), as far as is best for each input.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor, nn

from flames.scorers.trained.backends import Ids, processor, session
from flames.scorers.trained.model import pool

OPSET = 18
_ONE_FILE = 1 << 30  # bytes of weights up to which they are stored in the model's own file


class _Whole(nn.Module):  # type: ignore[misc]
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


class LeanEncoder(nn.Module):  # type: ignore[misc]
    """The arithmetic of the BERT family in the form that CPU runtimes fuse best.

    The attention scale is folded into the query's weights, masking is one addition, and if only
    the first token's state is read, the last layer is computed for that token alone (its keys and
    values still come from all tokens), which saves a thirteenth of a base model's work. The
    feed-forward part is computed share by share.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        backbone, config = model.backbone, model.config.text_config
        self.embeddings = backbone.embeddings
        self.layers = backbone.encoder.layer
        self.classifiers = model.classifiers
        self.heads = config.num_attention_heads
        self.first_only = model.settings.pooling == "cls"
        self.offset_ids = config.pad_token_id if config.model_type != "bert" else None
        width = config.hidden_size // self.heads
        self.feeds = nn.ModuleList(_Feed(layer) for layer in self.layers)
        self.queries = nn.ModuleList()
        for layer in self.layers:
            query = layer.attention.self.query
            self.queries.append(_linear(query.weight * width**-0.5, query.bias * width**-0.5))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Computes the logits (rows × all classes) of rows that are padded on the right."""
        states = self._embed(input_ids, attention_mask)
        bias = ((attention_mask.to(states.dtype) - 1.0) * 10000.0)[:, None, None, :]
        last = len(self.layers) - 1
        for index, layer in enumerate(self.layers):
            reading = states[:, :1] if self.first_only and index == last else states
            own = layer.attention.self
            query, key, value = (
                self._split(each)
                for each in (self.queries[index](reading), own.key(states), own.value(states))
            )
            weights = torch.softmax(query @ key.transpose(-1, -2) + bias, dim=-1)
            mixed = (weights @ value).transpose(1, 2).flatten(2)
            out = layer.attention.output
            seen = out.LayerNorm(out.dense(mixed) + reading)
            states = layer.output.LayerNorm(self.feeds[index](seen) + seen)
        pooled = states[:, 0] if self.first_only else pool(states, attention_mask, "mean")
        return torch.cat([head(pooled) for head in self.classifiers], dim=-1)

    def _embed(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        tables = self.embeddings
        positions: Tensor = attention_mask.cumsum(1)
        if self.offset_ids is None:
            positions = (positions - 1).clamp(min=0)
        else:
            positions = positions * attention_mask + self.offset_ids
        states: Tensor = tables.word_embeddings(input_ids) + tables.position_embeddings(positions)
        normed: Tensor = tables.LayerNorm(states + tables.token_type_embeddings.weight[0])
        return normed

    def _split(self, states: Tensor) -> Tensor:
        return states.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class _Feed(nn.Module):  # type: ignore[misc]
    """The feed-forward part of a layer, a share of its inner width at a time.

    A share's inner states stay in a core's cache, where those of the whole width do not fit.
    """

    def __init__(self, layer: Any, shares: int = 4) -> None:
        super().__init__()
        first, last = layer.intermediate.dense, layer.output.dense
        self.activation = layer.intermediate.intermediate_act_fn
        self.first, self.last = nn.ModuleList(), nn.ModuleList()
        width = -(-first.out_features // shares)
        for start in range(0, first.out_features, width):
            own = slice(start, start + width)
            self.first.append(_linear(first.weight[own], first.bias[own]))
            self.last.append(_linear(last.weight[:, own], last.bias if start == 0 else None))

    def forward(self, states: Tensor) -> Tensor:
        parts = zip(self.first, self.last, strict=True)
        made: Tensor = sum(last(self.activation(first(states))) for first, last in parts)
        return made


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    made.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        made.bias = nn.Parameter(bias.detach().clone())
    return made


def is_lean(model: Any) -> bool:
    """Returns whether `LeanEncoder` computes the same as the scorer."""
    config, settings = model.config.text_config, model.settings
    return (
        config.model_type in ("bert", "roberta", "xlm-roberta")
        and settings.pooling in ("cls", "mean")
        and settings.padding_side == "right"
        and not config.is_decoder
        and (config.model_type == "bert" or settings.pad_id == config.pad_token_id)
    )


def write_onnx(model: Any, path: Path) -> None:
    """Writes a scorer (fp32, evaluation mode) as ONNX, weights over 1 GB as `<file>.data`."""
    module: nn.Module = (LeanEncoder(model) if is_lean(model) else _Whole(model)).eval()
    size = sum(each.numel() * each.element_size() for each in module.parameters())
    ids = torch.randint(5, max(6, model.config.text_config.vocab_size), (3, 24))
    mask = torch.ones_like(ids)
    mask[0, 11:] = 0  # padded on the right, as batches will be
    free = torch.export.Dim.DYNAMIC
    with _silent(), torch.no_grad():
        torch.onnx.export(
            module,
            (ids, mask),
            str(path),
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_shapes={"input_ids": {0: free, 1: free}, "attention_mask": {0: free, 1: free}},
            opset_version=OPSET,
            dynamo=True,
            external_data=size > _ONE_FILE,
            verbose=False,
        )


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(level)


Array = NDArray[np.float32]
Batch = tuple[Ids, Ids]

_LEAST = 16  # rows and columns below which a matrix stays in fp32 (the heads)
_TABLE = 1024  # rows from which an embedding is quantized
_LARGEST = 127.0
_LARGEST_WITHOUT_VNNI = 63.0  # two products are added in 16 bits there: 2 · 255 · 63 fits


@dataclass
class _Seen:
    """Calibration statistics of one input: largest magnitude and sum of squares per channel."""

    peak: Any = 1e-6
    squares: Any = 0.0
    rows: int = 0

    def add(self, values: Array) -> None:
        rows = values.reshape(-1, values.shape[-1])
        self.peak = np.maximum(self.peak, np.abs(rows).max(axis=0))
        self.squares = self.squares + np.square(rows, dtype=np.float64).sum(axis=0)
        self.rows += len(rows)

    def smoothing(self, matrices: list[Array]) -> Array:
        """Returns the factor that each channel is divided by and its weights multiplied by.

        Of several compromises between even inputs and even weights, it is the one whose rounding
        errors, taken as independent and uniform, add the least noise to the products.
        """
        strongest = np.maximum(np.max([np.abs(m).max(axis=1) for m in matrices], axis=0), 1e-6)
        power = self.squares / max(self.rows, 1)
        best, least = strongest, np.inf
        for share in np.linspace(0.3, 1.0, 15):
            smooth = self.peak**share / strongest ** (1 - share)
            smooth = smooth / np.exp(np.log(smooth).mean())
            noise = 0.0
            for matrix in matrices:
                scaled = matrix * smooth[:, None]
                of_inputs = (self.peak / smooth).max() ** 2 * np.square(scaled).sum()
                of_weights = np.sum(power / smooth**2) * np.square(np.abs(scaled).max(axis=0)).sum()
                noise += float(of_inputs + of_weights)
            if noise < least:
                best, least = smooth, noise
        return np.asarray(best, dtype=np.float32)


def quantize(source: Path, target: Path, batches: Iterable[Batch]) -> None:
    """Writes an int8 copy of a model that `write_onnx` wrote; `batches` hold no padding."""
    model = onnx.load(str(source))
    graph = model.graph
    weights = {each.name: each for each in graph.initializer}
    products = [node for node in graph.node if _is_product(node, weights)]
    names = list(dict.fromkeys(node.input[0] for node in products))
    seen = _calibrate(model, source, names, batches)
    made = _Rewriter(weights)
    for name in names:
        made.shared(name, [node for node in products if node.input[0] == name], seen[name])
    tables = {n for n, w in weights.items() if len(w.dims) == 2 and w.dims[0] >= _TABLE}
    for node in graph.node:
        if node.op_type == "Gather" and node.input[0] in tables:
            made.table(node)
    nodes = [each for node in graph.node for each in (*made.before.get(node.output[0], ()), node)]
    nodes = [each for node in nodes for each in made.instead.get(node.output[0], (node,))]
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [each for each in (*graph.initializer, *made.new) if each.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    _save(model, target)


def _save(model: Any, path: Path) -> None:
    large = sum(len(each.raw_data) for each in model.graph.initializer) > _ONE_FILE
    onnx.save(model, str(path), save_as_external_data=large, location=f"{path.name}.data")


def _is_product(node: Any, weights: dict[str, Any]) -> bool:
    if node.op_type not in ("MatMul", "Gemm") or node.input[1] not in weights:
        return False
    if any(each.name in ("transA", "alpha", "beta") and each.i + each.f not in (0, 1)
           for each in node.attribute):  # fmt: skip
        return False
    shape = weights[node.input[1]].dims
    return len(shape) == 2 and min(shape) >= _LEAST


def _calibrate(
    model: Any, source: Path, names: list[str], batches: Iterable[Batch]
) -> dict[str, _Seen]:
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    known = {each.name for each in probe.graph.output}
    for name in names:
        if name not in known:
            probe.graph.output.append(helper.make_empty_tensor_value_info(name))
    seen = {name: _Seen() for name in names}
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        place = Path(folder) / "probe.onnx"
        _save(probe, place)
        probing = session(place, threads=0)
        for ids, mask in batches:
            found = probing.run(names, {"input_ids": ids, "attention_mask": mask})
            for name, values in zip(names, found, strict=True):
                seen[name].add(values)
    return seen


class _Rewriter:
    def __init__(self, weights: dict[str, Any]) -> None:
        self.weights = weights
        self.new: list[Any] = []
        self.before: dict[str, list[Any]] = {}
        self.instead: dict[str, list[Any]] = {}

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        self.new.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def shared(self, name: str, nodes: list[Any], seen: _Seen) -> None:
        """Quantizes one input and the weights of all products that read it."""
        matrices = [self._matrix(node) for node in nodes]
        smooth = seen.smoothing(matrices)
        scale = np.float32((seen.peak / smooth).max() / _LARGEST)
        factor = self._constant(f"{name}.smooth", 1 / smooth)
        step = self._constant(f"{name}.scale", np.array(scale, np.float32))
        zero = self._constant(f"{name}.zero", np.array(0, np.int8))
        self.before[nodes[0].output[0]] = [
            helper.make_node("Mul", [name, factor], [f"{name}.smoothed"]),
        ]
        # Each product gets its own pair: onnxruntime fuses none that several products share.
        for node, matrix in zip(nodes, matrices, strict=True):
            own = f"{node.output[0]}.in"
            self.before.setdefault(node.output[0], []).extend(
                [
                    helper.make_node("QuantizeLinear", [f"{name}.smoothed", step, zero], [own]),
                    helper.make_node("DequantizeLinear", [own, step, zero], [f"{own}.dq"]),
                    self._weights(node, matrix, smooth),
                ]
            )
            node.input[0] = f"{own}.dq"

    def _matrix(self, node: Any) -> Array:
        values: Array = numpy_helper.to_array(self.weights[node.input[1]]).astype(np.float32)
        return values.T if _transposed(node) else values

    def _weights(self, node: Any, matrix: Array, smooth: Array) -> Any:
        """Replaces a node's weights (inputs × outputs) by quantized ones."""
        scaled = matrix * smooth[:, None]
        largest = _LARGEST if processor().int8 else _LARGEST_WITHOUT_VNNI
        step = np.maximum(np.abs(scaled).max(axis=0), 1e-12) / largest
        whole = np.round(scaled / step).astype(np.int8)
        name = f"{node.output[0]}.w"
        inputs = [
            self._constant(f"{name}.q", whole.T if _transposed(node) else whole),
            self._constant(f"{name}.scale", step.astype(np.float32)),
            self._constant(f"{name}.zero", np.zeros(len(step), np.int8)),
        ]
        node.input[1] = f"{name}.dq"
        axis = 0 if _transposed(node) else 1
        return helper.make_node("DequantizeLinear", inputs, [f"{name}.dq"], axis=axis)

    def table(self, node: Any) -> None:
        """Replaces a look-up in an embedding by one in its quantized rows, with a scale per row."""
        values = numpy_helper.to_array(self.weights[node.input[0]]).astype(np.float32)
        step = np.maximum(np.abs(values).max(axis=1, keepdims=True), 1e-12) / _LARGEST
        name, ids = node.output[0], node.input[1]
        whole = self._constant(f"{name}.rows", np.round(values / step).astype(np.int8))
        steps = self._constant(f"{name}.steps", step.astype(np.float32))
        self.instead[node.output[0]] = [
            helper.make_node("Gather", [whole, ids], [f"{name}.whole"]),
            helper.make_node(
                "Cast", [f"{name}.whole"], [f"{name}.float"], to=onnx.TensorProto.FLOAT
            ),
            helper.make_node("Gather", [steps, ids], [f"{name}.step"]),
            helper.make_node("Mul", [f"{name}.float", f"{name}.step"], [name]),
        ]


def _transposed(node: Any) -> bool:
    return any(each.name == "transB" and each.i for each in node.attribute)
