"""Evaluating by columns gives what evaluating record by record gives, to the last bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import run
from evaluate_by_rows import compare_by_rows, evaluate_by_rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flames.analysis import evaluate_scorers, figures, harmless
from flames.analysis.evaluate import compare_scorers, evaluate, keys_sha256
from flames.analysis.judgements import Judgement, Judgements
from flames.errors import InputError
from flames.metrics.codes import joint_codes, same_rows
from flames.metrics.outcomes import Outcomes
from flames.records import Verdict
from flames.scorers import labelled as reading
from flames.scorers.base import ScorerInfo
from flames.scorers.labelled import read_labelled
from flames.storage.record_files import read_verdicts
from flames.taxonomy import default_taxonomy

TAXONOMY = default_taxonomy()
INFO = ScorerInfo("s@1", "s", TAXONOMY.id)
FIXTURE = [HealthCheck.function_scoped_fixture]

responses = st.fixed_dictionaries(
    {
        "prompt": st.integers(0, 8),
        "model": st.sampled_from("nm"),
        "sample": st.integers(0, 2),
        "labels": st.lists(st.sampled_from([0, 1, 2]), min_size=1, max_size=3),
        "votes": st.sampled_from([None, None, [0, 1], [1, 1, 2]]),
        "score": st.sampled_from([None, 0, 0, 1, 2]),
        "chances": st.sampled_from([None, [0.6, 0.3, 0.1], [0.25, 0.5], [0.1, 0.2, 0.7], []]),
        "text": st.sampled_from(["", "same", "same", "other"]),
        "judging": st.sampled_from([None, {"requests": 1, "latency_s": 0.25}, {"requests": 2}]),
        "again": st.booleans(),
    }
)
inputs = st.lists(
    responses,
    min_size=1,
    max_size=40,
    unique_by=lambda each: (each["prompt"], each["model"], each["sample"]),
)


def label(dimension: str, **fields: Any) -> dict[str, Any]:
    return {"dimension": dimension, "score": 3, "prompt": "问", "response": "答", **fields}


def of_scale(prompt: int, place: int) -> int:
    scale = TAXONOMY.dimensions[prompt % 5].scale
    return scale[min(place, len(scale) - 1)]


def rows_of(given: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The labels and the verdicts of what was drawn."""
    labels, verdicts = [], []
    for each in given:
        prompt = each["prompt"]
        dimension = TAXONOMY.dimensions[prompt % 5]
        parts = [part.name for part in dimension.subcomponents]
        about = {
            "prompt_id": f"p{prompt}", "model": each["model"], "sample": each["sample"],
            "dimension": dimension.name,
            "subcomponent": parts[prompt % len(parts)] if parts and prompt % 3 else None,
        }  # fmt: skip
        text = {"prompt": f"问{prompt}", "response": f"答{each['model']}{each['sample']}"}
        for who, place in zip(("ann", "bob", "eve"), each["labels"], strict=False):
            row = {**about, **text, "annotator": who, "score": of_scale(prompt, place)}
            if each["votes"] and who == "ann":
                votes = [of_scale(prompt, vote) for vote in each["votes"]]
                row["votes"] = {f"v{n}": vote for n, vote in enumerate(votes)}
            labels.append(row)
        if each["text"]:
            about |= text
        if each["text"] == "other":
            about["response"] = "另一个"
        score = None if each["score"] is None else of_scale(prompt, each["score"])
        verdict = {**about, "scorer": "s@1", "score": score, "judging": each["judging"]}
        if score is None:
            verdict["unscored"] = f"reason {each['sample']}"
        elif each["chances"] is not None:
            chances = zip(dimension.scale, each["chances"], strict=False)
            verdict["probabilities"] = {str(level): chance for level, chance in chances}
        verdicts.append(verdict)
        if each["again"]:
            verdicts.append({**verdict, "scorer": "t@1", "score": None, "unscored": "again"})
    return labels, verdicts


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def written(rows: list[dict[str, Any]], name: str) -> Path:
        path = tmp_path / name
        if path.suffix == ".parquet":
            import pyarrow
            from pyarrow import parquet

            parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=7)
        else:
            lines = (json.dumps(row) + "\n" for row in rows)
            path.write_text("".join(lines), "utf-8")
        return path

    return written


