"""What a `FlamesScorer` computes beside its backbone: pooling, positions, the loss."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def pool(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """One state a row.

    Args:
        states: Hidden states after the last norm (rows × tokens × width).
        mask: 1 for tokens, 0 for padding on either side (rows × tokens).
        pooling: `cls` (first token), `mean`, or `last` (last token).

    Returns:
        (rows × width)
    """
    if pooling == "mean":
        weights = mask.unsqueeze(-1).to(torch.float32)
        total = (states.to(torch.float32) * weights).sum(dim=1)
        return (total / weights.sum(dim=1).clamp(min=1)).to(states.dtype)
    places = torch.arange(mask.shape[1], device=mask.device)
    if pooling == "last":
        where = (mask.long() * places).argmax(dim=-1)
    else:
        where = mask.long().argmax(dim=-1)
    return states[torch.arange(states.shape[0], device=states.device), where]


def multi_task_loss(heads: Sequence[Tensor], dimension: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of the rows, each under the head of its own dimension only.

    Args:
        heads: Each head's logits (rows × its classes).
        dimension: The head that each row belongs to (rows).
        labels: Targets (rows × most classes), zero beyond a head's own; a row's targets sum to
            its weight.
    """
    total = heads[0].new_zeros((), dtype=torch.float32)
    for index, logits in enumerate(heads):
        target = labels[:, : logits.shape[-1]].float() * (dimension == index).unsqueeze(-1)
        total = total - (target * torch.log_softmax(logits.float(), dim=-1)).sum()
    return total / labels.sum().clamp(min=1e-12)


def without_pooler(backbone: Any) -> Any:
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None  # never read: it would only be dead weight, and untrained
    return backbone


def takes_positions(backbone: nn.Module) -> bool:
    """Whether positions must be given; RoBERTa's kin derive them from the ids, from 2 on."""
    if any(hasattr(m, "create_position_ids_from_input_ids") for m in backbone.modules()):
        return False
    return "position_ids" in inspect.signature(backbone.forward).parameters
