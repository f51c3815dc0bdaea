"""The leaderboard as a static site: offline, on a phone, in Chinese and English."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from flames.errors import UsageError
from flames.leaderboard.attack import attack_table
from flames.leaderboard.entries import LeaderboardEntry, read_entry
from flames.leaderboard.lists import BoardList, ListRow, board_lists
from flames.leaderboard.published import RELEASES
from flames.metrics.grouping import subcomponent_names
from flames.metrics.rates import RESAMPLES
from flames.metrics.result import ROW_COLUMNS, Note
from flames.options import Opt
from flames.reports.charts import radar
from flames.reports.html import helpers, section_of
from flames.reports.page import render_page
from flames.reports.words import same, say
from flames.storage.atomic import to_csv, write_atomic
from flames.storage.run_dir import safe_name
from flames.taxonomy import (
    Language,
    Taxonomy,
    TaxonomyOptions,
    Text,
    default_taxonomy,
    load_taxonomy,
)

_LEDGER = ".flames-site"
_CHOSEN = 3


@dataclass(frozen=True)
class _Site:
    lists: list[BoardList]
    taxonomy: Taxonomy
    lang: Language
    slugs: dict[str, str]

    def title(self, board: BoardList) -> Text:
        if board.release is not None:
            return say("list.published", release=board.release)
        repeats = f" × {board.samples}" if board.samples > 1 else ""
        return say("list.measured", set=board.prompt_set.full_name + repeats, scorer=board.scorer)

    def path(self, board: BoardList) -> str:
        return "index.html" if board is self.lists[0] else f"lists/{board.slug}.html"

    def render(self, template: str, path: str, title: Text, **context: Any) -> tuple[str, str]:
        html = render_page(
            f"{template}.html.jinja",
            title=title,
            lang=self.lang,
            styles=("charts.css", "report.css", "site.css"),
            scripts=("radar.js", "site.js"),
            remember=True,
            up="../" * path.count("/"),
            here=path,
            lists=[(self.path(board), self.title(board), board) for board in self.lists],
            slugs=self.slugs,
            entry_file=_entry_file,
            taxonomy=self.taxonomy,
            has_responses=False,
            **helpers(),
            **context,
        )
        return path, html


def build_site(
    entries: Sequence[LeaderboardEntry],
    out: Path,
    *,
    taxonomy: Taxonomy | None = None,
    lang: Language = "en",
    releases: Sequence[str] = RELEASES,
    resamples: int = RESAMPLES,
) -> list[Path]:
    """Builds the site, front page first, and removes files of an earlier build that it lacks."""
    taxonomy = taxonomy or default_taxonomy()
    before = _ledger(out)
    lists = board_lists(entries, taxonomy, releases=releases, resamples=resamples)
    if not lists:
        raise UsageError("there are neither entries nor published tables to show")
    slugs = _file_names(line.name for board in lists for line in board.lines)
    site = _Site(lists, taxonomy, lang, slugs)
    files = {**dict(_pages(site)), **_downloads(site)}
    written = [write_atomic(out / name, text) for name, text in files.items()]
    for name in before - files.keys():
        (out / name).unlink(missing_ok=True)
    write_atomic(out / _LEDGER, "\n".join(sorted(files)) + "\n")
    return written


@dataclass(frozen=True)
class SiteOptions(TaxonomyOptions):
    """What a leaderboard's site is built from."""

    entries: Annotated[Path, Opt("Folder of the entry files.", metavar="DIR")] = Path("entries")
    out: Annotated[Path, Opt("Folder of the site.", metavar="DIR")] = Path("site")
    published: Annotated[bool, Opt("Show the published tables beside the entries.")] = True


def build_from_entries(options: SiteOptions, lang: Language) -> tuple[int, list[Path]]:
    """Builds the site of a folder of entries; returns their number and the files written."""
    folder = options.entries
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; --entries takes the folder of entry files")
    if not folder.exists() and folder != Path("entries"):
        raise UsageError(f"{folder}: no such folder; flames leaderboard add makes entries")
    taxonomy = load_taxonomy(options.taxonomy)
    entries = [read_entry(path, taxonomy) for path in sorted(folder.glob("*.json"))]
    releases = RELEASES if options.published else ()
    return len(entries), build_site(
        entries, options.out, taxonomy=taxonomy, lang=lang, releases=releases
    )


def _ledger(out: Path) -> set[str]:
    if not out.exists():
        return set()
    if not out.is_dir():
        raise UsageError(f"{out}: is a file; the site needs a folder")
    ledger = out / _LEDGER
    if ledger.is_file():
        names = set(ledger.read_text("utf-8").split("\n")) - {""}
        return {name for name in names if ".." not in Path(name).parts and name[0] != "/"}
    if any(out.iterdir()):
        raise UsageError(f"{out}: is not empty and no site of ours; choose another --out")
    return set()


