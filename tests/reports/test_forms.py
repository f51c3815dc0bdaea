"""Terminal, Markdown, JSON and CSV: compared with files, and against hostile input."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from flames.metrics.correction import correct
from flames.metrics.source import Source
from flames.reports.html import render_html
from flames.reports.report import print_summary, render_csv, render_json, render_markdown
from flames.taxonomy import Language, default_taxonomy

Compare = Callable[[str, str], None]
FLAMES = default_taxonomy()
LANGS: tuple[Language, ...] = ("zh", "en")


def printed(results: list[Any], lang: Language = "en", width: int = 80, **options: Any) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    print_summary(results, console, lang, **options)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("lang", LANGS)
def test_one_result(
    unscored: Source, measured: Any, stored: Any, same_as_before: Compare, lang: Any
) -> None:
    result = stored("unscored", lambda: measured(unscored))
    same_as_before(f"one.{lang}.txt", printed([result], lang))
    same_as_before(f"one.{lang}.md", render_markdown([result], FLAMES, lang))


@pytest.mark.parametrize("lang", LANGS)
def test_a_narrow_terminal_gets_fewer_numbers_and_is_told(
    silver: list[Source], measured: Any, stored: Any, lang: Any
) -> None:
    results = [
        stored(source.model, lambda source=source: measured(source)) for source in silver[:3]
    ]
    text = printed(results, lang, width=40)
    assert max(cell_len(line) for line in text.splitlines()) <= 40
    for group in [results[0].overall, *results[0].dimensions.values()]:
        rate = group.harmless_rate
        assert re.search(rf"{rate.value:.2f} +{rate.low:.1f}–{rate.high:.1f}\s", text)
    assert " 70 " in text


def test_one_result_as_data(
    unscored: Source, measured: Any, stored: Any, same_as_before: Compare
) -> None:
    result = stored("unscored", lambda: measured(unscored))
    same_as_before("one.csv", render_csv([result]))
    same_as_before("one.json", render_json([result]))


@pytest.mark.parametrize("lang", LANGS)
def test_what_the_probabilities_expect(
    unsure: Source, measured: Any, stored: Any, same_as_before: Compare, lang: Any
) -> None:
    result = stored("unsure", lambda: measured(unsure))
    same_as_before(f"unsure.{lang}.txt", printed([result], lang))
    same_as_before(f"unsure.{lang}.md", render_markdown([result], FLAMES, lang))


def test_an_expected_overall_rate_says_on_how_many(formal: Source, measured: Any) -> None:
    verdicts = [
        v.model_copy(update={"probabilities": {"3": 0.6, "1": 0.4}}) if i % 3 else v
        for i, v in enumerate(formal.verdicts)
    ]
    result = measured(replace(formal, verdicts=tuple(verdicts)))
    expected = result.overall.expected_harmless_rate
    assert expected.value == pytest.approx(60)
    text = render_markdown([result], FLAMES, "en")
    span = f"[{expected.low:.1f}, {expected.high:.1f}]"
    assert f"**Expected harmless rate: 60.00 %** {span} (on 236 of 354 scored responses)" in text
    assert re.search(r"Overall .* 60\.00 .* 236/354", printed([result]))


def test_several_results_show_it_too(unsure: Source, unscored: Source, measured: Any) -> None:
    results = [measured(unsure), measured(unscored)]
    text = render_markdown(results, FLAMES, "en")
    assert "| Overall | Expected | Fairness |" in text
    assert re.search(r"\| 60\.41 \[[\d., ]+\] \| 70\.04 \[[\d., ]+\] \| 52\.38", text)
    assert re.search(r"\| 60\.30 \[[\d., ]+\] \| – \| 54\.55", text)
    assert "Expected" in render_html(results, [], FLAMES, "en")


def test_nothing_is_expected_without_probabilities(unscored: Source, measured: Any) -> None:
    result = measured(unscored)
    page = render_html([result], [], FLAMES, "en")
    for text in (printed([result]), render_markdown([result], FLAMES, "en"), page):
        assert "Expected harmless rate" not in text
        assert "by the probabilities" not in text


@pytest.mark.parametrize("lang", LANGS)
def test_several_results(
    silver: list[Source], measured: Any, stored: Any, same_as_before: Compare, lang: Any
) -> None:
    results = [
        stored(source.model, lambda source=source: measured(source)) for source in silver[:3]
    ]
    same_as_before(f"several.{lang}.txt", printed(results, lang))
    same_as_before(f"several.{lang}.md", render_markdown(results, FLAMES, lang))


def test_a_partial_set_says_so_everywhere(
    formal: Source, read: Any, measured: Any, stored: Any, same_as_before: Compare
) -> None:
    lines = [v.to_dict() for v in formal.verdicts if v.dimension in ("Safety", "Legality")]
    result = stored("partial", lambda: measured(read(lines)[0]))
    data = json.loads(render_json([result]))
    assert data["partial"] is True
    assert data["overall"]["harmless_rate"] is None
    assert list(data["dimensions"]) == ["Safety", "Legality"]
    same_as_before("partial.en.txt", printed([result]))
    same_as_before("partial.zh.md", render_markdown([result], FLAMES, "zh"))


def test_nothing_scored_at_all(formal: Source, read: Any, measured: Any) -> None:
    lines = [{**v.to_dict(), "score": None, "unscored": "error"} for v in formal.verdicts]
    result = measured(read(lines)[0])
    text = printed([result])
    assert "0 scored (0.0%)" in text
    assert "error 354" in text
    assert "0/354" not in text  # no overall line is made up
    assert json.loads(render_json([result]))["overall"]["attack_success_rate"] is None
    assert "error 354" in render_markdown([result], FLAMES, "en")


def test_another_taxonomy(other: Any, measured: Any, stored: Any, same_as_before: Compare) -> None:
    source, taxonomy = other(2)
    result = stored("other", lambda: measured(source, taxonomy))
    same_as_before("other.zh.txt", printed([result], "zh", taxonomy=taxonomy))
    same_as_before("other.en.md", render_markdown([result], taxonomy, "en"))


@pytest.mark.parametrize("lang", LANGS)
def test_human_labels(
    formal: Source, measured: Any, stored: Any, same_as_before: Compare, lang: Any
) -> None:
    people = [
        v.model_copy(update={"annotator": "ann", "scorer": "human:ann"})
        for v in formal.verdicts[::3]
    ]
    correction = stored(
        "correction",
        lambda: correct(formal, people, random_sample=True, target_width=10, resamples=200),
    )
    result = stored("formal", lambda: measured(formal))
    same_as_before(f"human.{lang}.txt", printed([result], lang, corrections=[correction]))
    same_as_before(f"human.{lang}.md", render_markdown([result], FLAMES, lang, [correction]))
    data = json.loads(render_json([result], [correction]))["human"]
    assert data["harmless_rate"].keys() >= {"scorer", "human", "corrected", "more_labels"}
    assert data["labels"]["used"] == len(people)


def test_the_json_report_is_the_contract(unscored: Source, measured: Any) -> None:
    data = json.loads(render_json([measured(unscored)]))
    assert data["schema"] == 1
    assert data["prompt_set"].keys() >= {"name", "sha256", "n"}
    overall = data["overall"]
    for name in ("harmless_rate", "harmless_score", "attack_success_rate"):
        assert overall[name].keys() == {"value", "low", "high", "method"}
    coverage = overall["coverage"]
    assert coverage["unscored"] == {"blocked": 18, "judges disagree": 18}
    assert coverage["prompts"] == coverage["scored"] + sum(coverage["unscored"].values())
    for group in data["dimensions"].values():
        assert group["scored"] == sum(group["counts"].values())
        assert group["n"] == group["scored"] + sum(group["unscored"].values())


def test_any_other_number_of_results_is_a_list(silver: list[Source], measured: Any) -> None:
    results = [measured(source) for source in silver[:2]]
    data = json.loads(render_json(results))
    assert data["schema"] == 1
    assert [each["model"] for each in data["results"]] == ["sim-blunt", "sim-cautious"]
    assert json.loads(render_json([])) == {"schema": 1, "results": []}


def test_hostile_text_moves_no_terminal(hostile: Source, measured: Any) -> None:
    result = measured(hostile)
    for text in (printed([result], width=200), render_json([result])):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert "[bold red]markup" in printed([result], width=200)
    assert json.loads(render_json([result]))["model"] == hostile.model


def test_hostile_text_breaks_no_markdown(hostile: Source, measured: Any) -> None:
    from markdown_it import MarkdownIt

    text = render_markdown([measured(hostile)], FLAMES, "en")
    html = MarkdownIt("gfm-like", {"html": True, "linkify": False}).enable("table").render(text)
    tags = set(re.findall(r"<([a-z0-9]+)", html))
    assert tags <= {"h1", "h2", "h3", "ul", "li", "strong", "table", "thead", "tbody", "tr", "th",
                    "td", "p"}  # fmt: skip
    widths = {row.count("<td") for row in re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)}
    assert widths <= {0, 5}
    assert "javascript:alert(1)" in html  # as text, not as a link


def test_hostile_text_is_no_formula_in_csv(hostile: Source, measured: Any) -> None:
    rows = list(csv.DictReader(io.StringIO(render_csv([measured(hostile)]))))
    assert len({len(row) for row in rows}) == 1
    names = [row["name"] for row in rows if row["level"] == "technique"]
    assert any(name.startswith("'=HYPERLINK") for name in names)
    assert not any(cell.startswith(tuple("=+-@")) for row in rows for cell in row.values())
