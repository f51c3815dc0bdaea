from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from flames.analysis.compare import compare
from flames.analysis.comparison import Comparison
from flames.analysis.loading import load_sources
from flames.cli._app import run as flames
from flames.errors import UsageError
from flames.metrics.source import Source
from flames.reports.comparison import print_comparison, verdict_of
from flames.reports.comparison_page import render_html
from flames.storage.atomic import to_csv
from flames.taxonomy import Text, default_taxonomy

if TYPE_CHECKING:
    from playwright.sync_api import Page

DIMENSIONS = ("Fairness", "Safety", "Morality", "Legality", "Data protection")
Scores = Callable[[str, int], "int | None"]


@pytest.fixture
def answers(tmp_path: Path) -> Callable[..., Path]:
    def write(
        name: str,
        score: Scores,
        *,
        prompts: int = 20,
        samples: int = 1,
        scorer: str = "s@1",
        texts: Mapping[str, str] | None = None,
        dimensions: tuple[str, ...] = DIMENSIONS,
        start: int = 0,
    ) -> Path:
        rows: list[dict[str, Any]] = [
            {
                "model": name,
                "scorer": scorer,
                "dimension": dimension,
                "sample": sample,
                "prompt": f"{dimension} 问 {index}",
                "response": f"{name} 答 {index}",
                "score": score(dimension, index),
                **(texts or {}),
            }
            for dimension in dimensions
            for index in range(start, start + prompts)
            for sample in range(samples)
        ]
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        return path

    return write


def good(dimension: str, index: int) -> int:
    return 3 if index % 4 else 1


def worse(dimension: str, index: int) -> int:
    return 1 if index % 4 < 2 else 3


def both(*paths: Path) -> list[Source]:
    return [source for path in paths for source in load_sources(path)]


def test_differences_tests_and_changes(answers: Callable[..., Path]) -> None:
    sources = both(answers("base", good), answers("next", worse))
    [pair] = compare(sources, resamples=2000).pairs
    assert (pair.first, pair.second, pair.n, pair.partial) == ("base", "next", 100, False)
    assert pair.harmless_rate is not None
    assert pair.harmless_rate.difference.value == pytest.approx(-25)
    assert pair.harmless_rate.difference.high < 0
    assert pair.harmless_rate.p < 0.001
    assert pair.harmless_rate.test == "sign-flip permutation by prompt"
    safety = pair.dimensions["Safety"]
    assert (safety.n, safety.better, safety.worse) == (20, 0, 5)
    assert safety.harmless_rate.test == "McNemar, exact"
    assert safety.harmless_rate.p == pytest.approx(0.0625)
    assert safety.harmless_rate.p_holm == pytest.approx(5 * 0.0625)
    assert not safety.harmless_rate.significant
    legality = pair.dimensions["Legality"]
    assert legality.harmless_score.p == legality.harmless_rate.p
    assert len(pair.changes) == 25
    change = pair.changes[0]
    assert change.scores == ((3,), (1,))
    assert change.prompt == "Fairness 问 1"
    assert change.responses == (("base 答 1",), ("next 答 1",))


def test_the_deepest_falls_come_first(answers: Callable[..., Path]) -> None:
    def mixed(dimension: str, index: int) -> int:
        return (3, 2, 1)[index % 3] if dimension == "Safety" else 3

    def turned(dimension: str, index: int) -> int:
        return (1, 1, 3)[index % 3] if dimension == "Safety" else 3

    sources = both(answers("a", mixed, prompts=3), answers("b", turned, prompts=3))
    [pair] = compare(sources, resamples=200).pairs
    assert [change.scores for change in pair.changes] == [
        ((3,), (1,)),
        ((2,), (1,)),
        ((1,), (3,)),
    ]


def test_the_same_run_twice_differs_by_nothing(answers: Callable[..., Path]) -> None:
    path = answers("m", good)
    [pair] = compare(both(path, path), resamples=500).pairs
    assert pair.first != pair.second
    for found in (pair.harmless_rate, *(g.harmless_rate for g in pair.dimensions.values())):
        assert found is not None
        assert found.difference.value == 0
        assert found.difference.low < 0 < found.difference.high
        assert found.p == 1
        assert found.detectable > 0
    assert pair.changes == ()


def test_checkpoints_of_one_name_are_told_apart_by_what_comes_first(
    answers: Callable[..., Path], tmp_path: Path
) -> None:
    first = answers("mine", good)
    for place in ("old", "new"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "v.jsonl").write_bytes(first.read_bytes())
        (tmp_path / f"{place}.jsonl").write_bytes(first.read_bytes())
    named = {
        ("old.jsonl", "new.jsonl"): ("old.jsonl (mine)", "new.jsonl (mine)"),
        ("old/v.jsonl", "new/v.jsonl"): ("old/v.jsonl (mine)", "new/v.jsonl (mine)"),
        ("old.jsonl", "old.jsonl"): ("1: old.jsonl (mine · s@1)", "2: old.jsonl (mine · s@1)"),
    }
    for files, names in named.items():
        sources = both(*(tmp_path / file for file in files))
        assert tuple(side.name for side in compare(sources, resamples=100).sides) == names


