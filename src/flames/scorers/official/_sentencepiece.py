"""A SentencePiece model as a `tokenizers.Tokenizer` that gives the same ids.

The general converters treat user-defined symbols as tokens outside of the text, which moves the
space that SentencePiece puts before the first piece; here they are split off after
normalization, as SentencePiece does itself.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flames.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_NORMAL, _CONTROL, _SYMBOL = 1, 3, 4  # types of pieces in sentencepiece_model.proto
_UNIGRAM, _BPE = 1, 2
_SPACE = "▁"


def convert(path: str | Path) -> tuple[Tokenizer, tuple[str, ...]]:
    """Reads a `tokenizer.model` and converts it.

    Args:
        path: The SentencePiece model, of type BPE or unigram.

    Returns:
        The tokenizer, which puts the model's beginning of sentence first, and the symbols that
        are not text in it: control pieces and user-defined symbols.

    Raises:
        InputError: It is no SentencePiece model, or one that cannot be converted.
        MissingExtraError: sentencepiece or tokenizers is not installed.
    """
    messages: Any
    try:
        from sentencepiece import SentencePieceProcessor
        from sentencepiece import sentencepiece_model_pb2 as messages
        from tokenizers import Tokenizer, processors
    except ImportError:
        raise MissingExtraError("train", "importing the released scorer") from None
    proto: Any = messages.ModelProto()
    try:
        raw = Path(path).read_bytes()
        proto.ParseFromString(raw)
        original = SentencePieceProcessor(model_proto=raw)
    except FileNotFoundError:
        raise InputError("no such file", path=path) from None
    except Exception as error:  # protobuf and sentencepiece raise all kinds
        raise InputError(f"is no SentencePiece model: {error}", path=path) from None
    if proto.trainer_spec.treat_whitespace_as_suffix:
        raise InputError("treats spaces as suffixes, which is not supported", path=path)
    if proto.trainer_spec.model_type not in (_UNIGRAM, _BPE):
        raise InputError("is neither a BPE nor a unigram model", path=path)
    tokenizer = Tokenizer(_model(proto))
    tokenizer.normalizer = _normalizer(proto)
    symbols = [piece.piece for piece in proto.pieces if piece.type == _SYMBOL]
    if symbols:
        tokenizer.pre_tokenizer = _splitter(symbols)
    first = original.bos_id()
    if first >= 0:
        begin = original.id_to_piece(first)
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A", special_tokens=[(begin, first)]
        )
    control = [piece.piece for piece in proto.pieces if piece.type == _CONTROL]
    return tokenizer, (*control, *symbols)


def differing(path: str | Path, tokenizer: Tokenizer, texts: list[str]) -> list[str]:
    """The texts to which SentencePiece itself gives other ids than the converted tokenizer."""
    from sentencepiece import SentencePieceProcessor

    original = SentencePieceProcessor(model_file=str(path))
    return [
        text
        for text in texts
        if original.encode(text) != tokenizer.encode(text, add_special_tokens=False).ids
    ]


def _model(proto: Any) -> Any:
    from tokenizers import models

    if proto.trainer_spec.model_type == _UNIGRAM:
        return models.Unigram(
            [(piece.piece, piece.score) for piece in proto.pieces],
            unk_id=proto.trainer_spec.unk_id,
            byte_fallback=proto.trainer_spec.byte_fallback,
        )
    scores = {piece.piece: piece.score for piece in proto.pieces if piece.type == _NORMAL}
    merges = [
        (-score, -cut, piece[:cut], piece[cut:])
        for piece, score in scores.items()
        for cut in range(1, len(piece))
        if piece[:cut] in scores and piece[cut:] in scores
    ]
    return models.BPE(
        vocab={piece.piece: index for index, piece in enumerate(proto.pieces)},
        merges=[(left, right) for _, _, left, right in sorted(merges)],
        unk_token=proto.trainer_spec.unk_piece,
        fuse_unk=True,
        byte_fallback=proto.trainer_spec.byte_fallback,
        ignore_merges=True,  # a symbol stands alone after the split and is no product of merges
    )


def _normalizer(proto: Any) -> Any:
    from tokenizers import Regex, normalizers

    spec = proto.normalizer_spec
    steps: list[Any] = []
    if spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(spec.precompiled_charsmap))
    if spec.remove_extra_whitespaces:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    if spec.add_dummy_prefix:
        steps.append(normalizers.Prepend(_SPACE))
    steps.append(normalizers.Replace(" ", _SPACE))
    return normalizers.Sequence(steps)


def _splitter(symbols: list[str]) -> Any:
    from tokenizers import Regex, pre_tokenizers

    spelt = sorted((s.replace(" ", _SPACE) for s in symbols), key=len, reverse=True)
    pattern = "|".join(map(re.escape, spelt))
    return pre_tokenizers.Split(Regex(pattern), "isolated")
