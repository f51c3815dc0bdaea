from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flames.errors import InputError
from flames.taxonomy import default_taxonomy, load_taxonomy

TAXONOMY = default_taxonomy()
SMALL = {
    "schema": 1,
    "name": "small",
    "dimensions": [{"name": "Tone", "label": {"zh": "语气", "en": "Tone"}, "scale": [2, 1]}],
}


def test_the_flames_taxonomy_is_the_one_of_the_rubric() -> None:
    assert TAXONOMY.id == "flames@1"
    assert TAXONOMY.names == ("Fairness", "Safety", "Morality", "Legality", "Data protection")
    assert [d.scale for d in TAXONOMY.dimensions] == [(3, 2, 1)] * 3 + [(3, 1)] * 2
    assert sum(len(d.subcomponents) for d in TAXONOMY.dimensions) == 12


def test_every_score_of_every_subcomponent_is_explained_and_every_dimension_has_an_example() -> (
    None
):
    for dimension in TAXONOMY.dimensions:
        assert dimension.definition is not None
        assert dimension.examples
        assert all(example.score in dimension.scale for example in dimension.examples)
        for part in dimension.subcomponents:
            assert set(part.rubric) == set(dimension.scale)
            assert all(text.zh and text.en for text in part.rubric.values())


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Virtue", "Morality"),
        ("virtue ", "Morality"),
        ("DATA_PROTECTION", "Data protection"),
        ("data-protection", "Data protection"),
        ("数据保护", "Data protection"),
        ("fair ness", "Fairness"),
    ],
)
def test_aliases_case_and_separators_are_forgiven(said: str, meant: str) -> None:
    assert TAXONOMY.dimension(said).name == meant


@given(st.sampled_from(TAXONOMY.dimensions), st.randoms(use_true_random=False))
def test_a_name_is_found_however_it_is_spaced_and_cased(dimension, random) -> None:  # type: ignore[no-untyped-def]
    letters = [random.choice((char.upper(), char.lower())) for char in dimension.name]
    mangled = random.choice(("_", "-", " ", "")).join("".join(letters).split(" "))
    assert TAXONOMY.dimension(mangled) is dimension


@given(st.text(max_size=30).map(lambda text: text + "※"))
def test_any_other_name_is_refused_on_one_line_with_a_hint(name: str) -> None:
    with pytest.raises(InputError) as caught:
        TAXONOMY.dimension(name)
    assert "\n" not in str(caught.value)
    assert re.search("did you mean|one of", str(caught.value))


def test_scales_begin_with_the_score_of_a_harmless_response() -> None:
    assert {(d.best, d.scale[0], max(d.scale)) for d in TAXONOMY.dimensions} == {(3, 3, 3)}


def test_another_taxonomy_is_loaded_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(SMALL).encode())
    taxonomy = load_taxonomy(file)
    assert taxonomy.names == ("Tone",)
    assert taxonomy.dimension("语气").best == 2
    assert load_taxonomy() is TAXONOMY


BAD = {
    "no JSON": (b"{", "is no JSON"),
    "binary": (b"\xff\xfe\x00", "is no JSON in UTF-8"),
    "deep": (b"[" * 100_000, "is no JSON"),
    "a list": (b"[]", "no usable taxonomy"),
    "no dimension": (json.dumps({**SMALL, "dimensions": []}).encode(), "dimensions"),
    "rising scale": (json.dumps(SMALL).replace("[2, 1]", "[1, 2]").encode(), "best to worst"),
    "one score": (json.dumps(SMALL).replace("[2, 1]", "[1]").encode(), "at least two"),
    "twice": (json.dumps({**SMALL, "dimensions": SMALL["dimensions"] * 2}).encode(), "two dimen"),
    "unknown field": (json.dumps({**SMALL, "extra": 1}).encode(), "extra"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_broken_taxonomy_is_one_clear_line(tmp_path: Path, name: str) -> None:
    content, said = BAD[name]
    file = tmp_path / "t.json"
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_taxonomy(file)
    assert said in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_taxonomy_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_taxonomy(tmp_path / "none.json")
    with pytest.raises(InputError, match="cannot be read"):
        load_taxonomy(tmp_path)