def _file_names(names: Iterable[str]) -> dict[str, str]:
    """A file name for every name; none differ by case alone, which some file systems ignore."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in dict.fromkeys(names):
        base = safe_name(name).casefold()[:80]
        file_name, number = base, 2
        while file_name in taken:
            file_name, number = f"{base}-{number}", number + 1
        taken.add(file_name)
        found[name] = file_name
    return found


def _pages(site: _Site) -> Iterator[tuple[str, str]]:
    for board in site.lists:
        path, title = site.path(board), site.title(board)
        yield site.render(
            "list",
            path,
            title if "/" in path else say("site.title"),
            board=board,
            heading=title,
            radar_chart=_radar(board, site.taxonomy),
            chosen_lines={line.name for line in board.lines[:_CHOSEN]},
            parts=_parts(board, site.taxonomy),
            notes=_shared_notes(board),
        )
    for model, slug in site.slugs.items():
        found = [
            (
                board,
                line,
                site.title(board),
                f"../{site.path(board)}",
                section_of(line.result, site.taxonomy, published=board.release is None),
            )
            for board in site.lists
            for line in board.lines
            if line.name == model
        ]
        yield site.render("model", f"models/{slug}.html", same(model), model=model, found=found)
    measured = [line.result for board in site.lists if not board.release for line in board.lines]
    yield site.render("attack", "attack.html", say("attack"), table=attack_table(measured))
    yield site.render("submit", "submit.html", say("submit"))


def _shared_notes(board: BoardList) -> list[Note]:
    """What holds for every line; what holds for one stands on the model's page."""
    first, *others = board.lines
    return [n for n in first.result.notes if all(n in line.result.notes for line in others)]


def _radar(board: BoardList, taxonomy: Taxonomy) -> Any:
    names = [ranks.dimension for ranks in board.dimensions if ranks.dimension]
    values = []
    for line in board.lines:
        groups = (line.result.dimensions.get(name) for name in names)
        known = [g.harmless_rate.value for g in groups if g and g.harmless_rate is not None]
        if len(known) == len(names):
            values.append((line.name, known))
    return radar([taxonomy.dimension(name).label for name in names], [], values)


def _parts(board: BoardList, taxonomy: Taxonomy) -> list[tuple[str, Text]]:
    """Key and label of the subcomponents that any line has."""
    known = {key for line in board.lines for key in line.result.subcomponents}
    names = subcomponent_names(taxonomy)
    return [
        (names[dimension.name, part.name], part.label)
        for dimension in taxonomy.dimensions
        for part in dimension.subcomponents
        if names[dimension.name, part.name] in known
    ]


def _downloads(site: _Site) -> dict[str, str]:
    columns = ("list", "source", "date", "rank", "rank_low", "rank_high", *ROW_COLUMNS)
    data = {"schema": 1, "lists": [_board(board, site) for board in site.lists]}
    rows = (row for board in site.lists for row in _csv(board, site))
    files = {
        "data/leaderboard.csv": to_csv(rows, columns),
        "data/leaderboard.json": json.dumps(data, allow_nan=False, indent=1) + "\n",
    }
    for board in site.lists:
        files[f"data/{board.slug}.csv"] = to_csv(_csv(board, site), columns)
        for line in board.lines:
            if line.entry is not None:
                files[_entry_file(board, line.name)] = line.entry.to_json()
    return files


def _entry_file(board: BoardList, name: str) -> str:
    names = _file_names(line.name for line in board.lines)
    return f"data/{board.slug}/{names[name]}.json"


def _csv(board: BoardList, site: _Site) -> Iterator[dict[str, Any]]:
    for line in board.lines:
        for row in line.result.rows():
            row |= {"list": site.title(board).en, "date": _date(board, line)}
            row["source"] = "published" if board.release else "measured"
            ranking = board.overall if row["level"] == "overall" else None
            if row["level"] == "dimension":
                ranking = next((r for r in board.dimensions if r.dimension == row["name"]), None)
            if ranking is not None and line.name in ranking.by_model:
                ranked = ranking.by_model[line.name]
                row |= {name: getattr(ranked, name) for name in ("rank", "rank_low", "rank_high")}
            yield row


def _board(board: BoardList, site: _Site) -> dict[str, Any]:
    return {
        "title": site.title(board).en,
        "source": "published" if board.release else "measured",
        "release": board.release,
        "scorer": board.scorer,
        "prompt_set": board.prompt_set.model_dump(),
        "ranking": board.overall.model_dump() if board.overall else None,
        "models": [
            {
                "name": line.name,
                "date": _date(board, line),
                "link": line.entry.link if line.entry else None,
                "contact": line.entry.contact if line.entry else None,
                "result": line.result.to_dict(),
            }
            for line in board.lines
        ],
    }


def _date(board: BoardList, line: ListRow) -> str | None:
    return line.entry.date if line.entry else board.release
