"""Labelled rows as tensors: token ids, the head they belong to, and their targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from flames.records import Verdict
from flames.scorers.label_rows import Labelled
from flames.scorers.trained.encoding import Encoder, pad
from flames.scorers.trained.packing import pack
from flames.scorers.trained.scorer import verdict_of
from flames.scorers.trained.settings import ScorerSettings
from flames.training.targets import Array, target


class Rows(Dataset):  # type: ignore[misc]
    """Rows with token ids and targets, a share (`smoothing`) of each spread over all classes.

    `weights` are those of the classes of each dimension, `shares` those of the rows.
    """

    def __init__(
        self,
        rows: Sequence[Labelled],
        encoder: Encoder,
        *,
        smoothing: float = 0.0,
        weights: Mapping[str, Array] | None = None,
        shares: Array | None = None,
    ) -> None:
        settings = encoder.settings
        widest = max(settings.sizes)
        places = {head.name: index for index, head in enumerate(settings.heads)}
        pairs = [(row.response.prompt or "", row.response.response or "") for row in rows]
        self.rows = rows
        self.encoded = encoder.encode(pairs)
        self.items: list[dict[str, Any]] = []
        each = np.ones(len(rows), np.float32) if shares is None else shares
        for row, encoded, share in zip(rows, self.encoded, each, strict=True):
            head = settings.heads[places[row.dimension]]
            size = len(head.scale)
            goal = share * ((1 - smoothing) * target(row, head) + smoothing / size)
            if weights is not None:
                goal = goal * weights[head.name]
            padded = np.zeros(widest, dtype=np.float32)
            padded[:size] = goal
            self.items.append(
                {"input_ids": encoded.ids, "dimension": places[row.dimension], "labels": padded}
            )

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.items[index]

    def verdicts(self, logits: Array, settings: ScorerSettings) -> list[Verdict]:
        """Turns logits (rows × all classes) into verdicts."""
        return [
            verdict_of(row.response, each, settings, truncated=encoded.truncated)
            for row, encoded, each in zip(self.rows, self.encoded, logits, strict=True)
        ]


def collate(
    items: Sequence[Mapping[str, Any]], settings: ScorerSettings
) -> dict[str, torch.Tensor]:
    """Builds a batch of tensors from items of `Rows`, padded as the settings say."""
    rows = [item["input_ids"] for item in items]
    ids, mask = pad(rows, settings.pad_id, settings.padding_side)
    tensors = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
    return {**tensors, **_goals(items)}


def collate_packed(
    items: Sequence[Mapping[str, Any]], settings: ScorerSettings, widest: int | None
) -> dict[str, torch.Tensor]:
    """Builds a batch without padding: several items in a row of at most `widest` tokens."""
    ids, segments = pack([item["input_ids"] for item in items], settings.pad_id, widest)
    tensors = {"input_ids": torch.from_numpy(ids), "segments": torch.from_numpy(segments)}
    return {**tensors, **_goals(items)}


def _goals(items: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
    return {
        "dimension": torch.tensor([item["dimension"] for item in items]),
        "labels": torch.from_numpy(np.stack([item["labels"] for item in items])),
    }


class GroupedSampler(Sampler):  # type: ignore[misc]
    """Sampler in random order, with rows of similar length in each batch.

    The order depends only on seed and epoch, so that a resumed training sees the same one.
    """

    def __init__(self, lengths: Sequence[int], batch: int, seed: int) -> None:
        self.lengths = np.asarray(lengths)
        self.batch = batch
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch, which determines the order."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self.lengths))
        window = 32 * self.batch
        batches = []
        for start in range(0, len(order), window):
            part = order[start : start + window]
            part = part[np.argsort(-self.lengths[part], kind="stable")]
            batches += [part[i : i + self.batch] for i in range(0, len(part), self.batch)]
        whole = [batch for batch in batches if len(batch) == self.batch]
        rest = [batch for batch in batches if len(batch) < self.batch]
        for index in rng.permutation(len(whole)):
            yield from whole[index].tolist()
        for batch in rest:
            yield from batch.tolist()
