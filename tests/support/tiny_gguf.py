"""A tiny random Gemma 3 in a GGUF file, with a tokenizer of a few pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

WIDTH, HEADS, HEAD, INNER, BLOCKS = 32, 4, 16, 64, 7
PIECES = [
    "▁",
    *"abcdef答问：哈",
    "ab",
    "abc",
    "bc",
    "▁a",
    "哈哈",
    "哈哈哈",
    "答：",
    "cd",
    "ef",
    "def",
]
WHOLE = ["\n", "\n\n", "\t", "  ", "   ", "<h1>"]
CONTROL = ["<pad>", "<eos>", "<bos>", "<unk>"]
BYTES = [f"<0x{number:02X}>" for number in range(256)]
TOKENS = [*CONTROL, *WHOLE, *BYTES, *PIECES]
KINDS = [3] * len(CONTROL) + [4] * len(WHOLE) + [6] * 256 + [1] * len(PIECES)


def weights() -> dict[str, Any]:
    """Returns its tensors by their names in the file."""
    random = np.random.default_rng(5)

    def matrix(rows: int, columns: int) -> Any:
        return (random.standard_normal((rows, columns)) / columns**0.5).astype(np.float32)

    def norm(size: int) -> Any:
        return random.uniform(0.5, 1.5, size).astype(np.float32)

    made = {"token_embd.weight": matrix(len(TOKENS), WIDTH), "output_norm.weight": norm(WIDTH)}
    for block in range(BLOCKS):
        made |= {
            f"blk.{block}.{name}.weight": value
            for name, value in {
                "attn_q": matrix(HEADS * HEAD, WIDTH),
                "attn_k": matrix(HEAD, WIDTH),
                "attn_v": matrix(HEAD, WIDTH),
                "attn_output": matrix(WIDTH, HEADS * HEAD),
                "attn_q_norm": norm(HEAD),
                "attn_k_norm": norm(HEAD),
                "attn_norm": norm(WIDTH),
                "post_attention_norm": norm(WIDTH),
                "ffn_norm": norm(WIDTH),
                "post_ffw_norm": norm(WIDTH),
                "ffn_gate": matrix(INNER, WIDTH),
                "ffn_up": matrix(INNER, WIDTH),
                "ffn_down": matrix(WIDTH, INNER),
            }.items()
        }
    return made


def write(path: Path, *, heads_kv: int = 1, packed: bool = False) -> Path:
    """Writes the file; if `packed`, matrices are stored in 8 bits."""
    writer = gguf.GGUFWriter(str(path), "gemma3")
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(BLOCKS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(heads_kv)
    writer.add_key_length(HEAD)
    writer.add_feed_forward_length(INNER)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(TOKENS)
    writer.add_token_types(KINDS)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    for name, value in weights().items():
        if packed and value.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quantize(value, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
