"""Training the heads alone: a backbone's pooled states are computed once, the heads are solved."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from flames.errors import UsageError
from flames.scorers.classifier import Head, pad
from flames.scorers.classifier._load import pick_device
from flames.taxonomy import Taxonomy
from flames.text import shorten
from flames.training._leaks import near_same
from flames.training._options import TrainOptions
from flames.training._rows import Rows
from flames.training._solving import COSTS, Heads, Matrix, log_loss, logits_of, solve
from flames.training._splits import LEFT_OUT, check_dimensions

_BATCH_TOKENS = 4096
_TURNS = 3  # parts of the prompts that are held back in turn

Progress = Callable[[str, float], None]


def check_options(options: TrainOptions) -> None:
    """Makes sure that nothing is asked for which solved heads cannot have.

    Raises:
        UsageError: Something is.
    """
    barred = {
        "--lora-rank": options.lora_rank,
        "--train-layers": options.train_layers is not None,
        "--fsdp": options.fsdp,
    }
    for name, given in barred.items():
        if given:
            raise UsageError(f"{name} trains the backbone, --frozen leaves it as it is")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("--frozen needs one process, not torchrun")


def solve_heads(
    model: Any,
    rows: Rows,
    held: Mapping[str, Rows],
    options: TrainOptions,
    taxonomy: Taxonomy,
    progress: Progress,
) -> dict[str, Matrix]:
    """Solves a model's heads on the training rows.

    Args:
        model: Its heads are replaced.
        rows: The training part.
        held: The parts that are held back. A validation part chooses how strong the penalty
            is; of the part that is left out in turn each row is judged by heads that were
            solved without its model and without its prompt.
        options: How the states are computed.
        taxonomy: Whose dimensions every training must see.
        progress: Told what is being done.

    Returns:
        All heads' logits of each part's rows.

    Raises:
        UsageError: There are too few models or rows of a dimension to leave some out.
    """
    heads = model.settings.heads
    states = {"training": _states(model, rows, options, progress, "training")}
    for name, each in held.items():
        same = name == LEFT_OUT
        states[name] = states["training"] if same else _states(model, each, options, progress, name)
    dimension, targets = _columns(rows)
    chosen = COSTS[2]
    if "validation" in held:
        progress("choosing the penalty", 1.0)
        goal = _columns(held["validation"])
        losses = {}
        for cost in COSTS:
            made = solve(states["training"], dimension, targets, heads, cost)
            losses[cost] = log_loss(logits_of(states["validation"], made), *goal, heads)
        chosen = min(losses, key=losses.__getitem__)
    progress("solving the heads", 1.0)
    made = solve(states["training"], dimension, targets, heads, chosen)
    _put(model, made)
    found = {name: logits_of(states[name], made) for name in held if name != LEFT_OUT}
    if LEFT_OUT in held:
        found[LEFT_OUT] = _left_out(states[LEFT_OUT], rows, heads, taxonomy, progress)
    return found


def _columns(rows: Rows) -> tuple[NDArray[np.int64], Matrix]:
    dimension = np.array([item["dimension"] for item in rows.items], dtype=np.int64)
    return dimension, np.stack([item["labels"] for item in rows.items]).astype(np.float32)


def _states(model: Any, rows: Rows, options: TrainOptions, progress: Progress, part: str) -> Matrix:
    """The pooled state of each row (rows × width)."""
    settings = model.settings
    device = pick_device(options.device)
    model.to(device).eval()
    lengths = np.array(rows.lengths)
    found = np.zeros((len(rows), model.config.text_config.hidden_size), dtype=np.float32)
    done = 0
    for batch in _batches(lengths):
        ids, mask = (
            torch.as_tensor(each, device=device)
            for each in pad(
                [rows.encoded[index].ids for index in batch],
                settings.pad_id,
                settings.padding_side,
            )
        )
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, options.bf16):
            found[batch] = model.pooled(ids, mask).float().cpu().numpy()
        done += len(batch)
        progress(f"reading the {part} part", done / len(rows))
    if not np.isfinite(found).all():
        raise UsageError("the backbone's states are not finite; compute without --bf16")
    return found


def _batches(lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Rows by falling length, as many at a time as fit."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        count = max(1, _BATCH_TOKENS // max(1, int(lengths[order[start]])))
        yield order[start : start + count]
        start += count


def _put(model: Any, made: Heads) -> None:
    with torch.no_grad():
        for head, (weights, bias) in zip(model.classifiers, made, strict=True):
            head.weight.copy_(torch.as_tensor(weights))
            head.bias.copy_(torch.as_tensor(bias))


def _left_out(
    states: Matrix, rows: Rows, heads: Sequence[Head], taxonomy: Taxonomy, progress: Progress
) -> Matrix:
    """Logits of rows by heads that saw neither their model nor their prompt, nor a like pair."""
    dimension, targets = _columns(rows)
    models = np.array([row.key.model for row in rows.rows])
    turns = np.array([_turn(row.key.prompt_id) for row in rows.rows])
    alike = np.array(near_same(rows.rows), dtype=np.int64).reshape(-1, 2)
    names = list(dict.fromkeys(models))
    found = np.zeros((len(rows), sum(len(head.scale) for head in heads)), dtype=np.float32)
    places = [(name, turn) for name in names for turn in range(_TURNS)]
    for number, (name, turn) in enumerate(places):
        progress("judging what is left out in turn", number / len(places))
        test = (models == name) & (turns == turn)
        kept = (models != name) & (turns != turn)
        for a, b in alike:
            kept[a] &= not test[b]
            kept[b] &= not test[a]
        if not test.any():
            continue
        left = [row for row, here in zip(rows.rows, kept, strict=True) if here]
        check_dimensions(f"training (without {shorten(name)})", left, taxonomy)
        made = solve(states[kept], dimension[kept], targets[kept], heads)
        found[test] = logits_of(states[test], made)
    return found


def _turn(prompt_id: str) -> int:
    digest = hashlib.sha256(prompt_id.encode("utf-8", "surrogatepass")).hexdigest()
    return int(digest, 16) % _TURNS
