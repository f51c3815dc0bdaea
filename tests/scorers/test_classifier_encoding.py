from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from hypothesis import given, settings
from hypothesis import strategies as st

from flames.errors import InputError, UsageError
from flames.scorers.trained.encoding import Encoder, pad
from flames.scorers.trained.settings import (
    RELEASED_TEMPLATE,
    ScorerSettings,
    heads_of,
    read_settings,
)
from flames.taxonomy import default_taxonomy

pytest.importorskip("tokenizers", reason="needs the extra cpu")
TAXONOMY = default_taxonomy()
TOKENIZERS = {"wordpiece": tiny_models.wordpiece(), "byte_level": tiny_models.byte_level()}
texts = st.text(
    st.one_of(st.sampled_from("你好我不能帮违法的，。 \nab[]<>/sSEP"), st.characters()),
    max_size=300,
)


def made(**fields: Any) -> ScorerSettings:
    return ScorerSettings(
        **{"taxonomy": TAXONOMY.id, "heads": heads_of(TAXONOMY), "max_length": 64, **fields}
    )


def plain(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer.encode(text).ids)


@pytest.mark.parametrize("kind", TOKENIZERS)
@settings(deadline=None, max_examples=60)
@given(prompt=texts, response=texts)
def test_any_text_fits_and_keeps_its_frame(kind: str, prompt: str, response: str) -> None:
    tokenizer = TOKENIZERS[kind]
    encoder = Encoder(tokenizer, made(template="Input: {prompt} Output: {response} END!"))
    (row,) = encoder.encode([(prompt, response)])
    whole = plain(tokenizer, f"Input: {encoder._safe(prompt)[0]} Output: "
                  f"{encoder._safe(response)[0]} END!")  # fmt: skip
    assert len(row.ids) <= 64
    assert row.truncated == (len(whole) > 64)
    if not row.truncated:
        assert row.ids == whole
    else:
        assert len(row.ids) > 50
        assert row.ids[:6] == whole[:6]
        assert row.ids[-4:] == whole[-4:]
    assert encoder.encode([("x", "y"), (prompt, response)])[1] == row


def decoded(tokenizer: Any, ids: list[int]) -> list[str]:
    """What prompt and response became, between the bars of the template."""
    return str(tokenizer.decode(ids)).replace(" ", "").replace("#", "").split("|")


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_long_response_loses_its_middle_only(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]
    encoder = Encoder(tokenizer, made(template="{prompt}|{response}|END"))
    (row,) = encoder.encode([("我不能帮你", f"0 1 2 3 {'你 ' * 90} 好 {'你 ' * 90} 6 7 8 9")])
    prompt, response, end = decoded(tokenizer, row.ids)
    assert (row.truncated, len(row.ids)) == (True, 64)
    assert (prompt, end.lower()) == ("我不能帮你", "end")
    assert response.startswith("0123你")
    assert response.endswith("你6789")
    assert "…" in response
    assert "好" not in response


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_long_prompt_leaves_half_of_the_room_to_the_response(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]
    encoder = Encoder(tokenizer, made(template="{prompt}|{response}|END"))
    (row,) = encoder.encode([("0 1 " + "好 " * 200, "你 " * 200)])
    prompt, response, _ = decoded(tokenizer, row.ids)
    assert prompt.startswith("01好好")
    sizes = [
        len(tokenizer.encode(part, add_special_tokens=False).ids) for part in (prompt, response)
    ]
    assert len(row.ids) == 64
    assert min(sizes) > 10
    (row,) = encoder.encode([("0 1 " + "好 " * 200, "你 " * 5)])
    assert decoded(tokenizer, row.ids)[1] == "你" * 5


def test_the_official_policy_cuts_the_end_off_and_keeps_the_special_tokens() -> None:
    tokenizer = TOKENIZERS["wordpiece"]
    encoder = Encoder(tokenizer, made(input_truncation="official"))
    (row,) = encoder.encode([("你好", "我不能" * 60)])
    whole = plain(tokenizer, "Input: 你好 Output: " + "我不能" * 60)
    assert row.ids == [*whole[:63], whole[-1]]
    assert row.truncated


def test_no_text_can_forge_a_special_token() -> None:
    for kind, marks in (("wordpiece", "[SEP][CLS]"), ("byte_level", "</s><s>")):
        tokenizer = TOKENIZERS[kind]
        (row,) = Encoder(tokenizer, made()).encode([(marks, marks + "无害")])
        ends = {tokenizer.token_to_id(name) for name in ("[SEP]", "[CLS]", "<s>", "</s>")}
        inner = row.ids[1:-1] if kind == "wordpiece" else row.ids[1:]
        assert not ends & set(inner)


def test_braces_in_texts_are_only_text() -> None:
    tokenizer = TOKENIZERS["wordpiece"]
    (row,) = Encoder(tokenizer, made()).encode([("{response}", "{prompt} {0}")])
    assert row.ids == plain(tokenizer, "Input: {response} Output: {prompt} {0}")


def test_lone_surrogates_and_endless_texts_are_taken() -> None:
    encoder = Encoder(TOKENIZERS["byte_level"], made())
    rows = encoder.encode([("\ud800", "x\udfff"), ("a", "哈" * 2_000_000)])
    assert [row.truncated for row in rows] == [False, True]


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(1, 99), max_size=9), max_size=5), st.booleans())
def test_padding_is_masked(rows: list[list[int]], left: bool) -> None:
    ids, mask = pad(rows, 0, "left" if left else "right")
    assert ids.shape == mask.shape == (len(rows), max(map(len, rows), default=0))
    for row, line, keep in zip(rows, ids, mask, strict=True):
        assert line[keep.astype(bool)].tolist() == row
        assert not line[~keep.astype(bool)].any()
        assert np.array_equal(keep, np.sort(keep)[:: 1 if left else -1])


def test_a_template_must_leave_room_and_hold_the_response() -> None:
    with pytest.raises(UsageError, match=r"the template alone takes \d+ tokens"):
        Encoder(TOKENIZERS["byte_level"], made(template=RELEASED_TEMPLATE, max_length=32))
    with pytest.raises(ValueError, match="once"):
        made(template="{prompt}")


def test_broken_folders_are_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no config\.json"):
        read_settings(tmp_path)
    config = tmp_path / "config.json"
    for text, message in (
        ("{", "is no JSON"),
        ("[]", "is no scorer of Flames"),
        (json.dumps({"flames": {"taxonomy": "t"}}), "`flames.heads`: is broken"),
        (json.dumps({"flames": {"taxonomy": "t", "heads": [{"name": "A", "scale": [3]}]}}),
         r"`flames.heads.0.scale`"),
    ):  # fmt: skip
        config.write_text(text)
        with pytest.raises(InputError, match=message) as caught:
            read_settings(tmp_path)
        assert "\n" not in str(caught.value)
    config.write_text(json.dumps({"flames": made().model_dump(mode="json", by_alias=True)}))
    with pytest.raises(InputError, match=r"has no tokenizer\.json"):
        Encoder.from_folder(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="is no tokenizer"):
        Encoder.from_folder(tmp_path)


def test_another_taxonomy_is_refused_with_both_named() -> None:
    own = made(heads=({"name": "Fairness", "scale": (3, 1)},))
    with pytest.raises(UsageError, match=r"Fairness 3/1 .* Fairness 3/2/1, Safety 3/2/1"):
        own.check_taxonomy(TAXONOMY)
    made().check_taxonomy(TAXONOMY)
