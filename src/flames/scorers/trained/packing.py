"""Several examples in one row without padding, none of which sees another.

`segments` (rows × tokens) says of each token which example it belongs to, -1 for what fills a row.
Flash attention gets one row and the examples' limits; other attention gets a mask for the blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import (
    create_bidirectional_mask,
    create_bidirectional_sliding_window_mask,
    packed_sequence_mask_function,
)

from flames.scorers.trained.backbone import is_encoder

FLASH = "flash_attention_2"
_PROBE = "flames_probe"
_ENDS = ("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k")

Ids = NDArray[np.int64]


def pack(rows: Sequence[Sequence[int]], pad_id: int, widest: int | None) -> tuple[Ids, Ids]:
    """Packs token ids into rows of at most `widest` tokens (one row if None); also the segments.

    Of all numbers of rows, the one that needs the fewest places is chosen, so that packed rows
    never hold more than padded ones would.
    """
    sizes = np.array([len(row) for row in rows])
    order = np.argsort(-sizes, kind="stable")
    counts = range(1, 2) if widest is None else range(1, len(rows) + 1)
    best: list[list[int]] = []
    places = math.inf
    for count in counts:
        loads = [0] * count
        parts: list[list[int]] = [[] for _ in loads]
        for index in order:
            least = loads.index(min(loads))
            loads[least] += int(sizes[index])
            parts[least].append(int(index))
        if count * max(loads) <= places and (widest is None or max(loads) <= widest):
            best, places = parts, count * max(loads)
    width = max(sum(int(sizes[index]) for index in part) for part in best)
    ids = np.full((len(best), width), pad_id, dtype=np.int64)
    segments = np.full((len(best), width), -1, dtype=np.int64)
    for row, part in enumerate(best):
        at = 0
        for index in sorted(part):
            ids[row, at : at + sizes[index]] = rows[index]
            segments[row, at : at + sizes[index]] = index
            at += int(sizes[index])
    return ids, segments


def positions_of(segments: Tensor) -> Tensor:
    """Returns each token's place in its own example (rows × tokens)."""
    places = torch.arange(segments.shape[1], device=segments.device).expand_as(segments)
    new = torch.ones_like(segments, dtype=torch.bool)
    new[:, 1:] = segments[:, 1:] != segments[:, :-1]
    return places - torch.where(new, places, 0).cummax(dim=1).values


def separated(backbone: Any, segments: Tensor) -> dict[str, Any]:
    """Returns the arguments of a backbone under which no example sees another."""
    config = backbone.config
    if config._attn_implementation in (FLASH, _PROBE):
        lengths = torch.bincount(segments[0])
        ends = torch.nn.functional.pad(lengths.cumsum(0), (1, 0)).to(torch.int32)
        longest = int(lengths.max())
        return dict(zip(_ENDS, (ends, ends, longest, longest), strict=True))
    if not is_encoder(config.model_type):  # transformers makes the mask from the positions
        return {"attention_mask": None, "use_cache": False}
    like = next(backbone.parameters())
    about = {
        "config": config,
        "inputs_embeds": torch.empty((*segments.shape, 1), dtype=like.dtype, device=like.device),
        "attention_mask": None,
        "and_mask_function": packed_sequence_mask_function(segments),
    }
    whole = create_bidirectional_mask(**about)
    if "sliding_attention" not in (getattr(config, "layer_types", None) or ()):
        return {"attention_mask": whole}
    band = create_bidirectional_sliding_window_mask(**about)
    return {"attention_mask": {"full_attention": whole, "sliding_attention": band}}


def unpack(states: Tensor, segments: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the states of each example in a row of its own, padded on the right, and the mask."""
    lengths = torch.bincount(segments[segments >= 0])
    order = torch.where(segments < 0, len(lengths), segments).flatten().argsort(stable=True)
    flat = states.flatten(0, 1)[order[: int(lengths.sum())]]
    mask = torch.arange(int(lengths.max()), device=states.device) < lengths[:, None]
    return pad_sequence(list(flat.split(lengths.tolist())), batch_first=True), mask.long()


def keeps_apart(model: Any) -> bool:
    """Tries whether a scorer computes the same for a few examples in one row as for each alone.

    Where flash attention will be used, which no CPU computes, the limits of examples that it would
    get are turned into a mask.
    """
    config, training = model.backbone.config, model.training
    used = config._attn_implementation
    chance = torch.Generator().manual_seed(0)
    tokens = model.get_input_embeddings().num_embeddings
    some = [token for token in torch.randperm(tokens, generator=chance)[:15].tolist()
            if token != model.settings.pad_id]  # fmt: skip
    rows = [some[:5], some[5:8], some[8:14]]
    ids, segments = (torch.from_numpy(each).to(model.device) for each in pack(rows, 0, None))
    model.eval()
    try:
        with torch.no_grad():
            if used == FLASH:
                config._attn_implementation = "sdpa"
            alone = [model.pooled(torch.tensor([row], device=model.device)) for row in rows]
            if used == FLASH:
                AttentionInterface.register(_PROBE, _in_blocks)
                config._attn_implementation = _PROBE
            together = model.pooled(ids, segments=segments).float()
    except Exception:  # a backbone that does not take such arguments raises all kinds
        return False
    finally:
        config._attn_implementation = used
        model.train(training)
    wanted = torch.cat(alone).float()
    exact = 1e-3 if model.dtype == torch.float32 else 5e-2
    return bool((together - wanted).abs().max() <= exact * wanted.abs().max())


def _in_blocks(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any,
    *, cu_seq_lens_q: Tensor, is_causal: bool | None = None, **kwargs: Any,
) -> Any:  # fmt: skip
    kwargs.pop("softcap", None)
    places = torch.arange(query.shape[2], device=query.device)
    block = torch.bucketize(places, cu_seq_lens_q[1:], right=True)
    seen = block[:, None] == block
    if module.is_causal if is_causal is None else is_causal:
        seen = seen & (places[:, None] >= places)
    return sdpa_attention_forward(
        module, query, key, value, seen[None, None], is_causal=False, **kwargs
    )