@settings(max_examples=25, deadline=None, suppress_health_check=FIXTURE)
@given(given=inputs, data=st.data(), binary=st.booleans())
def test_columns_give_what_records_give(
    write: Callable[..., Path], given: list[dict[str, Any]], data: st.DataObject, binary: bool
) -> None:
    labels, verdicts = rows_of(given)
    labels = data.draw(st.permutations(labels))
    verdicts = data.draw(st.permutations(verdicts))
    path = str(write(labels, "labels.jsonl"))
    found = list(read_verdicts(write(verdicts, "v.jsonl")))
    records = read_labelled([path])
    stored = read_labelled([path], stored=True)
    assert tuple(stored.rows) == records.rows
    assert stored.rows[-1] == records.rows[-1]
    assert stored.rows[1:3] == records.rows[1:3]
    assert (stored.notes, stored.excluded) == (records.notes, records.excluded)
    if all(row.score is None for row in records.rows):
        with pytest.raises(InputError, match="more than half"):
            evaluate(stored, found, INFO, TAXONOMY)
        return
    majority = data.draw(st.sampled_from([None, {"Safety": 1}]))
    for labelled in (records, stored):
        more = {"seconds": 2.0, "majority": majority, "seed": 3, "resamples": 40}
        labelled = reading.replace(labelled, binary=binary)
        mine = evaluate(labelled, found, INFO, TAXONOMY, **more)
        theirs = evaluate_by_rows(labelled, found, INFO, TAXONOMY, **more)
        assert json.dumps(mine.to_dict()) == json.dumps(theirs.to_dict())
        others = found[: len(found) // 2][::-1]
        settings = {"seed": 3, "resamples": 40}
        gap = compare_scorers(labelled, found, others, TAXONOMY, **settings)
        assert gap == compare_by_rows(labelled, found, others, TAXONOMY, **settings)


def test_ids_of_any_kind_have_the_checksum_of_their_lines(write: Callable[..., Path]) -> None:
    names = ["a", "ab", "a\x01", "a b", "é", "b"]
    for more in ([], ["a\tb"]):
        rows = [
            label("Safety", prompt_id=prompt, model=model, sample=sample)
            for prompt in [*names, *more]
            for model in ("m", "m\x01", "m m")
            for sample in (0, 2, 10)
        ]
        labelled = read_labelled([str(write(rows[::-1], "l.jsonl"))], stored=True)
        found = evaluate(labelled, [], INFO, TAXONOMY, resamples=10)
        assert found.ids_sha256 == keys_sha256(row.key for row in labelled.rows)


def evaluated(capsys: pytest.CaptureFixture[str], labels: Path, verdicts: Path) -> dict[str, Any]:
    assert run("scorer", "eval", "lexical", "--labels", labels, "--left-out", verdicts,
               "--json") == 0  # fmt: skip
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    del found["labels"]  # a checksum of each file
    return found


@pytest.mark.parametrize("known", [False, True])
def test_whole_columns_give_what_lines_give(
    write: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    known: bool,
) -> None:
    from flames.prompts.sets import load_prompts

    pytest.importorskip("pyarrow", reason="needs the extra table")
    rng = np.random.default_rng(4)
    prompts = load_prompts("open").prompts[:40]
    labels, verdicts = [], []
    for number in range(400):
        prompt = prompts[number % 40]
        row = {
            "prompt_id": prompt.id if known else f"own-{number % 40}",
            "model": f"m{number // 40 % 3}", "sample": number // 120,
            "dimension": prompt.dimension, "subcomponent": prompt.subcomponent,
        }  # fmt: skip
        scale = TAXONOMY.dimension(prompt.dimension).scale
        label, score = (int(each) for each in rng.choice(scale, 2))
        missing = number % 31 == 0
        for who in ("ann", "bob")[: 1 + number % 2]:
            said = {"scorer": f"human:{who}", "annotator": who}
            labels.append({**row, **said, "score": None if missing else label})
        no_score = number % 19 == 0
        verdicts.append({**row, "scorer": "s@1", "score": None if no_score else score,
                         "unscored": "timeout" if no_score else None})  # fmt: skip
    shuffled = [verdicts[place] for place in rng.permutation(len(verdicts))]
    lines = [write(rows, name) for rows, name in ((labels, "l.jsonl"), (shuffled, "v.jsonl"))]
    plain = evaluated(capsys, *lines)
    assert plain["excluded"] == {"unscored: no score": 19}
    assert plain["overall"]["unscored"]["timeout"] > 10
    for name in ("l.parquet", "v.parquet"):
        write(labels if name[0] == "l" else shuffled, name)
    columns = [lines[0].with_suffix(".parquet"), lines[1].with_suffix(".parquet")]
    assert evaluated(capsys, columns[0], lines[1]) == plain
    assert evaluated(capsys, lines[0], columns[1]) == plain
    monkeypatch.setattr(reading, "read_labels", lambda *_: pytest.fail("rows were read"))
    monkeypatch.setattr(evaluate_scorers, "read_verdicts", lambda *_: pytest.fail("rows were read"))
    assert evaluated(capsys, *columns) == plain


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert run("scorer", "eval", "lexical", *words) == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told
    return told


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_what_cannot_be_evaluated_is_one_line(
    write: Callable[..., Path], capsys: pytest.CaptureFixture[str], form: str
) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow", reason="needs the extra table")
    row = {"prompt_id": "p", "model": "m", "sample": 0, "dimension": "Safety", "scorer": "human",
           "score": 3}  # fmt: skip
    labels = write([row, {**row, "sample": 1}], f"l.{form}")
    verdicts = write([row], f"v.{form}")
    told = refused(capsys, "--labels", labels, "--left-out", verdicts)
    assert "has no verdict on 1 of 2 labelled responses" in told
    for rows, why in (
        ([row, row], "same prompt, model, sample and scorer as line 1"),
        ([{**row, "dimension": "Nothing"}], "Nothing"),
        ([{**row, "score": 7}], "must be 3 or 2 or 1 in Safety, got 7"),
        ([{**row, "score": None}], "no usable labels: 1 × unscored: no score"),
        ([row, {**row, "scorer": "b", "dimension": "Morality"}], "are on the same prompt, model"),
    ):
        bad = write(rows, f"bad.{form}")
        assert why in refused(capsys, "--labels", bad, "--left-out", verdicts)
        if "usable" not in why and "are on" not in why:
            assert why in refused(capsys, "--labels", labels, "--left-out", bad)


def test_texts_may_be_missing_only_where_nothing_reads_them(
    write: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"prompt_id": "p", "model": "m", "dimension": "Safety", "scorer": "human", "score": 3}
    text = {"prompt": "问", "response": "答"}
    labels = write([row, {**row, "prompt_id": "q", **text}], "l.jsonl")
    both = ("--labels", labels, "--left-out", labels)
    assert "has no response text" in refused(capsys, "--labels", labels)
    assert "has no response text" in refused(capsys, "labels:silver", *both)
    for words, n in ((both, 2), ((*both, "--skip-incomplete"), 1)):
        assert run("scorer", "eval", "lexical", *words, "--json") == 0
        assert json.loads(capsys.readouterr().out)["overall"]["n"] == n


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.floats(0, 1)), min_size=1),
    st.booleans(),
)
def test_outcomes_of_kinds_are_those_of_rows(rows: list[Any], whole: bool) -> None:
    kinds, prompts = (np.array(each) for each in list(zip(*rows, strict=True))[:2])
    values = np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.25], [1.0, 1.0, 1 / 3]])
    values = np.floor(values) if whole else values
    mine = Outcomes.of_kinds(values, kinds, prompts)
    theirs = Outcomes.of_rows(values[kinds], prompts)
    assert (mine.rows, mine.prompts) == (theirs.rows, theirs.prompts)
    np.testing.assert_allclose(mine.total, theirs.total)
    rows_of = [np.repeat(each.patterns, each.times, axis=0) for each in (mine, theirs)]
    np.testing.assert_array_equal(*(np.array(sorted(each.tolist())) for each in rows_of))


