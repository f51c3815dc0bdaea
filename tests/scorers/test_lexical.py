from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flames.errors import UsageError
from flames.records import Response
from flames.scorers.base import Scorer, ScorerContext
from flames.scorers.labels import labels_path
from flames.scorers.lexical import LexicalModel, counts, ngrams, normalise
from flames.scorers.registry import load_scorer
from flames.storage.record_files import read_responses
from flames.taxonomy import default_taxonomy, load_taxonomy

SCORER = load_scorer("lexical")
PLUS = load_scorer("lexical-plus")
BOTH = pytest.mark.parametrize("scorer", [SCORER, PLUS], ids=["lexical", "lexical-plus"])
DATA = labels_path("silver").parent
TAXONOMY = default_taxonomy()


def _response(text: str, dimension: str = "Safety", prompt_id: str = "p") -> Response:
    return Response(prompt_id=prompt_id, model="m", dimension=dimension, response=text)


@BOTH
@pytest.mark.parametrize("dimension", TAXONOMY.names)
@settings(max_examples=30)
@given(text=st.text(min_size=1, max_size=200))
def test_any_text_gets_a_score_on_the_scale_with_probabilities(
    scorer: Scorer, dimension: str, text: str
) -> None:
    (verdict,) = scorer.score([_response(text, dimension)])
    scale = TAXONOMY.dimension(dimension).scale
    assert verdict.score in scale
    assert verdict.probabilities is not None
    assert list(verdict.probabilities) == [str(score) for score in scale]
    assert sum(verdict.probabilities.values()) == pytest.approx(1, abs=1e-3)
    assert verdict.probabilities[str(verdict.score)] == max(verdict.probabilities.values())


@BOTH
def test_a_verdict_does_not_depend_on_the_batch(scorer: Scorer) -> None:
    responses = list(read_responses(labels_path("silver")))[:200]
    together = scorer.score(responses)
    assert together == [scorer.score([response])[0] for response in responses]
    assert together[::-1] == scorer.score(responses[::-1])


@BOTH
def test_it_has_learned_what_it_was_trained_on(scorer: Scorer) -> None:
    responses = list(read_responses(labels_path("silver")))
    verdicts = scorer.score(responses)
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


@pytest.mark.parametrize("name", ["lexical", "lexical-plus"])
def test_the_weights_hold_no_pickle_and_survive_their_file(name: str) -> None:
    file = DATA / name / "model.npz"
    assert file.stat().st_size < 5e6
    with np.load(file, allow_pickle=False) as arrays:
        assert all(arrays[part].dtype.kind != "O" for part in arrays.files)
    model = LexicalModel.from_bytes(file.read_bytes())
    again = LexicalModel.from_bytes(model.to_bytes())
    assert again.heads == model.heads
    assert again.card == model.card
    np.testing.assert_array_equal(again.weights, model.weights)
    np.testing.assert_array_equal(again.idf, model.idf)


@BOTH
def test_info_says_what_it_reached_and_on_what_labels(scorer: Scorer) -> None:
    info = scorer.info
    name = info.id.removesuffix("@1")
    assert "trained on synthetic labels" in str(info.notes[0])
    overall = info.details["results"]["overall"]
    assert overall["accuracy_low"] > overall["majority_accuracy"]
    card = (DATA / name / "MODEL_CARD.md").read_text("utf-8")
    assert f"{overall['accuracy']:.3f}" in card
    assert info.details["trained on"]["sha256"] in card
    assert "sim-formal" not in SCORER.info.details["trained on"]["models"], "train split alone"


def test_the_default_is_better_than_the_baseline_beyond_chance() -> None:
    beside = PLUS.info.details["beside lexical"]
    assert load_scorer("default").info.id == PLUS.info.id
    assert beside["low"] > 0
    assert beside["bare_low"] > 0


def test_a_subcomponent_is_judged_by_its_own_head_and_by_the_dimensions_where_none_is_named() -> (
    None
):
    response = _response("可以用别的办法试试，注意不要被发现。", "Data protection")
    named = response.model_copy(update={"subcomponent": "Personal data"})
    other = response.model_copy(update={"subcomponent": "never heard of"})
    (bare,), (own,), (unknown,) = (PLUS.score([r]) for r in (response, named, other))
    assert bare.probabilities != own.probabilities
    assert bare.probabilities == unknown.probabilities
    assert SCORER.score([response])[0].probabilities == SCORER.score([named])[0].probabilities


def test_a_dimension_on_another_scale_has_no_head(tmp_path: Path) -> None:
    names = {"zh": "x", "en": "x"}
    dimensions = [
        {"name": "Safety", "label": names, "scale": [2, 1]},
        {"name": "Legality", "label": {"zh": "y", "en": "y"}, "scale": [3, 1]},
    ]
    file = tmp_path / "t.json"
    file.write_text(json.dumps({"schema": 1, "name": "other", "dimensions": dimensions}))
    scorer = load_scorer("lexical-plus", ScorerContext(taxonomy=load_taxonomy(file)))
    verdicts = scorer.score([_response("好", "Safety", "a"), _response("好", "Legality", "b")])
    assert [v.unscored for v in verdicts] == ["no head", None]


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
