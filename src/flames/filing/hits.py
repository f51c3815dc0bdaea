"""Where keywords occur in a corpus: how many texts are hit, by class and by keyword."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flames.errors import UsageError, need_extra
from flames.filing.banks import BankItems
from flames.storage.decoding import decoded
from flames.storage.rows import read_rows
from flames.storage.text_files import without_gz

_MOST = 20  # keywords that are listed


@dataclass(frozen=True)
class CorpusHits:
    """Texts with keywords; `classes` counts texts, a text once per class, `most` keywords.

    `never` is the number of keywords that occur nowhere.
    """

    files: tuple[str, ...]
    texts: int
    hit: int
    classes: dict[str, int]
    most: dict[str, int]
    never: int


def count_hits(
    keywords: BankItems, corpus: Sequence[str], encoding: str | None = None
) -> CorpusHits:
    """Looks for keywords in files; a row of a table or of JSON Lines is one text, as is a line.

    Width and case make no difference.

    Raises:
        UsageError: There are no keywords.
        MissingExtraError: pyahocorasick is not installed.
    """
    if not keywords.items:
        raise UsageError("--corpus looks for keywords: name them too, keywords=FILE")
    need_extra("filing", "looking for keywords in a corpus", "ahocorasick")
    import ahocorasick

    automaton = ahocorasick.Automaton()
    known: dict[str, str | None] = {}
    for item in keywords.items:
        known.setdefault(_plain(item.text), item.place.code)
    for word in known:
        automaton.add_word(word, word)
    automaton.make_automaton()
    texts = hit = 0
    classes: Counter[str] = Counter()
    words: Counter[str] = Counter()
    for path in corpus:
        for text in _texts(path, encoding):
            texts += 1
            found = {word for _, word in automaton.iter(_plain(text))}
            words.update(found)
            hit += bool(found)
            classes.update({known[word] or "" for word in found})
    return CorpusHits(
        files=tuple(corpus),
        texts=texts,
        hit=hit,
        classes={code: classes[code] for code in sorted(classes)},
        most=dict(sorted(words.items(), key=lambda pair: (-pair[1], pair[0]))[:_MOST]),
        never=len(known.keys() - words.keys()),
    )


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().strip()


def _texts(path: str, encoding: str | None) -> Iterator[str]:
    if without_gz(path).suffix.lower() in (".txt", ".text", ".md"):
        yield from (line for _, line in decoded(path, encoding) if line.strip())
        return
    for _, fields in read_rows(path, encoding=encoding, as_is=True):
        yield "\n".join(_strings(fields))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)