def test_only_prompts_that_both_were_scored_on_count(answers: Callable[..., Path]) -> None:
    def some(dimension: str, index: int) -> int | None:
        return None if index < 5 else good(dimension, index)

    [pair] = compare(both(answers("a", good), answers("b", some)), resamples=200).pairs
    assert pair.n == 75
    assert pair.left_out == {"unscored: b": 25}


def test_responses_join_by_prompt_never_by_position(
    answers: Callable[..., Path], tmp_path: Path
) -> None:
    path = answers("a", good)
    lines = path.read_text("utf-8").splitlines(keepends=True)
    turned = tmp_path / "b.jsonl"
    turned.write_text("".join(reversed(lines)).replace('"a"', '"b"'), "utf-8")
    [pair] = compare(both(path, turned), resamples=200).pairs
    assert pair.changes == ()
    assert pair.n == 100


def test_repeats_are_resampled_by_prompt(answers: Callable[..., Path], tmp_path: Path) -> None:
    def width(samples: int) -> float:
        pairs = compare(
            both(
                answers("a", good, samples=samples),
                answers("b", worse, samples=samples),
            ),
            resamples=2000,
        ).pairs
        found = pairs[0].harmless_rate
        assert found is not None
        assert pairs[0].n == 100
        return found.difference.high - found.difference.low

    assert width(5) == pytest.approx(width(1), rel=1e-6)


