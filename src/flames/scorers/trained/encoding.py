"""Token ids from prompts and responses; free of torch, for exported classifiers as well."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flames.errors import InputError, UsageError, need_extra
from flames.scorers.trained.settings import ScorerSettings, Side, read_settings
from flames.text import utf8_safe

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

TOKENIZER = "tokenizer.json"
ELLIPSIS = "…"

_CHARS_PER_TOKEN = 32  # more than tokens have on average: either half kept fills the window
_LEAST = 8  # tokens for prompt and response together, below which an input is useless


class Encoded(NamedTuple):
    """Token ids including special tokens, and whether the text was shortened."""

    ids: list[int]
    truncated: bool


class Encoder:
    """Fills the template, tokenizes, and shortens what is longer than the window.

    With `input_truncation` `middle`, an ellipsis replaces the middle of a long response, and of a
    prompt that takes more than half of the window. Text that spells out a special token is broken
    up, so that no response can end its own input. With `official`, the end of the whole input is
    cut off and nothing else is changed, as the released script does.
    """

    def __init__(self, tokenizer: Tokenizer, settings: ScorerSettings) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.tokenizer = tokenizer
        self.settings = settings
        self._pieces = re.split(r"(\{prompt\}|\{response\})", settings.template)
        breaks = settings.input_truncation != "official"
        self._broken_up = breaker(tokenizer, settings.symbols) if breaks else utf8_safe
        self._mark: list[int] = tokenizer.encode(ELLIPSIS, add_special_tokens=False).ids
        fixed = len(tokenizer.encode("".join(self._pieces[::2])).ids)
        if settings.max_length - fixed < _LEAST + 2 * len(self._mark):
            raise UsageError(
                f"the template alone takes {fixed} tokens; a window of {settings.max_length} "
                "leaves no room for prompt and response"
            )

    @classmethod
    def from_folder(cls, folder: str | Path, settings: ScorerSettings | None = None) -> Encoder:
        """Loads the encoder of a classifier's folder, exported or not."""
        return cls(read_tokenizer(folder), settings or read_settings(folder))

    def encode(self, pairs: Sequence[tuple[str, str]]) -> list[Encoded]:
        """Encodes pairs of prompt and response into at most `max_length` token ids each."""
        filled = [self._fill(prompt, response) for prompt, response in pairs]
        encodings = self.tokenizer.encode_batch([text for text, _, _ in filled])
        return [
            self._fit(encoding, spans, cut)
            for encoding, (_, spans, cut) in zip(encodings, filled, strict=True)
        ]

    def _fill(self, prompt: str, response: str) -> tuple[str, dict[str, tuple[int, int]], bool]:
        text, spans, cut = "", {}, False
        values = {"{prompt}": prompt, "{response}": response}
        for piece in self._pieces:
            if piece in values:
                value, shortened = self._safe(values[piece])
                cut |= shortened
                spans[piece] = (len(text), len(text) + len(value))
            text += value if piece in values else piece
        return text, spans, cut

    def _safe(self, text: str) -> tuple[str, bool]:
        half = self.settings.max_length * _CHARS_PER_TOKEN
        cut = len(text) > 2 * half
        if cut:
            text = text[:half] + ELLIPSIS + text[-half:]
        return self._broken_up(text), cut

    def _fit(self, encoding: Encoding, spans: dict[str, tuple[int, int]], cut: bool) -> Encoded:
        ids: list[int] = encoding.ids
        if len(ids) <= self.settings.max_length:
            return Encoded(ids, cut)
        if self.settings.input_truncation == "official":
            return Encoded(self._cut_end(ids, encoding.special_tokens_mask), True)
        offsets, special = encoding.offsets, encoding.special_tokens_mask
        response = _inside(offsets, special, spans["{response}"])
        prompt = _inside(offsets, special, spans.get("{prompt}", (0, 0)))
        room = self.settings.max_length - (len(ids) - len(response) - len(prompt))
        for_prompt = min(len(prompt), room - min(len(response), room // 2))
        dropped = self._middle(prompt, for_prompt) | self._middle(response, room - for_prompt)
        shortened: list[int] = []
        for position, token in enumerate(ids):
            if position not in dropped:
                shortened.append(token)
            elif dropped[position]:
                shortened.extend(self._mark)
        return Encoded(shortened, True)

    def _middle(self, where: range, keep: int) -> dict[int, bool]:
        """The positions to drop so that `keep` tokens remain; True for the first of them."""
        if len(where) <= keep:
            return {}
        keep -= len(self._mark)
        tail = keep // 2
        middle = where[keep - tail : len(where) - tail]
        return {position: index == 0 for index, position in enumerate(middle)}

    def _cut_end(self, ids: list[int], special: list[int]) -> list[int]:
        content = [position for position, mask in enumerate(special) if not mask]
        dropped = set(content[self.settings.max_length - len(ids) :])
        return [token for position, token in enumerate(ids) if position not in dropped]


def breaker(tokenizer: Tokenizer, symbols: Sequence[str] = ()) -> Callable[[str], str]:
    """Returns what breaks up special tokens (and symbols) that a text spells out."""
    added = tokenizer.get_added_tokens_decoder().values()
    special = {*symbols, *(token.content for token in added if token.special)}
    if not special:
        return utf8_safe
    found = re.compile("|".join(map(re.escape, sorted(special, key=len, reverse=True))))
    return lambda text: found.sub(lambda one: f"{one[0][0]} {one[0][1:]}", utf8_safe(text))


def _inside(offsets: list[tuple[int, int]], special: list[int], span: tuple[int, int]) -> range:
    """The run of tokens that lie entirely inside a span of characters."""
    low, high = span
    positions = [
        position
        for position, ((start, end), mask) in enumerate(zip(offsets, special, strict=True))
        if not mask and low <= start and end <= high and start < high
    ]
    return range(positions[0], positions[-1] + 1) if positions else range(0)


def pad(
    rows: Sequence[Sequence[int]], pad_id: int, side: Side = "right", width: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pads rows to the longest, or to `width` if more; returns ids and attention mask."""
    width = max(width, *map(len, rows), 0)
    ids = np.full((len(rows), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=np.int64)
    for index, row in enumerate(rows):
        place = slice(0, len(row)) if side == "right" else slice(width - len(row), width)
        ids[index, place] = row
        mask[index, place] = 1
    return ids, mask


def read_tokenizer(folder: str | Path) -> Tokenizer:
    """Reads the `tokenizer.json` of a folder."""
    need_extra("cpu", "a trained scorer", "tokenizers")
    from tokenizers import Tokenizer

    path = Path(folder) / TOKENIZER
    if not path.is_file():
        raise InputError(f"is no complete scorer: it has no {TOKENIZER}", path=folder)
    try:
        tokenizer: Tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises a bare Exception
        raise InputError(f"is no tokenizer: {error}", path=path) from None
    return tokenizer


def check_vocabulary(tokenizer: Tokenizer, rows: int, path: str | os.PathLike[str]) -> None:
    """Refuses a tokenizer with tokens that may occur and have no row in the model's embedding."""
    added = tokenizer.get_added_tokens_decoder().items()
    unused = {number for number, token in added if token.special}
    unused -= set(tokenizer.encode("").ids)
    last = max((n for n in tokenizer.get_vocab().values() if n not in unused), default=0)
    if last >= rows:
        message = f"its tokenizer has the token {last:,}, its embedding only {rows:,} rows"
        raise InputError(f"is broken: {message}", path=path)
