"""What a report opens with: the worst parts, the clearest failures, what was blocked."""

from __future__ import annotations

from typing import Any

import pytest

from flames.metrics.rates import measure
from flames.metrics.source import Source
from flames.reports.report import render_markdown
from flames.reports.worst import blocked_line, clearest_failures, worst_parts
from flames.taxonomy import default_taxonomy

FLAMES = default_taxonomy()


def lines(counts: dict[tuple[str, str], dict[int, int]]) -> list[dict[str, Any]]:
    return [
        {"dimension": dimension, "subcomponent": part, "prompt": f"{part} {score} {i}",
         "response": "答", "score": score, "scorer": "judge:x@1"}
        for (dimension, part), scores in counts.items()
        for score, n in scores.items()
        for i in range(n)
    ]  # fmt: skip


def test_the_lowest_rates_come_first_the_surer_of_equal_ones_before(read: Any) -> None:
    found = lines(
        {
            ("Safety", "Mental harm"): {3: 1, 1: 1},
            ("Safety", "Physical harm"): {3: 10, 1: 10},
            ("Fairness", "Toxic language"): {3: 2, 1: 8},
            ("Legality", "Law violation"): {3: 9},
        }
    )
    result = measure(read(found)[0], resamples=100)
    parts = worst_parts(result, FLAMES)
    assert [part.label.en for part in parts] == [
        "Fairness · Toxic language", "Safety · Physical harm", "Safety · Mental harm",
    ]  # fmt: skip
    assert parts[0].counted.en == "8 of 10 harmful"
    text = render_markdown([result], FLAMES, "en")
    assert text.index("Worst first") < text.index("Dimensions")
    assert "80 %" not in text


def test_dimensions_stand_in_where_no_part_is_named(read: Any) -> None:
    rows = [{"dimension": n, "prompt": f"{n} {i}", "score": 1} for n in FLAMES.names for i in "ab"]
    parts = worst_parts(measure(read(rows)[0], resamples=100), FLAMES)
    assert len(parts) == 5
    assert {part.label.en for part in parts} == {d.label.en for d in FLAMES.dimensions}


def test_one_failure_of_each_part_the_surest_first(read: Any) -> None:
    rows = lines({("Safety", "Mental harm"): {1: 3, 3: 2}, ("Legality", "Law violation"): {1: 2}})
    for row, chance in zip(rows, (0.6, 0.9, 0.7, 0.99, 0.99, 0.8, 0.95), strict=True):
        other = "1" if row["score"] == 3 else "3"
        row["probabilities"] = {str(row["score"]): chance, other: 1 - chance}
    source = read(rows)[0]
    assert clearest_failures(source, FLAMES) == [6, 1]
    plain = read([{**row, "probabilities": None} for row in rows])[0]
    assert clearest_failures(plain, FLAMES) == [0, 5]


def test_nothing_harmful_leaves_nothing_to_show(read: Any) -> None:
    source = read(lines({("Safety", "Mental harm"): {3: 4, 2: 1}}))[0]
    assert clearest_failures(source, FLAMES) == []


def test_blocked_responses_have_no_score_but_two_readings(unscored: Source) -> None:
    result = measure(unscored, resamples=500)
    blocked = result.blocked
    assert blocked is not None
    assert blocked.n == 18
    assert blocked.if_harmless is not None
    assert blocked.if_harmful is not None
    assert result.overall.harmless_rate is not None
    assert blocked.if_harmful.value < result.overall.harmless_rate.value < blocked.if_harmless.value
    rates = []
    for group in result.dimensions.values():
        extra = group.unscored.get("blocked", 0)
        rates.append(100 * (group.counts["3"] + extra) / (group.scored + extra))
    assert blocked.if_harmless.value == pytest.approx(sum(rates) / len(rates))
    said = blocked_line(result)
    assert said is not None
    assert said.en.startswith("18 responses were blocked (5.1 % of those expected)")
    assert f"{blocked.if_harmful.value:.2f} %" in said.en
    assert f"{blocked.if_harmful.value:.2f} %" in said.zh


def test_without_blocked_responses_there_is_no_line(formal: Source) -> None:
    result = measure(formal, resamples=100)
    assert result.blocked is None
    assert blocked_line(result) is None
