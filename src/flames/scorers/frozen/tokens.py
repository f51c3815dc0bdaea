"""The tokenizer in a GGUF file: neighbours are merged, the piece of the lowest number first."""

from __future__ import annotations

import re
from heapq import heapify, heappop, heappush

from flames.errors import InputError
from flames.scorers.frozen.gguf import Gguf
from flames.text import utf8_safe

_NORMAL, _USER, _BYTE = 1, 4, 6
_SPACE = "▁"

_Pair = tuple[int, int, int, str]  # the merged piece's number, its left part's length, place, piece


class Tokenizer:
    """Turns text into token ids, as SentencePiece and transformers do.

    A text that spells out a control token (`<eos>`) is text like any other, so that no response
    can end its own input.
    """

    def __init__(self, file: Gguf) -> None:
        fields = file.fields
        try:
            if fields["tokenizer.ggml.model"] != "llama":
                raise KeyError("tokenizer.ggml.model")
            self.bos = int(fields["tokenizer.ggml.bos_token_id"])
            self.eos = int(fields["tokenizer.ggml.eos_token_id"])
            pieces, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
        except KeyError as error:
            raise InputError(f"has no tokenizer of this kind: {error}", path=file.path) from None
        self.size = len(pieces)
        self.before, self.after, self.blank = [self.bos], list[int](), self.eos
        rows = list(zip(pieces, kinds, range(self.size), strict=True))
        self._ids = {
            piece.replace(" ", _SPACE): number
            for piece, kind, number in rows
            if kind == _NORMAL or (kind == _USER and not piece.strip(" "))
        }
        self._bytes = [number for _, kind, number in rows if kind == _BYTE]
        if len(self._bytes) != 256:
            raise InputError("has no tokenizer of this kind: no 256 bytes", path=file.path)
        self._whole = {p: n for p, kind, n in rows if kind == _USER and p.strip(" ")}
        longest = sorted(self._whole, key=len, reverse=True)
        self._split = re.compile("(" + "|".join(map(re.escape, longest)) + ")")

    def encode(self, text: str) -> list[int]:
        """Returns the ids of a text, without one for its beginning."""
        ids: list[int] = []
        for part in self._split.split(utf8_safe(text)):
            if part in self._whole:
                ids.append(self._whole[part])
            elif part:
                ids.extend(self._merged(part.replace(" ", _SPACE)))
        return ids

    def _merged(self, text: str) -> list[int]:
        known = self._ids
        pieces: list[str] = list(text)
        after = list(range(1, len(pieces) + 1))
        before = list(range(-1, len(pieces) - 1))

        def offer(left: int, right: int) -> _Pair | None:
            joint = pieces[left] + pieces[right]
            number = known.get(joint)
            if number is None:
                return None
            return number, len(pieces[left]), left, joint

        offers = (offer(left, left + 1) for left in range(len(pieces) - 1))
        waiting = [each for each in offers if each]
        heapify(waiting)
        while waiting:
            _, size, left, joint = heappop(waiting)
            right = after[left]
            if (
                right >= len(pieces)
                or len(pieces[left]) != size
                or len(pieces[right]) != len(joint) - size
            ):
                continue  # one of the two was merged with another meanwhile
            pieces[left], pieces[right] = joint, ""
            following = after[left] = after[right]
            if following < len(pieces):
                before[following] = left
                if found := offer(left, following):
                    heappush(waiting, found)
            if before[left] >= 0 and (found := offer(before[left], left)):
                heappush(waiting, found)
        ids: list[int] = []
        for piece in filter(None, pieces):
            if piece in known:
                ids.append(known[piece])
            else:
                ids.extend(self._bytes[each] for each in piece.encode())
        return ids
