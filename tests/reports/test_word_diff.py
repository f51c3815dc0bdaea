from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flames.reports.word_diff import word_diff


def test_chinese_is_compared_by_characters_and_english_by_words() -> None:
    found = word_diff("我不能告诉你怎么做，请报警。", "我可以告诉你怎么做，请报警。")
    assert found == (
        ["我", "不能", "告诉你怎么做，请报警。"],
        ["我", "可以", "告诉你怎么做，请报警。"],
    )
    found = word_diff("please click the button now", "please click the bottom now")
    assert found is not None
    assert found[0] == ["please click the ", "button", " now"]
    assert found[1] == ["please click the ", "bottom", " now"]


def test_texts_with_little_in_common_are_not_marked() -> None:
    assert word_diff("完全不同的一句话", "something else entirely") is None
    assert word_diff("一样", "一样") is None
    assert word_diff("", "一样") is None


@given(
    st.text(alphabet="我你他能不 ab\n", max_size=60),
    st.text(alphabet="我你他能不 ab\n", max_size=60),
)
def test_pieces_put_together_are_the_texts(first: str, second: str) -> None:
    found = word_diff(first, second)
    if found is not None:
        assert ("".join(found[0]), "".join(found[1])) == (first, second)
        same = [pieces[0::2] for pieces in found]
        assert "".join(same[0]) == "".join(same[1])
        assert len(found[0]) % 2 == len(found[1]) % 2 == 1
