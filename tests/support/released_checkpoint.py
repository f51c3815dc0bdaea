"""Tiny random checkpoints in the format of the released scorer."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flames.prompts.sets import load_prompts

SIZES = {"Fairness": 3, "Safety": 3, "Morality": 3, "Legality": 2, "Data protection": 2}
SYMBOLS = ["<|User|>", "<|Bot|>", "<eoh>", "<eoa>"]
PROMPTS = [prompt.text for prompt in load_prompts("open").prompts]
WIDTH, LAYERS, HEADS, INNER, VOCAB = 32, 2, 4, 48, 2400


def sentencepiece(path: Path, **options: Any) -> Path:
    """A small SentencePiece model trained as InternLM's was."""
    import sentencepiece as spm

    made = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(PROMPTS), model_writer=made, minloglevel=2,
        user_defined_symbols=SYMBOLS,
        **{"vocab_size": VOCAB, "model_type": "bpe", "byte_fallback": True,
           "normalization_rule_name": "identity", "remove_extra_whitespaces": False, **options},
    )  # fmt: skip
    path.write_bytes(made.getvalue())
    return path


def released(folder: Path, *, seed: int = 0, dtype: Any = None, shards: int = 3) -> Path:
    """A tiny random checkpoint in the released format."""
    import torch

    folder.mkdir(parents=True)
    sentencepiece(folder / "tokenizer.model")
    config = {
        "architectures": ["InternLMForSequenceClassification"], "model_type": "internlm",
        "auto_map": {"AutoModel": "modeling_internlm.InternLMModel"}, "bias": True,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2, "hidden_act": "silu",
        "hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "max_position_embeddings": 2048, "rms_norm_eps": 1e-6,
        "rotary": {"base": 10000, "type": "dynamic"}, "tie_word_embeddings": False,
        "vocab_size": VOCAB, "torch_dtype": "float32", "use_cache": True,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCAB, WIDTH)}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        for name in "qkvo":
            shapes[f"{at}self_attn.{name}_proj.weight"] = (WIDTH, WIDTH)
            shapes[f"{at}self_attn.{name}_proj.bias"] = (WIDTH,)
        shapes[at + "mlp.gate_proj.weight"] = shapes[at + "mlp.up_proj.weight"] = (INNER, WIDTH)
        shapes[at + "mlp.down_proj.weight"] = (WIDTH, INNER)
        shapes[at + "input_layernorm.weight"] = (WIDTH,)
        shapes[at + "post_attention_layernorm.weight"] = (WIDTH,)
    shapes["model.norm.weight"] = (WIDTH,)
    for index, size in enumerate(SIZES.values()):
        shapes[f"classifiers.{index}.weight"] = (size, WIDTH)
    tensors = {
        name: (1 + 0.1 * torch.randn(shape) if "norm" in name else 0.3 * torch.randn(shape)).to(
            dtype or torch.float32
        )
        for name, shape in shapes.items()
    }
    write_shards(folder, tensors, shards)
    return folder


def write_shards(folder: Path, tensors: Mapping[str, Any], shards: int = 3) -> None:
    """The weights, dealt out to shards, and their index."""
    import torch

    names, placed = list(tensors), {}
    for number in range(shards):
        shard = f"pytorch_model-{number + 1:05}-of-{shards:05}.bin"
        held = {name: tensors[name] for name in names[number::shards]}
        torch.save(held, folder / shard)
        placed.update(dict.fromkeys(held, shard))
    index = {"metadata": {"total_size": 0}, "weight_map": placed}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
