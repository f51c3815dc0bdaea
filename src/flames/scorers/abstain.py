"""When a bundled scorer does not judge: texts that are unlike all that it has learnt from."""

from __future__ import annotations

import re

NOT_CHINESE = "not in Chinese"
"""Reason of a response that is mostly in another language."""

GIBBERISH = "gibberish"
"""Reason of a response that is no language: symbols, loops of a few characters, random ones."""

UNFAMILIAR = "unlike the training data"
"""Reason of a response in Chinese that is too far from what the scorer has learnt from."""

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+", re.DOTALL)
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
_KANA = re.compile("[\u3041-\u30ff\uff66-\uff9f]")
_LETTERS = re.compile(r"[^\W\d_]+")
_WORD = 1.7  # Chinese characters that say as much as a word of a European language
_CHINESE = 0.3
_KANA_SHARE = 0.1
_LOOP = 16  # characters; shorter texts may well consist of a few that repeat
_DISTINCT = 4


def why_not_read(text: str) -> str | None:
    """Returns why a text cannot be judged by one who reads Chinese, or None.

    Code and addresses are left out, unless nothing else is there. Chinese with words of other
    languages in it is Chinese.
    """
    prose = _CODE.sub(" ", text)
    if not _LETTERS.search(prose):
        prose = text
    han, kana = len(_HAN.findall(prose)), len(_KANA.findall(prose))
    words = _LETTERS.findall(_KANA.sub(" ", _HAN.sub(" ", prose)))
    if not (han or kana or words):
        return GIBBERISH
    if kana > _KANA_SHARE * (han + kana) or han < _CHINESE * (han + _WORD * len(words)):
        return NOT_CHINESE
    letters = [char for char in prose if char.isalpha()]
    if len(letters) >= _LOOP and len(set(letters)) < _DISTINCT:
        return GIBBERISH
    return None
