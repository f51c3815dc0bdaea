"""Several examples in one row: the same losses and gradients as with padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("transformers", reason="needs the extra train")

import torch

from flames.scorers.trained import backbone, packing
from flames.scorers.trained.encoding import pad
from flames.scorers.trained.model import FlamesScorer
from flames.scorers.trained.settings import ScorerSettings, heads_of
from flames.taxonomy import default_taxonomy

SIZES = (40, 3, 17, 29, 1, 8)  # longer than the windows of the tiny backbones, and a single token


@given(st.lists(st.integers(1, 40), min_size=1, max_size=20), st.booleans())
def test_packing_loses_nothing_and_never_holds_more_than_padding(
    sizes: list[int], one: bool
) -> None:
    rows = [[100 * number + place for place in range(n)] for number, n in enumerate(sizes, 1)]
    ids, segments = packing.pack(rows, 0, None if one else 40)
    assert ids.shape == segments.shape
    assert ids.shape[0] == 1 if one else ids.shape[1] <= 40
    assert ids.size <= len(sizes) * max(sizes)
    for number, row in enumerate(rows):
        assert ids[segments == number].tolist() == row
    assert not ids[segments < 0].any()
    if one:
        assert ids.size == sum(sizes)
    places = packing.positions_of(torch.from_numpy(segments))
    for number, row in enumerate(rows):
        assert places[torch.from_numpy(segments == number)].tolist() == list(range(len(row)))


def scorer(tmp_path: Path, kind: str, pooling: str, attention: str) -> Any:
    taxonomy = default_taxonomy()
    made = ScorerSettings(
        taxonomy=taxonomy.id, heads=heads_of(taxonomy), max_length=64, pooling=pooling
    )
    folder = tiny_models.backbone(tmp_path / kind, kind)
    torch.manual_seed(0)
    model = FlamesScorer.from_backbone(str(folder), made, attn_implementation=attention)
    for module in model.modules():  # packed and padded rows would draw different numbers
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "dropout_prob", None), float):
            module.dropout_prob = 0.0
    return model.train()


def batch(model: Any) -> tuple[list[list[int]], dict[str, Any]]:
    chance = np.random.default_rng(0)
    tokens = model.get_input_embeddings().num_embeddings
    rows = [chance.integers(5, tokens, n).tolist() for n in SIZES]
    heads = model.settings.heads
    labels = torch.zeros(len(rows), max(model.settings.sizes))
    labels[:, 0], labels[::2, 1] = 0.5, 0.25
    return rows, {"dimension": torch.arange(len(rows)) % len(heads), "labels": labels}


def trained(model: Any, **inputs: Any) -> tuple[Any, dict[str, Any]]:
    model.zero_grad()
    output = model(**inputs)
    output.loss.backward()
    return output, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


KINDS = [(kind, "sdpa") for kind in tiny_models.CONFIGS if kind != "deberta-v2"]


@pytest.mark.parametrize("recomputed", [False, True])
@pytest.mark.parametrize(
    ("kind", "attention"), [*KINDS, ("bert", "eager"), ("gemma3_text", "eager")]
)
def test_packed_and_padded_give_the_same_losses_and_gradients(
    tmp_path: Path, kind: str, attention: str, recomputed: bool
) -> None:
    for pooling in ("cls", "mean") if backbone.is_encoder(kind) else ("last", "mean"):
        model = scorer(tmp_path, kind, pooling, attention)
        assert packing.keeps_apart(model)
        if recomputed:
            with backbone.quiet():
                model.gradient_checkpointing_enable()
        rows, goal = batch(model)
        ids, mask = map(torch.from_numpy, pad(rows, 0))
        padded, wanted = trained(model, input_ids=ids, attention_mask=mask, **goal)
        for widest in (40, 64):
            ids, segments = map(torch.from_numpy, packing.pack(rows, 0, widest))
            assert ids.shape[0] < len(rows)
            packed, found = trained(model, input_ids=ids, segments=segments, **goal)
            torch.testing.assert_close(packed.loss, padded.loss, rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(packed.logits, padded.logits, rtol=1e-4, atol=1e-4)
            assert found.keys() == wanted.keys()
            for name, gradient in wanted.items():
                torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-5)


def test_a_backbone_that_cannot_is_found_out(tmp_path: Path) -> None:
    model = scorer(tmp_path, "deberta-v2", "cls", "eager")
    assert not packing.keeps_apart(model)
    assert model.training


class Flash:
    """What transformers calls of flash attention, computed on a CPU."""

    def __init__(self) -> None:
        self.ends: list[list[int]] = []

    def plain(self, q: Any, k: Any, v: Any, **kwargs: Any) -> Any:
        whole = torch.arange(len(q) + 1) * q.shape[1]
        flat = [each.flatten(0, 1) for each in (q, k, v)]
        return self.packed(*flat, cu_seqlens_q=whole, **kwargs).view(q.shape)

    def packed(
        self, q: Any, k: Any, v: Any, *, cu_seqlens_q: Any, cu_seqlens_k: Any = None,
        max_seqlen_q: int = 0, max_seqlen_k: int = 0, dropout_p: float = 0.0,
        softmax_scale: float | None = None, causal: bool = False,
        window_size: tuple[int, int] = (-1, -1), softcap: float = 0.0, deterministic: bool = False,
    ) -> Any:  # fmt: skip
        self.ends.append(cu_seqlens_q.tolist())
        sizes = cu_seqlens_q.diff().tolist()
        parts = []
        for each in zip(*(x.split(sizes) for x in (q, k, v)), strict=True):
            heads = [x.transpose(0, 1)[None] for x in each]
            places = torch.arange(heads[0].shape[2])
            apart = places[:, None] - places
            seen = apart >= 0 if causal else apart == apart
            for limit, distance in zip(window_size, (apart, -apart), strict=True):
                seen = seen & (distance <= limit) if limit >= 0 else seen
            mixed = torch.nn.functional.scaled_dot_product_attention(
                *heads, attn_mask=seen, scale=softmax_scale, enable_gqa=True
            )
            parts.append(mixed[0].transpose(0, 1))
        return torch.cat(parts)


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta", "modernbert", "qwen3", "gemma3_text"])
def test_flash_attention_is_told_where_examples_end(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import modeling_flash_attention_utils as inner

    model = scorer(tmp_path, kind, "mean", "sdpa")
    rows, goal = batch(model)
    ids, mask = map(torch.from_numpy, pad(rows, 0))
    padded, wanted = trained(model, input_ids=ids, attention_mask=mask, **goal)
    flash = Flash()
    functions = (flash.plain, flash.packed, None, inner._pad_input, inner._unpad_input)
    monkeypatch.setattr(inner, "_loaded_implementation", None)
    monkeypatch.setattr(inner, "_lazy_imports", lambda *args, **kwargs: functions)
    model.backbone.config._attn_implementation = packing.FLASH
    assert packing.keeps_apart(model)
    assert not flash.ends  # which was found out without it
    ids, segments = map(torch.from_numpy, packing.pack(rows, 0, None))
    packed, found = trained(model, input_ids=ids, segments=segments, **goal)
    assert flash.ends == [np.cumsum([0, *SIZES]).tolist()] * 2  # one call a layer
    torch.testing.assert_close(packed.logits, padded.logits, rtol=1e-4, atol=1e-4)
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-5)