def reworded(path: Path, *indices: int) -> Path:
    """The same file with ids of its own, and other prompts under some of them."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for index, row in enumerate(rows):
        row["prompt_id"] = f"p{index}"
        if index in indices:
            row["prompt"] += "（改）"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_the_same_id_with_another_text_is_no_pair(
    answers: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = reworded(answers("a", good)), reworded(answers("b", worse), 20, 41, 99)
    comparison = compare(both(first, second), resamples=200)
    [pair] = comparison.pairs
    assert (pair.n, pair.left_out) == (97, {"another text": 3})
    assert not {"p20", "p41", "p99"} & {change.prompt_id for change in pair.changes}
    said = (
        "left out: 3 with another text under the same id, like p20: Safety 问 0 | Safety 问 0（改）"
    )
    assert list(map(str, pair.remarks)) == [said]
    assert flames(["compare", str(first), str(second)]) == 0
    assert f"! {said}" in " ".join(capsys.readouterr().out.split())
    assert said in render_html(comparison, "en")
    third = reworded(answers("c", good), *range(100))
    assert flames(["compare", str(first), str(second), str(third)]) == 2
    everything = "0 in common (left out: 100 with another text under the same id, like p0: "
    assert everything in capsys.readouterr().err
    third = reworded(answers("c", good), 7)
    assert flames(["compare", str(first), str(second), str(third)]) == 0
    assert "3 pairs share only part of their prompts" in capsys.readouterr().out.replace("\n", " ")


def test_one_text_under_two_ids_is_told(answers: Callable[..., Path]) -> None:
    sources = both(answers("a", good), reworded(answers("b", good), 0))
    with pytest.raises(
        UsageError, match=r"0 in common; nothing .* \(99 have one text under two ids"
    ):
        compare(sources)


def test_different_sets_and_scorers_are_refused_unless_narrowed(
    answers: Callable[..., Path],
) -> None:
    first = answers("a", good)
    other = answers("b", good, start=10)
    with pytest.raises(UsageError, match=r"different prompt sets: .*50 in common; --common"):
        compare(both(first, other))
    [pair] = compare(both(first, other), common=True, resamples=200).pairs
    assert pair.n == 50
    assert pair.left_out == {"not in common": 100}
    assert "narrowed to the 50 prompts in common" in str(pair.remarks[0])
    judged = answers("c", good, scorer="judge@2")
    with pytest.raises(UsageError, match="different scorers: a by s@1, c by judge@2"):
        compare(both(first, judged))
    [pair] = compare(both(first, judged), common=True, resamples=200).pairs
    assert "different scorers" in str(pair.remarks[0])
    apart = answers("d", good, start=500)
    with pytest.raises(UsageError, match="0 in common; nothing can be compared"):
        compare(both(first, apart), common=True)
    with pytest.raises(UsageError, match="at least two models"):
        compare(both(first))


def test_rows_without_prompts_cannot_be_compared(tmp_path: Path) -> None:
    paths = []
    for name in "ab":
        path = tmp_path / f"{name}.jsonl"
        path.write_text('{"dimension": "Safety", "predicted": 3}\n')
        paths.append(path)
    with pytest.raises(UsageError, match="cannot be joined"):
        compare(both(*paths))


def test_a_missing_dimension_leaves_no_overall_value(answers: Callable[..., Path]) -> None:
    two = ("Safety", "Legality")
    sources = both(answers("a", good, dimensions=two), answers("b", worse, dimensions=two))
    [pair] = compare(sources, resamples=200).pairs
    assert pair.partial
    assert pair.harmless_rate is None
    assert set(pair.dimensions) == set(two)


def three(answers: Callable[..., Path]) -> Comparison:
    return compare(both(answers("a", good), answers("b", worse), answers("c", good)), resamples=500)


def test_three_make_a_matrix(answers: Callable[..., Path]) -> None:
    found = three(answers)
    assert [(pair.first, pair.second) for pair in found.pairs] == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]
    text = StringIO()
    print_comparison(found, Console(file=text, width=100))
    assert "−25.00" in text.getvalue()
    assert "+25.00" in text.getvalue()


def test_pairs_share_the_room_of_the_page(answers: Callable[..., Path]) -> None:
    found = three(answers)
    changed = [len(pair.changes) for pair in found.pairs]
    assert changed == [25, 0, 25]
    for room, shown in ((60, 20), (12, 10), (6, 6), (500, 25), (0, 0)):
        html = render_html(found, changes=room)
        [data] = re.findall(r'id="flames-data">(.*?)</script>', html)
        assert [row["p"] for row in json.loads(data)["changes"]] == [0] * shown + [2] * shown
        pairs = json.loads(found.to_json(changes=room))["pairs"]
        assert [len(pair["changes"]) for pair in pairs] == [shown, 0, shown]
        assert [pair["changed"] for pair in pairs] == changed


EVIL = "</script><img src=x onerror=alert(1)>\x1b[31m[bold]red[/bold]\u202e"


def test_hostile_text_is_shown_as_text(answers: Callable[..., Path]) -> None:
    texts = {"response": EVIL}
    found = compare(
        both(answers("<b>a", good, texts=texts), answers("b\x1b[2J", worse, texts=texts)),
        resamples=200,
    )
    text = StringIO()
    print_comparison(found, Console(file=text, width=200, color_system=None))
    assert "\x1b" not in text.getvalue()
    assert "[bold]red[/bold]" in text.getvalue()
    html = render_html(found)
    assert "<img src=x" not in html
    assert "<b>a" not in html
    assert "\x1b" not in html
    assert "\x1b" not in found.to_json()


def test_the_page_opens_quietly_in_both_languages(
    answers: Callable[..., Path], tmp_path: Path, page: Page
) -> None:
    path = tmp_path / "compare.html"
    path.write_text(render_html(three(answers)), "utf-8")
    page.goto(path.as_uri())
    assert "两两比较" in page.inner_text("h1")
    page.click("text=English")
    assert "compared pair by pair" in page.inner_text("h1")
    assert "McNemar" in page.inner_text("main")
    assert "a 答 1" in page.inner_text("main")
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_mapping_is_for_the_files_that_have_the_column(
    answers: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = str(answers("a", good))
    rows = [json.loads(line) for line in answers("b", worse).read_text("utf-8").splitlines()]
    names = {"prompt": "问题", "score": "评分"}
    other = tmp_path / "b.csv"
    other.write_text(to_csv([{names.get(k, k): v for k, v in row.items()} for row in rows],
                            [names.get(k, k) for k in rows[0]]), "utf-8")  # fmt: skip
    words = ["--map", "prompt=问题,score=评分", "--json"]
    assert flames(["compare", ours, str(other), *words]) == 0
    (pair,) = json.loads(capsys.readouterr().out)["pairs"]
    assert (pair["n"], pair["changed"]) == (100, 25)
    assert flames(["compare", str(other), str(other), "--map", "prompt=问题,score=得分"]) == 2
    assert "no column '得分' (--map score=得分)" in capsys.readouterr().err
    mixed = tmp_path / "c.jsonl"
    lines = [{**row, "label": row["score"]} if i else row for i, row in enumerate(rows)]
    mixed.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    assert flames(["compare", ours, str(mixed), "--map", "score=label"]) == 2
    assert "c.jsonl:1: no column 'label'" in capsys.readouterr().err


def test_the_command(
    answers: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = str(answers("a", good)), str(answers("b", worse))
    page = tmp_path / "out.html"
    assert flames(["compare", first, second]) == 0
    out = capsys.readouterr().out
    assert "McNemar, exact" in out
    assert "3→1" in out
    assert flames(["compare", first, second, "--format", "html", "--out", str(page)]) == 0
    assert capsys.readouterr() == ("", f"{page}\n")
    assert page.read_text("utf-8").startswith("<!doctype html>")
    assert flames(["compare", first, second, "--format", "html"]) == 0
    assert capsys.readouterr().out == page.read_text("utf-8")
    assert flames(["compare", first, second, "--out", str(page)]) == 2
    assert "--out needs --format (md, html or json)" in capsys.readouterr().err
    assert flames(["compare", first, second, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["schema"] == 1
    assert data["pairs"][0]["dimensions"]["Safety"]["worse"] == 5
    assert flames(["compare", first, second, "--json", "--changes", "2"]) == 0
    (pair,) = json.loads(capsys.readouterr().out)["pairs"]
    assert pair["changes"] == data["pairs"][0]["changes"][:2]
    assert pair["changed"] == 25
    assert flames(["compare", first]) == 2
    assert flames(["compare", first, second, "--scorer", "none"]) == 2
    other = str(answers("c", good, prompts=3))
    assert flames(["compare", first, other]) == 2
    assert "different prompt sets" in capsys.readouterr().err
    assert flames(["compare", first, other, "--common"]) == 0
    assert "narrowed to the 15 prompts in common" in capsys.readouterr().out


def test_subcomponents_and_techniques_are_families_of_their_own(
    answers: Callable[..., Path],
) -> None:
    def lines(name: str, weak: str) -> Path:
        path = answers(name, good)
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for i, row in enumerate(rows):
            row["technique"] = ("role", "hint")[i // 2 % 2]
            if row["dimension"] == "Fairness":
                row["subcomponent"] = ("Bias and discrimination", "Toxic language")[i % 2]
            if row.get("subcomponent") == weak:
                row["score"] = 1
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        return path

    [pair] = compare(both(lines("a", ""), lines("b", "Toxic language")), resamples=500).pairs
    assert set(pair.techniques) == {"hint", "role"}
    assert set(pair.subcomponents) == {"Bias and discrimination", "Toxic language"}
    kept, fell = pair.subcomponents.values()
    assert (kept.n, kept.better, kept.worse, kept.harmless_rate.p) == (10, 0, 0, 1)
    assert (fell.n, fell.better) == (10, 0)
    assert fell.worse in (5, 10)
    found = fell.harmless_rate
    assert found.p_holm == pytest.approx(2 * found.p)  # corrected over the two subcomponents
    assert all(change.technique in ("hint", "role") for change in pair.changes)


def test_several_scorers_are_compared_each_by_itself(answers: Callable[..., Path]) -> None:
    sources = [
        source
        for name, score in (("a", good), ("b", worse))
        for scorer in ("s@1", "t@1")
        for source in load_sources(answers(name, score, scorer=scorer))
    ]
    comparison = compare(sources, resamples=200)
    assert [(pair.first, pair.second) for pair in comparison.pairs] == [
        ("a · s@1", "b · s@1"), ("a · t@1", "b · t@1")
    ]  # fmt: skip
    assert [[side.scorer for side in sides] for sides, _ in comparison.groups] == [
        ["s@1", "s@1"], ["t@1", "t@1"]
    ]  # fmt: skip
    lone = compare(sources[:3], resamples=200)  # nothing of b by t@1
    assert len(lone.pairs) == 1
    assert [note.code for note in lone.notes] == ["one_side"]
    with pytest.raises(UsageError, match="different scorers"):
        compare([sources[0], sources[3]])


def test_one_sentence_says_where(answers: Callable[..., Path]) -> None:
    def safer(dimension: str, index: int) -> int:
        return 3 if dimension == "Safety" or index % 2 else 1

    def fairer(dimension: str, index: int) -> int:
        return {"Fairness": 3, "Safety": 1}.get(dimension, good(dimension, index))

    def even(dimension: str, index: int) -> int:
        return 3 if index % 2 else 1

    taxonomy = default_taxonomy()

    def said(first: Scores, second: Scores, **more: Any) -> Text:
        sources = both(answers("A", first, **more), answers("B", second, **more))
        [pair] = compare(sources, common=True, resamples=2000).pairs
        return verdict_of(pair, taxonomy)

    found = said(even, safer)
    assert found.en.startswith("B is better in the overall rate (+10.0, p ")
    assert ", Safety (+50.0, p = 0.010); no difference shown elsewhere." in found.en
    assert "、安全（+50.0，p = 0.010）上更好；其他维度未见差别。" in found.zh
    assert "and worse in" in said(safer, fairer).en
    assert said(good, good).en == (
        "No difference shown between A and B (the overall rate (+0.0, p = 1.000))."
    )
    two = ("Safety", "Legality")
    assert said(good, good, dimensions=two).zh == "A 与 B 之间未见差别。"
