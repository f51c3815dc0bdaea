"""From a scorer's torch model to an ONNX graph."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

OPSET = 18
_ONE_FILE = 1 << 30  # bytes of weights up to which they stand in the model's own file
_FAMILY = ("bert", "roberta", "xlm-roberta")


class _Whole(nn.Module):  # type: ignore[misc]
    """A scorer as it is, giving only its logits."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


class LeanEncoder(nn.Module):  # type: ignore[misc]
    """The arithmetic of BERT and its kin in the form that processors' runtimes fuse best.

    Attention's scale is folded into the query's weights, masking is one addition, and where only
    the first token's state is read, the last layer is computed for that token alone (its keys and
    values still come from all), which saves a thirteenth of a base model's work exactly.

    Args:
        model: A scorer whose `is_lean` is true, with weights in fp32.
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
        self.queries = nn.ModuleList()
        for layer in self.layers:
            query = layer.attention.self.query
            scaled = nn.Linear(query.in_features, query.out_features)
            scaled.weight = nn.Parameter(query.weight.detach() * width**-0.5)
            scaled.bias = nn.Parameter(query.bias.detach() * width**-0.5)
            self.queries.append(scaled)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits (rows × all classes) of rows that are padded on the right."""
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
            states = layer.output.LayerNorm(layer.output.dense(layer.intermediate(seen)) + seen)
        pooled = states[:, 0] if self.first_only else _mean(states, attention_mask)
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


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def is_lean(model: Any) -> bool:
    """Whether `LeanEncoder` computes what the scorer computes."""
    config, settings = model.config.text_config, model.settings
    return (
        config.model_type in _FAMILY
        and settings.pooling in ("cls", "mean")
        and settings.padding_side == "right"
        and not config.is_decoder
        and (config.model_type == "bert" or settings.pad_id == config.pad_token_id)
    )


def write_onnx(model: Any, path: Path) -> None:
    """Writes a scorer as an ONNX model with the inputs `input_ids` and `attention_mask`.

    Args:
        model: A `FlamesScorer` in fp32 and in evaluation mode.
        path: The file; weights beyond a gigabyte stand beside it in `<file>.data`.
    """
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
    """Keeps the exporter's own progress and advice off the terminal."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
