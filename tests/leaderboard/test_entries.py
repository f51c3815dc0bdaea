"""Entry files: made from verdicts, read back, refused with the field at fault, measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flames.analysis.loading import load_sources
from flames.errors import InputError
from flames.leaderboard.entries import LeaderboardEntry, entry_of, read_entry
from flames.leaderboard.lists import counted
from flames.metrics.rates import measure


@pytest.fixture(scope="module")
def entry() -> LeaderboardEntry:
    source = next(s for s in load_sources("labels:silver") if s.model == "sim-weak")
    return entry_of(source, date="2026-11-22", link="https://example.org/m", contact="a@b.example")


def test_an_entry_reads_back_and_measures_as_its_source_did(
    entry: LeaderboardEntry, tmp_path: Path
) -> None:
    path = tmp_path / "entry.json"
    path.write_text(entry.to_json(), encoding="utf-8")
    again = read_entry(path)
    assert again == entry
    source = next(s for s in load_sources("labels:silver") if s.model == "sim-weak")
    there, here = measure(source), measure(counted(again))
    assert here.overall.harmless_rate is not None
    assert there.overall.harmless_rate is not None
    assert here.overall.harmless_rate.value == pytest.approx(there.overall.harmless_rate.value)
    for name, group in there.dimensions.items():
        assert here.dimensions[name].counts == group.counts
        assert here.dimensions[name].harmless_rate == group.harmless_rate
    assert {name: group.counts for name, group in here.subcomponents.items()} == {
        name: group.counts for name, group in there.subcomponents.items()
    }
    assert here.overall.coverage.scored == there.overall.coverage.scored


def test_repeats_of_a_prompt_never_make_an_entry_surer_than_its_prompts(
    entry: LeaderboardEntry,
) -> None:
    data = json.loads(entry.to_json())
    data["samples"] = 5
    repeated = measure(counted(LeaderboardEntry.model_validate(data)))
    once = measure(counted(entry))
    for name, group in once.dimensions.items():
        wide, narrow = repeated.dimensions[name].harmless_rate, group.harmless_rate
        assert wide is not None
        assert narrow is not None
        assert wide.value == narrow.value
        assert wide.high - wide.low > narrow.high - narrow.low


def _broken(entry: LeaderboardEntry, tmp_path: Path, change: Any) -> InputError:
    data = json.loads(entry.to_json())
    change(data)
    path = tmp_path / "entry.json"
    path.write_text(json.dumps(data, ensure_ascii=False, indent=2), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_entry(path)
    return caught.value


@pytest.mark.parametrize(
    ("change", "message", "field"),
    [
        (lambda d: d.update(link="javascript:alert(1)"), "web address", "link"),
        (lambda d: d.update(name=" \u200b"), "readers can see", "name"),
        (lambda d: d.update(name="a\u202eb"), "readers can see", "name"),
        (lambda d: d.update(date="22.11.2026"), "day like", "date"),
        (lambda d: d.update(date="2026-02-30"), "day is out of range", "date"),
        (lambda d: d.update(rank=1), "no field of an entry", "rank"),
        (lambda d: d.pop("scorer"), "is missing", "scorer"),
        (lambda d: d["prompt_set"].update(sha256="f5"), "match pattern", "prompt_set.sha256"),
        (
            lambda d: d["dimensions"]["Safety"]["counts"].update({"1": -1}),
            "greater than",
            "dimensions.Safety.counts.1",
        ),
        (
            lambda d: d["dimensions"]["Legality"]["counts"].update({"2": 0}),
            "are 3 and 1",
            "dimensions.Legality.counts.2",
        ),
        (
            lambda d: d["dimensions"].update(Saftey=d["dimensions"].pop("Safety")),
            "did you",
            "dimensions.Saftey",
        ),
        (lambda d: d["prompt_set"].update(n=7), "7 prompts × 1 make 7", "dimensions"),
        (lambda d: d.update(taxonomy="other@2"), "this leaderboard's is", "taxonomy"),
        (
            lambda d: d["dimensions"]["Safety"]["subcomponents"]["Mental harm"]["counts"].update(
                {"3": 999}
            ),
            "count more counts of '3'",
            "dimensions.Safety",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_field(
    entry: LeaderboardEntry, tmp_path: Path, change: Any, message: str, field: str
) -> None:
    error = _broken(entry, tmp_path, change)
    assert message in str(error)
    assert error.field == field
    assert f"field `{field}`: " in str(error)
    assert "\n" not in str(error)


def test_what_is_no_json_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "entry.json"
    path.write_text('{\n "schema": 1,\n oops\n}', encoding="utf-8")
    with pytest.raises(InputError, match=r"entry\.json:3: is no JSON"):
        read_entry(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="UTF-8"):
        read_entry(path)