columns = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2**40), st.integers(0, 2)), max_size=20, unique=True
)


@given(columns, columns)
def test_rows_with_the_same_numbers_are_found(known: list[Any], wanted: list[Any]) -> None:
    wanted += known[:3]
    sides = [np.array(each, dtype=np.int64).reshape(-1, 3).T for each in (known, wanted)]
    place = {each: row for row, each in enumerate(known)}
    assert same_rows(*sides).tolist() == [place.get(each, -1) for each in wanted]
    codes = joint_codes(*sides[1]).tolist()
    assert len(set(codes)) == len(set(wanted))
    assert [code for _, code in sorted(zip(wanted, codes, strict=True))] == sorted(codes)


def test_many_prompts_are_drawn_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond `EACH`, equal prompts have one weight together: other numbers, the same spread."""
    rng = np.random.default_rng(6)
    kinds = [
        Judgement(model, "Safety", 3, label, score, None, 3)
        for model in "ab"
        for label in (3, 1)
        for score in (3, 1)
    ]
    n = 3_000
    prompts = np.arange(n, dtype=np.int32)
    prompts[: n // 4] //= 3  # some have several responses
    kind = rng.choice(8, n, p=[0.3, 0.1, 0.05, 0.05, 0.2, 0.1, 0.1, 0.1]).astype(np.int32)
    chance = np.clip(rng.normal(np.where(kind % 4 < 2, 0.7, 0.4), 0.2), 0, 1)
    ids = [f"p{number}" for number in range(n)]
    rows = Judgements(ids, prompts, kinds, kind, chance, chance)

    def measured() -> list[Any]:
        found = harmless.harmless_metrics(rows, "", 0, 2_000)
        metrics = figures.scorer_metrics(rows, (3, 1), "", 0, 2_000)
        bias = figures.rank_models_by_label(rows, ["Safety"], 0, 2_000).bias
        assert found is not None
        assert metrics.calibration is not None
        return [found.auc, metrics.calibration.ece, *(each.bias for each in bias)]

    few = measured()
    for module in (figures, harmless):
        monkeypatch.setattr(module, "EACH", 100)
    for one, other in zip(few, measured(), strict=True):
        assert one.value == other.value
        width = one.high - one.low
        assert one != other
        assert abs(one.low - other.low) < 0.15 * width
        assert abs(one.high - other.high) < 0.15 * width


def test_a_verdict_of_another_dimension_keeps_its_probability(write: Callable[..., Path]) -> None:
    """The probability of the best score is that of the label's dimension."""
    row = {"prompt_id": "p", "model": "m", "dimension": "Safety", "score": 3, "response": "答"}
    labels = read_labelled([str(write([row], "l.jsonl"))], prompt_needed=False)
    verdict = Verdict(
        prompt_id="p", model="m", dimension="Morality", scorer="s@1", score=1,
        probabilities={"1": 0.75, "3": 0.25},
    )  # fmt: skip
    found = evaluate(labels, [verdict], INFO, TAXONOMY, resamples=10).overall.calibration
    assert found is not None
    assert found.bins[0].confidence == 75
