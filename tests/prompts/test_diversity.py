from __future__ import annotations

import math
from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flames.prompts.diversity import DRAWN, diversity


def test_copies_are_alike_and_others_are_not() -> None:
    assert diversity(["怎么办呢", "怎么办呢？"]).similarity == pytest.approx(1)
    apart = diversity(["怎么办呢", "为什么好"])
    assert apart.similarity == pytest.approx(0, abs=1e-9)
    assert apart.distinct[2] == 100
    assert diversity(["一"]).similarity is None
    assert diversity(["？"]).distinct == {}


@given(st.lists(st.text(alphabet="甲乙丙丁", min_size=2, max_size=12), min_size=2, max_size=8))
def test_the_mean_similarity_is_that_of_all_pairs(texts: list[str]) -> None:
    def cosine(one: str, other: str) -> float:
        a, b = (Counter(t[i : i + 2] for i in range(len(t) - 1)) for t in (one, other))
        product = sum(n * b[gram] for gram, n in a.items())
        return product / math.sqrt(sum(n * n for n in a.values()) * sum(n * n for n in b.values()))

    pairs = [cosine(*pair) for pair in combinations(texts, 2)]
    assert diversity(texts).similarity == pytest.approx(sum(pairs) / len(pairs), abs=1e-9)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 40), min_size=40, max_size=80))
def test_the_draw_is_the_hypergeometric_one(sizes: list[int]) -> None:
    chars = [chr(0x4E00 + i) for i in range(len(sizes))]
    texts = [char + char for char, size in zip(chars, sizes, strict=True) for _ in range(size)]
    total = sum(sizes)
    found = diversity(texts).distinct_drawn
    if total < DRAWN:
        assert found is None
        return
    missing = sum(math.comb(total - n, DRAWN) / math.comb(total, DRAWN) for n in sizes)
    assert found == pytest.approx(100 * (len(sizes) - missing) / DRAWN)
