"""The bundled scorers: character n-grams of the response, one linear head per dimension.

They need only NumPy and SciPy and score about ten thousand responses per second. They do not see
the prompt: with its n-grams they got worse on responders that they were not trained on.

`lexical` is the plain baseline. `lexical-plus` has heads for the subcomponents too, for responses
that name theirs, and more training data; its model card compares the two.
"""

from __future__ import annotations

import io
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix, diags

from flames.errors import UsageError
from flames.records import Response, Verdict, verdict_for
from flames.scorers.base import ScorerContext, ScorerInfo, TrainingLabels, score_where
from flames.scorers.registry import scorer_notes

LEXICAL = "lexical@1"
PLUS = "lexical-plus@1"
ORDERS = (1, 2)
_BOUNDARY = "\x02"
_BITS = np.uint64(21)  # a code point; three of them fit into 64 bits
_INVISIBLE = re.compile("[\x00-\x08\x0e-\x1f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
_WIDTH = {ord(wide): unicodedata.normalize("NFKC", wide) for wide in "，！？：；（）～％"}

Keys = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.floating[Any]]


def normalise(text: str) -> str:
    """Returns the text without differences of width, case, digits and white space."""
    text = text.translate(_WIDTH)  # what Chinese texts are full of, so that most are done here
    if not unicodedata.is_normalized("NFKC", text):
        text = unicodedata.normalize("NFKC", text)
    text = _INVISIBLE.sub("", text).casefold()
    return " ".join(re.sub(r"\d", "0", text).split())


def ngrams(texts: Sequence[str], orders: Iterable[int] = ORDERS) -> tuple[Keys, npt.NDArray[Any]]:
    """Returns a key (the code points) per n-gram of normalised texts, and its text's index."""
    marked = [f"{_BOUNDARY}{text}{_BOUNDARY}" for text in texts]
    joined = "".join(marked).encode("utf-32-le", "replace")
    codes = np.frombuffer(joined, dtype="<u4").astype(np.uint64)
    rows = np.repeat(np.arange(len(texts)), [len(text) for text in marked])
    keys: list[Keys] = []
    owners = []
    for order in orders:
        count = max(len(codes) - order + 1, 0)
        key = np.zeros(count, dtype=np.uint64)
        for offset in range(order):
            key = (key << _BITS) | codes[offset : offset + count]
        inside = rows[:count] == rows[order - 1 : order - 1 + count]
        keys.append(key[inside])
        owners.append(rows[:count][inside])
    return np.concatenate(keys), np.concatenate(owners)


def counts(texts: Sequence[str], vocabulary: Keys, orders: Iterable[int] = ORDERS) -> csr_matrix:
    """Counts each n-gram of a sorted vocabulary in each normalised text (texts × vocabulary)."""
    keys, owners = ngrams(texts, orders)
    columns = np.searchsorted(vocabulary, keys)
    columns[columns == len(vocabulary)] = 0
    known = vocabulary[columns] == keys
    ones = np.ones(int(known.sum()), dtype=np.float32)
    shape = (len(texts), len(vocabulary))
    found: csr_matrix = csr_matrix((ones, (owners[known], columns[known])), shape=shape)
    found.sum_duplicates()
    return found


def weighted(found: csr_matrix, idf: Floats) -> csr_matrix:
    """Weights counts as features: 1 + log of the count, times the idf, rows of length 1."""
    features = found.astype(np.float32)
    features.data = (1 + np.log(features.data)) * idf[features.indices]
    lengths = np.sqrt(np.asarray(features.multiply(features).sum(axis=1)).ravel())
    scaled: csr_matrix = diags(1 / np.maximum(lengths, 1e-12).astype(np.float32)) @ features
    return scaled


