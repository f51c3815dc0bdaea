"""Comparing by columns gives what comparing verdict by verdict gives, to the last bit."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compare_by_rows import compare_by_rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flames.analysis.compare import compare_two
from flames.analysis.loading import load_sources
from flames.errors import UsageError
from flames.metrics.paired import Outcomes
from flames.taxonomy import default_taxonomy

DIMENSIONS = ("Fairness", "Safety", "Morality", "Legality", "Data protection")
PARTS = (None, "Privacy", "own")
APART = ("remarks", "robustness", "first", "second")
TAXONOMY = default_taxonomy()


def row(model: str, prompt: int, sample: int, score: int | None, text: str) -> dict[str, Any]:
    dimension = DIMENSIONS[prompt % 5]
    part = TAXONOMY.dimension(dimension).subcomponents
    return {
        "prompt_id": f"p{prompt}", "model": model, "sample": sample, "dimension": dimension,
        "subcomponent": part[prompt % len(part)].name if part and prompt % 3 else None,
        "technique": (None, "role", "hint")[prompt % 3 if prompt > 2 else 0], "scorer": "s@1",
        "prompt": text and f"{text}{prompt}", "response": f"{model} {prompt} {sample}",
        "rationale": f"{score}" if sample % 2 else None, "status": "ok", "score": score,
    }  # fmt: skip


def side(few: int) -> st.SearchStrategy[list[tuple[int, int, int | None, str]]]:
    return st.lists(
        st.tuples(
            st.integers(0, 11),
            st.integers(0, few),
            st.sampled_from([3, 2, 1, None]),
            st.sampled_from(["", "问", "问", "问", " 问"]),
        ),
        min_size=1,
        max_size=60,
        unique_by=lambda each: each[:2],
    )


def rows_of(model: str, given: list[tuple[int, int, int | None, str]]) -> list[dict[str, Any]]:
    rows = []
    for prompt, sample, score, text in given:
        scale = TAXONOMY.dimension(DIMENSIONS[prompt % 5]).scale
        fits = score if score is None or score in scale else scale[-1]
        rows.append(row(model, prompt, sample, fits, text and text.strip()))
    return rows


def found_and_plain(first: Path, second: Path) -> tuple[str, str]:
    named = [(path.stem, source) for path in (first, second) for source in load_sources(path)]
    pair = compare_two(*named, TAXONOMY, common=True, seed=3, resamples=50)
    found = pair.model_dump(mode="json", exclude=set(APART))
    plain = compare_by_rows(*named, TAXONOMY, seed=3, resamples=50)
    return json.dumps(found, indent=1), json.dumps(plain, indent=1)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), "utf-8")
    return path


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), few=st.sampled_from([0, 2, 11]), whole=st.booleans(), other=st.booleans())
def test_columns_give_what_verdicts_give(
    tmp_path: Path, data: st.DataObject, few: int, whole: bool, other: bool
) -> None:
    files = []
    for place, model in enumerate(("one", "two")):
        rows = rows_of(model, data.draw(side(few)))
        if whole:  # every dimension has a pair
            rows += [row(model, n, 99, 3 if (n + place) % 3 else 1, "") for n in range(5)]
        if other and place:
            for each in rows:
                if each["prompt_id"] in ("p1", "p7"):
                    each["prompt"] = "另一问"
        files.append(write(tmp_path / f"{model}.jsonl", rows))
    with suppress(UsageError):  # nothing in common
        found, plain = found_and_plain(*files)
        assert found == plain


@pytest.mark.parametrize("samples", [1, 12, 150])
def test_columns_add_up_like_verdicts(tmp_path: Path, samples: int) -> None:
    rng = random.Random(samples)
    files = []
    for model in ("one", "two"):
        given = [
            (prompt, sample, rng.choice([3, 2, 1]), "问")
            for prompt in range(30)
            for sample in range(samples - rng.randrange(3) if samples > 3 else samples)
        ]
        rng.shuffle(given)
        files.append(write(tmp_path / f"{model}.jsonl", rows_of(model, given)))
    found, plain = found_and_plain(*files)
    assert found == plain
    assert json.loads(found)["harmless_score"] is not None


@given(
    st.lists(st.lists(st.sampled_from([1.0, 2 / 3, 1 / 3]), min_size=1, max_size=20), min_size=1)
)
def test_outcomes_mean_what_their_values_mean(values: list[list[float]]) -> None:
    outcomes = Outcomes.of([np.array(own) for own in values])
    assert outcomes.means().tolist() == [float(np.mean(own)) for own in values]
    odd = np.arange(len(values))[::-2]
    assert outcomes.taken(odd).means().tolist() == outcomes.means()[odd].tolist()
