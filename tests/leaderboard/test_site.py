"""The leaderboard's site: which lists there are, what pages say, and how they work in Chromium."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pages import overflow, serious, visible_text

from flames.analysis.loading import load_sources
from flames.analysis.source import fill_unasked
from flames.errors import UsageError
from flames.leaderboard.entries import LeaderboardEntry, entry_of
from flames.leaderboard.lists import board_lists
from flames.leaderboard.published import published
from flames.prompts.sets import load_prompts
from flames.reports.leaderboard_site import build_site
from flames.taxonomy import default_taxonomy

if TYPE_CHECKING:
    from playwright.sync_api import Page

FLAMES = default_taxonomy()
FEW = 200
EVIL = "<img src=x onerror='window.owned=1'> \"=cmd|x"


@pytest.fixture(scope="module")
def entries() -> list[LeaderboardEntry]:
    """Seven on one set from one scorer; one of another scorer, one repeated, one partial."""
    whole = load_prompts("open")
    same = [
        entry_of(
            fill_unasked(source, whole),
            date="2026-11-22",
            link=f"https://example.org/{source.model}",
        )
        for source in load_sources("labels:silver")
    ]
    other = same[0].model_copy(update={"scorer": "judge:x@1", "model": EVIL, "contact": EVIL})
    again = same[1].model_copy(update={"date": "2026-11-23"})
    data = json.loads(same[2].to_json())
    data["model"] = "partial"
    for group in (
        data["dimensions"]["Legality"],
        *data["dimensions"]["Legality"]["subcomponents"].values(),
    ):
        group["unscored"] = {
            "error": sum(group["counts"].values()) + group["unscored"]["not asked"]
        }
        group["counts"] = {"3": 0, "1": 0}
    return [*same, other, again, LeaderboardEntry.model_validate(data)]


@pytest.fixture(scope="module")
def site(entries: list[LeaderboardEntry], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    build_site(entries, out, resamples=FEW)
    return out


@pytest.fixture
def opened(page: Page, site: Path) -> Iterator[Callable[[str], Page]]:
    """A page of the site; it may ask for pages of the site and nothing else."""
    page.set_default_timeout(10_000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    def go(name: str) -> Page:
        page.goto((site / name).as_uri())
        return page

    yield go
    assert all(url.startswith(site.as_uri()) and url.endswith(".html") for url in asked), asked


def test_other_prompts_or_scorers_are_other_lists(entries: list[LeaderboardEntry]) -> None:
    lists = board_lists(entries, FLAMES, resamples=FEW)
    assert [(board.scorer, board.release, len(board.lines)) for board in lists] == [
        ("labels:silver@1", None, 9),
        ("judge:x@1", None, 1),
        ("as published", "2023-12-11", 17),
        ("as published", "2023-11-08", 12),
    ]
    changed = entries[0].prompt_set.model_copy(update={"ids_sha256": "0" * 64})
    moved = entries[0].model_copy(update={"prompt_set": changed})
    assert len(board_lists([*entries, moved], FLAMES, releases=(), resamples=FEW)) == 3
    assert len({board.slug for board in lists}) == 4


def test_who_lacks_a_dimension_is_listed_last_and_not_ranked(
    entries: list[LeaderboardEntry],
) -> None:
    board = board_lists(entries, FLAMES, releases=(), resamples=FEW)[0]
    assert board.lines[-1].name == "partial"
    assert board.overall is not None
    assert "partial" not in board.overall.by_model
    by_name = {ranks.dimension: ranks for ranks in board.dimensions}
    assert "partial" in by_name["Safety"].by_model
    assert "partial" not in by_name["Legality"].by_model


def test_two_entries_of_a_model_are_told_apart_by_their_dates(
    entries: list[LeaderboardEntry],
) -> None:
    board = board_lists(entries, FLAMES, releases=(), resamples=FEW)[0]
    names = {line.name for line in board.lines}
    assert {"sim-cautious (2026-11-22)", "sim-cautious (2026-11-23)"} < names


def test_repeats_widen_ranks_and_keep_values(entries: list[LeaderboardEntry]) -> None:
    once = board_lists(entries[:7], FLAMES, releases=(), resamples=FEW)[0]
    repeated = [entry.model_copy(update={"samples": 4}) for entry in entries[:7]]
    often = board_lists(repeated, FLAMES, releases=(), resamples=FEW)[0]
    assert once.overall is not None
    assert often.overall is not None
    spread = [
        sum(ranked.rank_high - ranked.rank_low for ranked in each.models)
        for each in (once.overall, often.overall)
    ]
    assert spread[1] > spread[0]
    assert [line.result.overall.harmless_rate.value for line in often.lines] == [  # type: ignore[union-attr]
        line.result.overall.harmless_rate.value
        for line in once.lines  # type: ignore[union-attr]
    ]


def test_downloads_hold_every_published_figure_and_every_entry(
    site: Path, entries: list[LeaderboardEntry]
) -> None:
    with (site / "data/leaderboard.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    table = {
        (row["list"], row["model"], row["name"].replace("overall", "Overall")): row
        for row in rows
        if row["source"] == "published"
    }
    for release in ("2023-12-11", "2023-11-08"):
        for row in published(release):
            found = table[f"Published results, {release}", row.model, row.dimension]
            assert f"{float(found['harmless_rate']):.2f}" == f"{row.harmless_rate:.2f}"
    assert {row["source"] for row in rows} == {"published", "measured"}
    assert not any(cell.startswith("=") for row in rows for cell in row.values())
    data = json.loads((site / "data/leaderboard.json").read_text("utf-8"))
    assert [each["source"] for each in data["lists"]] == ["measured"] * 2 + ["published"] * 2
    kept = sorted(path.read_text("utf-8") for path in site.glob("data/*/*.json"))
    assert kept == sorted(entry.to_json() for entry in entries)


def test_names_that_are_equal_as_file_names_keep_their_entries(
    entries: list[LeaderboardEntry], tmp_path: Path
) -> None:
    names = ("A", "a", "A.", "../a", "A-2")
    alike = [entries[0].model_copy(update={"model": name}) for name in names]
    build_site(alike, tmp_path / "out", releases=(), resamples=FEW)
    files = list((tmp_path / "out").glob("data/*/*.json"))
    assert {json.loads(path.read_text("utf-8"))["model"] for path in files} == set(names)
    assert len({path.name.casefold() for path in files}) == len(names)


def test_every_link_of_the_site_leads_somewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25
    for path in pages:
        html = path.read_text("utf-8")
        for target in re.findall(r'href="([^"]+)"', html.split('<script type="application')[0]):
            if target.startswith("http"):
                assert target.startswith("https://example.org/")
            elif not target.startswith("#"):
                assert (path.parent / target.split("#")[0]).exists(), (path.name, target)


def test_building_again_removes_what_is_of_no_more_use(
    entries: list[LeaderboardEntry], tmp_path: Path
) -> None:
    out = tmp_path / "site"
    first = build_site(entries[:3], out, releases=(), resamples=FEW)
    assert first[0] == out / "index.html"
    assert (out / "models/sim-weak.html").exists()
    (out / "CNAME").write_text("example.org")
    build_site(entries[:2], out, releases=(), resamples=FEW)
    before = {path: path.read_bytes() for path in out.rglob("*.*")}
    build_site(entries[:2], out, releases=(), resamples=FEW)
    assert not (out / "models/sim-weak.html").exists()
    assert (out / "CNAME").exists()
    assert {path: path.read_bytes() for path in out.rglob("*.*")} == before
    with pytest.raises(UsageError, match="neither entries nor published"):
        build_site([], tmp_path / "none", releases=(), resamples=FEW)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.txt").write_text("precious")
    with pytest.raises(UsageError, match="not empty and no site of ours"):
        build_site(entries[:2], tmp_path / "full", releases=(), resamples=FEW)


def test_the_table_sorts_and_finds(opened: Any) -> None:
    page = opened("lists/published-2023-12-11.html")
    board = page.locator("table.board").first
    names = board.locator("tbody th:visible")
    assert names.first.inner_text() == "Claude"
    board.get_by_role("button", name="Safety").click()
    assert names.first.inner_text() == "Baichuan2-7B"
    assert board.locator("th[aria-sort=descending]").inner_text().startswith("Safety")
    board.get_by_role("button", name="Safety").click()
    assert names.first.inner_text() in ("BELLE-13B", "ChatGLM-6B")
    board.get_by_role("button", name="Model").click()
    assert names.first.inner_text() == "Baichuan2-13B"
    page.get_by_role("searchbox").fill("gpt")
    assert sorted(names.all_inner_texts()) == ["ChatGPT", "GPT-4"]
    page.get_by_role("link", name="ChatGPT").first.click()
    assert page.get_by_role("heading", level=1).inner_text() == "ChatGPT"
    assert "46.91" in visible_text(page)


def test_published_is_marked_published_and_own_is_marked_measured(opened: Any) -> None:
    assert "published" in opened("lists/published-2023-12-11.html").locator(".lede").inner_text()
    front = opened("index.html")
    assert "measured" in front.locator(".lede").inner_text()
    assert "silver labels are synthetic" in visible_text(front)


def test_the_language_holds_for_the_next_page(opened: Any) -> None:
    page = opened("index.html")
    page.get_by_role("button", name="中文").click()
    page.get_by_role("link", name="如何提交").click()
    assert page.get_by_role("heading", level=1).inner_text() == "如何提交"
    assert page.evaluate("document.documentElement.lang") == "zh-Hans"


def test_models_are_chosen_for_the_radar(opened: Any) -> None:
    page = opened("lists/published-2023-12-11.html")
    assert page.locator(".keys li:visible").all_inner_texts() == [
        "Claude", "InternLM-20B", "InternLM-7B"
    ]  # fmt: skip
    page.get_by_role("checkbox", name="GPT-4").check()
    assert page.locator("svg.radar .other:visible").count() == 4
    assert page.get_by_role("checkbox", name="Minimax").is_disabled()


def test_pairs_mark_what_the_data_can_tell_apart(opened: Any) -> None:
    page = opened("lists/published-2023-12-11.html")
    rows = page.locator(".pairs tbody tr")
    assert rows.count() == 17
    first = rows.first.locator("td").all_inner_texts()
    assert first[1] == "+5.2"  # Claude and InternLM-20B: not told apart
    assert first[-1] == "▲+40.1"
    assert rows.last.locator("td").first.inner_text() == "▼−40.1"


def test_attack_success_stands_beside_the_published_figures(opened: Any) -> None:
    text = visible_text(opened("attack.html"))
    row = next(line for line in text.split("\n") if line.startswith("ChatGPT"))
    assert row.split()[:4] == ["ChatGPT", "1.63", "3.1", "53.09"]
    assert "partial" in text


@pytest.mark.parametrize("name", ["index.html", "models/claude.html", "attack.html", "submit.html"])
def test_no_serious_finding_and_no_sideways_scrolling(opened: Any, name: str) -> None:
    page = opened(name)
    assert serious(page) == []
    page.emulate_media(color_scheme="dark")
    assert serious(page, "color-contrast") == []
    page.set_viewport_size({"width": 320, "height": 700})
    assert overflow(page) <= 0
    page.get_by_role("button", name="中文").click()
    assert overflow(page) <= 0


def test_hostile_names_run_nothing(opened: Any, site: Path) -> None:
    name = next(path.name for path in (site / "models").iterdir() if "onerror" in path.name)
    page = opened(f"models/{name}")
    assert page.get_by_role("heading", level=1).inner_text() == EVIL
    assert page.evaluate("window.owned") is None
    assert page.locator("main img").count() == 0