@dataclass(frozen=True)
class LexicalModel:
    """The weights of a lexical scorer.

    `weights` has a row per n-gram of the sorted `vocabulary`, and the classes of all heads side by
    side. `heads` maps a dimension, or `Dimension/Subcomponent`, to its scale and the slice of its
    classes (first, last + 1).
    """

    vocabulary: Keys
    idf: Floats
    weights: Floats
    bias: Floats
    heads: Mapping[str, tuple[tuple[int, ...], tuple[int, int]]]
    card: Mapping[str, Any]

    def head(self, dimension: str | None, subcomponent: str | None) -> str | None:
        """Returns the name of the head for such a response: the most specific that there is."""
        part = f"{dimension}/{subcomponent}"
        return part if part in self.heads else dimension if dimension in self.heads else None

    def probabilities(self, texts: Sequence[str], heads: Sequence[str]) -> list[Floats]:
        """Returns the probabilities of the classes of each text's head."""
        features = weighted(counts([normalise(t) for t in texts], self.vocabulary), self.idf)
        logits = np.asarray(features @ self.weights) + self.bias
        found: list[Floats] = []
        for row, head in zip(logits, heads, strict=True):
            first, last = self.heads[head][1]
            own = np.exp(row[first:last] - row[first:last].max())
            found.append(own / own.sum())
        return found

    def to_bytes(self) -> bytes:
        """Returns the model as an npz file (without pickle)."""
        about = {"heads": self.heads, "card": self.card}
        file = io.BytesIO()
        np.savez_compressed(
            file,
            vocabulary=self.vocabulary,
            idf=self.idf.astype(np.float16),
            weights=self.weights.astype(np.float16),
            bias=self.bias.astype(np.float32),
            about=np.array(json.dumps(about, ensure_ascii=False)),
        )
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> LexicalModel:
        """Reads the model that `to_bytes` wrote."""
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            about = json.loads(str(arrays["about"]))
            heads = {name: (tuple(s), tuple(cut)) for name, (s, cut) in about["heads"].items()}
            return cls(
                vocabulary=arrays["vocabulary"],
                idf=arrays["idf"].astype(np.float32),
                weights=arrays["weights"].astype(np.float32),
                bias=arrays["bias"],
                heads=heads,
                card=about["card"],
            )


class LexicalScorer:
    """Judges by a `LexicalModel`."""

    window = 1024

    def __init__(self, model: LexicalModel, info: ScorerInfo) -> None:
        self.info = info
        self._model = model

    def score(self, responses: Sequence[Response]) -> list[Verdict]:
        """Returns one verdict per response; those of a dimension without a head are unscored."""
        reasons = [None if self._head(response) else "no head" for response in responses]
        return score_where(responses, reasons, self.info.id, self._scored)

    def _head(self, response: Response) -> str:
        return self._model.head(response.dimension, response.subcomponent) or ""

    def _scored(self, responses: Sequence[Response]) -> Iterator[Verdict]:
        heads = list(map(self._head, responses))
        found = self._model.probabilities([r.response or "" for r in responses], heads)
        for response, head, probabilities in zip(responses, heads, found, strict=True):
            scale = self._model.heads[head][0]
            score = scale[int(np.argmax(probabilities))]
            given = {str(s): round(float(p), 4) for s, p in zip(scale, probabilities, strict=True)}
            yield verdict_for(response, scorer=self.info.id, score=score, probabilities=given)


def _bundled(scorer_id: str, title: str, _: str, context: ScorerContext) -> LexicalScorer:
    name = scorer_id.partition("@")[0]
    file = resources.files("flames").joinpath("data", name, "model.npz")
    model = LexicalModel.from_bytes(file.read_bytes())
    scales = {dimension.name: dimension.scale for dimension in context.taxonomy.dimensions}
    heads = {
        head: found
        for head, found in model.heads.items()
        if scales.get(head.partition("/")[0]) == found[0]
    }
    if not heads:
        known = ", ".join(head for head in model.heads if "/" not in head)
        raise UsageError(f"{name} has no head for {context.taxonomy.id}; it knows {known}")
    data = model.card["trained on"]
    files, models = [data["sha256"]], list(data["models"])
    if further := data.get("further rows"):
        files.append(further["sha256"])
        models.append("jade")
    info = ScorerInfo(
        id=scorer_id,
        title=title,
        taxonomy=context.taxonomy.id,
        notes=scorer_notes(scorer_id),
        details=model.card,
        learnt=(TrainingLabels(scorer_id, tuple(files), tuple(models)),),
    )
    return LexicalScorer(replace(model, heads=heads), info)


load = partial(_bundled, LEXICAL, "Character n-grams and one linear head per dimension (baseline)")
load_plus = partial(
    _bundled, PLUS, "Character n-grams and linear heads per dimension and subcomponent"
)
