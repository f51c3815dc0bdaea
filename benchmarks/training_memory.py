"""How much memory `flames scorer train --dry-run` expects, and how much a training takes on a CPU.

    python benchmarks/training_memory.py                      # some minutes on two cores
    python benchmarks/training_memory.py --only "qwen3, LoRA"

Random models are trained for three steps on rows of full length, each in a process of its own.
Taken is the peak of the resident memory after the first step, less what was resident after another
training in the same process of a tiny model: the libraries are not in the estimate.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

LARGE = {"hidden_size": 512, "num_hidden_layers": 6, "num_attention_heads": 8}
SHAPES: dict[str, dict[str, Any]] = {
    "qwen3": {**LARGE, "num_key_value_heads": 2, "head_dim": 64, "intermediate_size": 2048},
    "bert": {**LARGE, "intermediate_size": 2048},
}
PLAIN = {"batch_size": 4, "max_length": 256}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3": ("qwen3", {}),
    "qwen3, half the batch": ("qwen3", {"batch_size": 2}),
    "qwen3, two batches a step": ("qwen3", {"batch_size": 2, "accumulate": 2}),
    "qwen3, --checkpoint-layers": ("qwen3", {"checkpoint_layers": True}),
    "qwen3, --attention eager": ("qwen3", {"attention": "eager"}),
    "qwen3, LoRA": ("qwen3", {"lora_rank": 8}),
    "bert": ("bert", {}),
    "bert, --train-layers 2": ("bert", {"train_layers": 2}),
    "bert, --checkpoint-layers": ("bert", {"checkpoint_layers": True, "batch_size": 8}),
    "qwen3, --bf16": ("qwen3", {"bf16": True, "batch_size": 2}),
}
MODELS = ("red", "blue", "green")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", help="one of the cases; may be repeated")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        train(**json.loads(given.child))
        return
    import tiny_models
    from transformers import AutoConfig

    from flames.training import TrainOptions
    from flames.training.memory import count_memory

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        labels = write_labels(folder / "labels.jsonl")
        for kind, shape in SHAPES.items():
            tiny_models.backbone(folder / kind, kind, **shape)
        tiny_models.backbone(folder / "tiny", "qwen3")
        print(f"{'MB':32} estimated   taken  estimated/taken")
        for case in given.only or CASES:
            kind, changes = CASES[case]
            options = {"backbone": str(folder / kind), "device": "cpu", **PLAIN, **changes}
            config = AutoConfig.from_pretrained(folder / kind).get_text_config()
            expected = count_memory(config, TrainOptions(**options), 1).peak
            out = folder / "out" / re.sub(r"\W+", "-", case)
            given_over = {"labels": str(labels), "tiny": str(folder / "tiny")}
            child = json.dumps({**given_over, "out": str(out), "options": options})
            words = [sys.executable, __file__, "--child", child]
            env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1000000"}  # what is freed is given back
            done = subprocess.run(words, capture_output=True, text=True, env=env, check=False)
            if done.returncode:
                raise SystemExit(f"{case}: {done.stderr[-1000:]}")
            taken = int(done.stdout.split()[-1])
            sizes = f"{expected / 1e6:9.0f} {taken / 1e6:7.0f}"
            print(f"{case:32} {sizes} {expected / taken:16.2f}", flush=True)


def train(labels: str, tiny: str, out: str, options: dict[str, Any]) -> None:
    import torch

    from flames.scorers.labelled import read_labelled
    from flames.taxonomy import default_taxonomy
    from flames.training import SplitOptions, TrainOptions, gradient, split

    torch.set_num_threads(2)
    taxonomy = default_taxonomy()
    chosen = TrainOptions(**options, compare=(), max_steps=3)
    parts = split(read_labelled([labels]), SplitOptions(test_models=("blue",)), taxonomy)
    small = TrainOptions(backbone=tiny, max_length=32, max_steps=2, compare=(), device="cpu")
    gradient.train_by_gradient(parts, small, Path(f"{out}-tiny"), taxonomy)
    seen = {"before": 0, "steps": 0}

    def progress(what: str, share: float) -> None:
        if what.startswith("loading"):
            seen["before"] = resident("VmRSS")
        elif what.startswith("training"):
            seen["steps"] += 1
            if seen["steps"] == 1:  # AdamW's states are there from now on
                Path("/proc/self/clear_refs").write_text("5")
            elif seen["steps"] == 3:
                print(resident("VmHWM") - seen["before"], flush=True)
                os._exit(0)

    gradient.train_by_gradient(parts, chosen, Path(out), taxonomy, progress=progress)


def resident(field: str) -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"{field}:\s+(\d+)", status)[1])  # type: ignore[index]


def write_labels(path: Path) -> Path:
    from flames.taxonomy import default_taxonomy

    with path.open("w", encoding="utf-8") as file:
        for number in range(120):
            dimension = default_taxonomy().dimensions[number // 3 % 5]
            text = "".join(chr(0x4E00 + (number * 37 + place * 11) % 3000) for place in range(600))
            row = {
                "prompt": f"问题{number}？",
                "response": text,
                "model": MODELS[number % 3],
                "dimension": dimension.name,
                "score": dimension.scale[number // 15 % 2],
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path


if __name__ == "__main__":
    main()
