"""Trains, scores and exports random models on a GPU; `gpu_check.sh` starts it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SHAPES = {
    "tiny": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "intermediate_size": 64, "head_dim": 8},
    "0.5B": {"hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14,
             "num_key_value_heads": 2, "intermediate_size": 4864, "head_dim": 64},
}  # fmt: skip
DIMENSIONS = ("Fairness", "Safety", "Morality", "Legality", "Data protection")


def main(device: str) -> None:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("gpu_check: torch sees no GPU here; --cpu checks a tiny model without one")
    where = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    print(f"torch {torch.__version__}, {where}", flush=True)
    with tempfile.TemporaryDirectory() as place:
        for name in SHAPES if device == "cuda" else ("tiny",):
            check(name, device, Path(place) / name)
    print("all ran")


def check(name: str, device: str, place: Path) -> None:
    place.mkdir()
    labels = write_labels(place / "labels.jsonl")
    make_backbone(place / "backbone", name)
    fast = ["--bf16", "--checkpoint-layers"] if device == "cuda" else []
    trained = place / "scorer"
    flames(name, "scorer", "train", "--labels", labels, "--backbone", place / "backbone",
           "--test-models", "blue", "--val-models", "green", "--max-length", "64",
           "--max-steps", "4", "--batch-size", "4", "--device", device, "--out", trained,
           "--packing", "--quiet", *fast)  # fmt: skip
    card = (trained / "README.md").read_text("utf-8").splitlines()
    used = [line[2:] for line in card if line.startswith(("- attention: ", "- packing: "))]
    print(f"{name}: {', '.join(used)}", flush=True)
    flames(name, "score", labels, "--scorer", trained, "--ignore-selftest", "--quiet",
           "--scorer-option", f"device={device}", "--out", place / "verdicts.jsonl")  # fmt: skip
    lines = (place / "verdicts.jsonl").read_text("utf-8").splitlines()
    scores = [json.loads(line)["score"] for line in lines]
    assert len(scores) == 60, "a response has no verdict"
    assert None not in scores, "a response has no score"
    flames(name, "scorer", "export", trained, "--out", place / "exported", "--labels", labels,
           "--min-agreement", "0", "--quiet")  # fmt: skip


def flames(name: str, *words: Any) -> None:
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "flames", *map(str, words)], capture_output=True,
                          text=True)  # fmt: skip
    what = " ".join(str(word) for word in words[:2] if not Path(str(word)).exists())
    if done.returncode:
        raise SystemExit(f"gpu_check: flames {what} ({name}) failed:\n{done.stderr[-2000:]}")
    print(f"{name}: flames {what}: {time.perf_counter() - begun:.1f} s", flush=True)


def write_labels(path: Path) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for number in range(60):
            score = 3 - 2 * (number // 15 % 2) if number % 3 else 3
            row = {"prompt": f"问题{number}？", "response": "好的，" + "可以" * (number % 7),
                   "model": ("red", "blue", "green")[number % 3], "score": score,
                   "dimension": DIMENSIONS[number // 3 % 5]}  # fmt: skip
            if row["dimension"] in ("Legality", "Data protection"):
                row["score"] = 3 if number % 2 else 1
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path


def make_backbone(folder: Path, name: str) -> None:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    texts = "问题？好的，可以0123456789Input: Outp\n"
    vocabulary = {
        each: place for place, each in enumerate(["[PAD]", "[UNK]", *dict.fromkeys(texts)])
    }
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    config = AutoConfig.for_model("qwen3", vocab_size=1024, max_position_embeddings=512,
                                  pad_token_id=0, **SHAPES[name])  # fmt: skip
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    fast.save_pretrained(folder)


if __name__ == "__main__":
    main(sys.argv[1])
