"""What breaks while a scorer is loaded, and options that cannot be met, in one line of our own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from flames.errors import FlamesError, InputError
from flames.options import Opt
from flames.scorers.base import InputTruncation
from flames.scorers.trained.settings import ScorerSettings

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@contextlib.contextmanager
def read_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Tells whatever breaks while a folder is loaded in one line of our own."""
    try:
        yield
    except FlamesError:
        raise
    except Exception as error:  # transformers, safetensors and torch raise all kinds
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(f"is a broken scorer: {reason}", path=path) from error


def check_loaded(
    info: Mapping[str, Any], path: str | os.PathLike[str], what: str = "scorer"
) -> None:
    """Refuses a model some of whose weights were not what its configuration says."""
    for key, wrong in (
        ("mismatched_keys", "weights of the wrong shape"),
        ("missing_keys", "weights are missing"),
        ("unexpected_keys", "unknown weights"),
        ("error_msgs", "unreadable weights"),
        ("not_finite", "weights that are not finite"),
    ):
        found = sorted(
            f"{each[0]} {tuple(each[1])} instead of {tuple(each[2])}"
            if isinstance(each, tuple)
            else str(each)
            for each in info.get(key) or ()
        )
        if found:
            more = f" and {len(found) - 3} more" if len(found) > 3 else ""
            message = f"is a broken {what}, {wrong}: {', '.join(found[:3])}{more}"
            raise InputError(message, path=path)


def check_vocabulary(tokenizer: Tokenizer, rows: int, path: str | os.PathLike[str]) -> None:
    """Refuses a tokenizer some of whose tokens have no row in the model's embedding.

    Special tokens do not count (a text's are broken up), but for those that are always there.
    """
    added = tokenizer.get_added_tokens_decoder().items()
    never = {number for number, token in added if token.special}
    never -= set(tokenizer.encode("").ids)
    last = max((n for n in tokenizer.get_vocab().values() if n not in never), default=0)
    if last >= rows:
        message = f"its tokenizer has the token {last:,}, its embedding only {rows:,} rows"
        raise InputError(f"is broken: {message}", path=path)


@dataclass(frozen=True)
class ReadingOptions:
    """How a trained scorer reads its input, whatever computes it."""

    batch_tokens: Annotated[int | None, Opt("Tokens per batch, padding included.", min=1)] = None
    input_truncation: InputTruncation = None

    def applied(self, settings: ScorerSettings) -> ScorerSettings:
        """Returns the settings with the truncation that the options ask for."""
        if self.input_truncation is None:
            return settings
        return settings.model_copy(update={"truncation": self.input_truncation})
