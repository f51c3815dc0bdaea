"""How much memory a training takes in each process, counted without weights or rows.

The tensors that autograd keeps for the backward pass are counted, not computed by a formula: a pass
over a full batch runs on fake tensors, which have shapes and types and no memory.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from transformers import AutoModel

from flames.scorers.trained.backbone import layers_of, quiet
from flames.scorers.trained.model import without_pooler
from flames.training.options import TrainOptions
from flames.training.start import adapted


@dataclass(frozen=True)
class Memory:
    """Bytes per process, and numbers of parameters.

    Args:
        weights: All weights; `gathered` are those that FSDP has whole at a time.
        gradients: Those of what is trained; `buckets` are their copies for the other processes.
        states: AdamW's two moments.
        activations: What a batch keeps for its backward pass; `work` is what one layer
            adds while it goes back: its gradients, or with `checkpoint_layers` its states again.
        together: Whether gradients are there while all activations are.
    """

    parameters: int
    trained: int
    weights: int
    gathered: int
    gradients: int
    buckets: int
    states: int
    activations: int
    work: int
    together: bool

    @property
    def peak(self) -> int:
        """The most at any time: in a step of one batch, gradients come as activations go."""
        pair = (self.gradients, self.activations)
        moving = sum(pair) if self.together else max(pair)
        held = self.weights + self.gathered + self.states + self.buckets
        return held + moving + self.work


def count_memory(config: Any, options: TrainOptions, processes: int) -> Memory:
    """Counts the memory of a training with a backbone of that configuration."""
    with quiet():
        model = _meta(config, options)
    with quiet(), FakeTensorMode(allow_non_fake_inputs=True):
        _fake(model)
        whole = list(model.parameters())
        moved = [each for each in whole if each.requires_grad]
        learning = [any(p.requires_grad for p in e.parameters()) for e in layers_of(model)]
        kept = _kept(model, options)
        one = kept // max(1, sum(learning))
        if options.checkpoint_layers:  # the input of each layer, and one layer recomputed
            model.gradient_checkpointing_enable()
            kept = _kept(model, options)
        layer = max((_size(each.parameters()) for each in layers_of(model)), default=0)
    shards = processes if options.fsdp else 1
    every, gradients = _size(whole), _size(moved)
    outside = every - sum(_size(each.parameters()) for each in layers_of(model))
    computed = 2 if options.bf16 else 1
    return Memory(
        parameters=sum(each.numel() for each in whole),
        trained=sum(each.numel() for each in moved),
        weights=every // shards,
        gathered=(outside + 2 * layer) // computed if options.fsdp else 0,
        gradients=gradients // shards,
        buckets=gradients if processes > 1 and not options.fsdp else 0,
        states=2 * gradients // shards,
        activations=kept,
        work=one,
        together=options.accumulate > 1,
    )


def _meta(config: Any, options: TrainOptions) -> Any:
    # Flash attention, which fake tensors do not have, keeps the same tensors as sdpa.
    wanted = options.attention if options.attention in ("sdpa", "eager") else None
    config = copy.deepcopy(config)
    if options.device != "cpu":  # a GPU's attention keeps no weights, also with dropout
        for name in ("attention_probs_dropout_prob", "attention_dropout"):
            if wanted != "eager" and getattr(config, name, None):
                setattr(config, name, 0.0)
    dtype = getattr(torch, options.dtype)
    with torch.device("meta"):
        model = AutoModel.from_config(config, dtype=dtype, attn_implementation=wanted)
        return adapted(without_pooler(model), options).train()


def _fake(model: Any) -> None:
    for module in model.modules():  # adapters cannot be made of fake tensors
        for name, each in module.named_parameters(recurse=False):
            like = torch.empty(each.shape, dtype=each.dtype)
            setattr(module, name, torch.nn.Parameter(like, each.requires_grad))
        for name, each in module.named_buffers(recurse=False):
            setattr(module, name, torch.empty(each.shape, dtype=each.dtype))


def _kept(model: Any, options: TrainOptions) -> int:
    """Returns the bytes that autograd keeps of a full batch; weights are not counted again."""
    weights = {each.untyped_storage()._cdata for each in model.parameters()}
    storages: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            storages[storage._cdata] = storage
        return tensor

    ids = torch.zeros((options.batch_size, options.longest), dtype=torch.long)
    half = torch.autocast("cpu", torch.bfloat16, enabled=options.bf16)
    with saved_tensors_hooks(keep, lambda tensor: tensor), half:
        state = model(input_ids=ids, attention_mask=torch.ones_like(ids))[0]
    # What the last layer returns is there as well.
    storages[state.untyped_storage()._cdata] = state.untyped_storage()
    return sum(each.nbytes() for each in storages.values())


def _size(parameters: Any) -> int:
    return sum(each.numel() * each.element_size() for each in parameters)
