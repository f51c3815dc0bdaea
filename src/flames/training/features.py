"""Features of labelled rows on a frozen backbone, each computed once and kept in Flames' home.

A row's features are found again by the texts that were read, and by the backbone, layer, reading
and segments: a second training with other options, or one after a kill, computes only what is new.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from flames.errors import UsageError
from flames.scorers.frozen.backbone import Features, Floats
from flames.scorers.trained.engine import Pair
from flames.storage.atomic import write_atomic
from flames.storage.home import home
from flames.training.backbones import Source
from flames.training.options import Progress

_CHUNK = 64  # rows that are computed and kept together
_KIND = 1  # of the kept files; another one when features are computed differently


class FeatureStore:
    """The kept features of one backbone as it reads: a folder per layer, a file per chunk."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._folders = [home() / "features" / self._key(layer) for layer in source.layers]

    def read(self, pairs: Sequence[Pair], progress: Progress) -> Features:
        """Returns the features of pairs of prompt and response, computing those that are new."""
        ids = [self._id(pair) for pair in pairs]
        known = self._known(set(ids))
        new = {key: pair for key, pair in zip(ids, pairs, strict=True) if key not in known}
        keys = sorted(new, key=lambda key: -sum(map(len, new[key])))  # alike in length, together
        for start in range(0, len(keys), _CHUNK):
            progress(f"reading responses ({len(keys):,} new of {len(set(ids)):,})",
                     start / len(keys))  # fmt: skip
            chunk = keys[start : start + _CHUNK]
            known |= self._computed(chunk, [new[key] for key in chunk])
        rows = [known[key] for key in ids]
        return Features(np.stack([values for values, _ in rows]), [cut for _, cut in rows])

    def _computed(self, keys: list[bytes], pairs: list[Pair]) -> dict[bytes, tuple[Floats, bool]]:
        found = self.source.reader.features(pairs)
        if not np.isfinite(found.values).all():
            exact = self.source.dtype != "bfloat16"
            cure = "it cannot be used on such texts" if exact else "load it with --dtype float32"
            raise UsageError(f"the backbone's states are not finite: {cure}")
        name = hashlib.sha256(b"".join(keys)).hexdigest()[:32]
        for place, folder in enumerate(self._folders):
            data = io.BytesIO()
            np.savez(data, ids=np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), -1),
                     values=found.values[:, place], cut=np.array(found.cut))  # fmt: skip
            with contextlib.suppress(UsageError):  # what cannot be kept only costs time
                write_atomic(folder / f"{name}.npz", data.getvalue())
        return dict(zip(keys, zip(found.values, found.cut, strict=True), strict=True))

    def _known(self, wanted: set[bytes]) -> dict[bytes, tuple[Floats, bool]]:
        layers = [_kept(folder, wanted) for folder in self._folders]
        whole = set.intersection(*map(set, layers))
        return {
            key: (np.stack([layer[key][0] for layer in layers]), layers[0][key][1]) for key in whole
        }

    def _key(self, layer: int) -> str:
        source = self.source
        known = [_KIND, source.sha256, source.runs, source.dtype, layer, source.segments]
        text = json.dumps([*known, asdict(source.reading)])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _id(self, pair: Pair) -> bytes:
        read = pair if self.source.reading.needs_prompt else ("", pair[1])
        return hashlib.sha256("\0".join(read).encode("utf-8", "replace")).digest()


def _kept(folder: Path, wanted: set[bytes]) -> dict[bytes, tuple[Floats, bool]]:
    found: dict[bytes, tuple[Floats, bool]] = {}
    for path in sorted(folder.glob("*.npz")):
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                ids, values, cut = file["ids"], file["values"], file["cut"]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            continue  # a broken file is as if it were not there: its rows are computed again
        for key, row, short in zip(map(bytes, ids), values, cut, strict=True):
            if key in wanted:
                found[key] = row, bool(short)
    return found
