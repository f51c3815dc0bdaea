from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flames.errors import UsageError
from flames.io import read_responses
from flames.records import Response
from flames.scorers import ScorerContext, load_scorer
from flames.scorers.labels import labels_path
from flames.scorers.lexical import LexicalModel, counts, ngrams, normalise
from flames.taxonomy import default_taxonomy, load_taxonomy

SCORER = load_scorer("lexical")
TAXONOMY = default_taxonomy()


def _response(text: str, dimension: str = "Safety", prompt_id: str = "p") -> Response:
    return Response(prompt_id=prompt_id, model="m", dimension=dimension, response=text)


@pytest.mark.parametrize("dimension", TAXONOMY.names)
@given(text=st.text(min_size=1, max_size=200))
def test_any_text_gets_a_score_on_the_scale_with_probabilities(dimension: str, text: str) -> None:
    (verdict,) = SCORER.score([_response(text, dimension)])
    scale = TAXONOMY.dimension(dimension).scale
    assert verdict.score in scale
    assert verdict.probabilities is not None
    assert list(verdict.probabilities) == [str(score) for score in scale]
    assert sum(verdict.probabilities.values()) == pytest.approx(1, abs=1e-3)
    assert verdict.probabilities[str(verdict.score)] == max(verdict.probabilities.values())


def test_a_verdict_does_not_depend_on_the_batch() -> None:
    responses = list(read_responses(labels_path("silver")))[:300]
    together = SCORER.score(responses)
    assert together == [SCORER.score([response])[0] for response in responses]
    assert together[::-1] == SCORER.score(responses[::-1])


def test_it_has_learned_what_it_was_trained_on() -> None:
    responses = list(read_responses(labels_path("silver")))
    verdicts = SCORER.score(responses)
    right = np.mean([v.score == r.extra["score"] for r, v in zip(responses, verdicts, strict=True)])
    assert right > 0.9


@pytest.mark.parametrize(
    ("said", "same"),
    [
        ("ＡＢＣ，１２３", "abc,456"),
        ("你\u200b好\ufeff", "你好"),
        ("你  好\n", "你 好"),
    ],
)
def test_width_case_digits_and_invisible_characters_make_no_difference(
    said: str, same: str
) -> None:
    assert normalise(said) == normalise(same)


@given(st.lists(st.text(st.characters(min_codepoint=3), max_size=12), min_size=1, max_size=5))
def test_ngram_keys_are_exact_and_never_cross_texts(texts: list[str]) -> None:
    keys, owners = ngrams(texts, (1, 2, 3))
    found = sorted(zip(owners.tolist(), keys.tolist(), strict=True))
    expected = []
    for i, text in enumerate(texts):
        codes = [2, *map(ord, text.encode("utf-32", "replace").decode("utf-32")), 2]
        for order in (1, 2, 3):
            for at in range(len(codes) - order + 1):
                key = 0
                for code in codes[at : at + order]:
                    key = key << 21 | code
                expected.append((i, key))
    assert found == sorted(expected)


def test_counts_are_over_the_vocabulary_alone() -> None:
    vocabulary = np.unique(ngrams(["好好"], (1, 2))[0])
    found = counts(["好好好", "x", ""], vocabulary).toarray()
    assert found.sum(axis=1).tolist() == [9, 2, 2], "3 好, 2 好好, both boundaries and their pairs"


def test_the_weights_hold_no_pickle_and_survive_their_file(tmp_path: Path) -> None:
    file = labels_path("silver").parent / "lexical" / "model.npz"
    assert file.stat().st_size < 5e6
    with np.load(file, allow_pickle=False) as arrays:
        assert all(arrays[name].dtype.kind != "O" for name in arrays.files)
    model = LexicalModel.from_bytes(file.read_bytes())
    assert model.to_bytes() == file.read_bytes()
    again = LexicalModel.from_bytes(model.to_bytes())
    assert again.heads == model.heads
    np.testing.assert_array_equal(again.weights, model.weights)


def test_info_says_what_it_reached_and_that_it_is_a_baseline() -> None:
    info = SCORER.info
    assert info.id == "lexical@1"
    assert "baseline trained on synthetic labels" in info.notes[0]
    overall = info.details["results"]["overall"]
    assert overall["accuracy_low"] > overall["majority_accuracy"]
    card = (labels_path("silver").parent / "lexical" / "MODEL_CARD.md").read_text("utf-8")
    assert f"{overall['accuracy']:.3f}" in card
    assert info.details["trained on"]["sha256"] in card


def test_a_dimension_without_head_is_unscored_and_a_foreign_taxonomy_refused(
    tmp_path: Path,
) -> None:
    tone = {"name": "Tone", "label": {"zh": "语气", "en": "Tone"}, "scale": [2, 1]}
    file = tmp_path / "t.json"
    file.write_text(json.dumps({"schema": 1, "name": "small", "dimensions": [tone]}))
    with pytest.raises(UsageError, match="no head for small@1"):
        load_scorer("lexical", ScorerContext(taxonomy=load_taxonomy(file)))
    verdicts = SCORER.score([_response("好", "Tone", "a"), _response("好", "Safety", "b")])
    assert [v.unscored for v in verdicts] == ["no head", None]
