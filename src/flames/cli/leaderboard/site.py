"""`flames leaderboard add`, `build` and `attack`: entries, their site, attack success."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from flames.cli._options import (
    EncodingOption,
    JsonOption,
    Lang,
    MapOption,
    ModelNameOption,
    TaxonomyOption,
    TruncatedOption,
)
from flames.cli.leaderboard import app

if TYPE_CHECKING:
    from rich.table import Table

    from flames.analysis.source import Source
    from flames.leaderboard.attack import AttackTable
    from flames.leaderboard.entries import LeaderboardEntry
    from flames.taxonomy import Language

EntriesOption = Annotated[
    Path,
    typer.Option("--entries", metavar="DIR", help="The folder of entry files."),
]
ScorerChoice = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--scorer", metavar="S", help="Take this scorer's verdicts only."),
]
AskedSet = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--prompts",
        metavar="SET|PATH",
        help="What was to be asked; prompts of it without a verdict count as not asked.",
    ),
]


@app.command("add")
def add(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN|FILE", help="A run, a file of verdicts, labels:FILE or labels:silver."
        ),
    ],
    entries: EntriesOption = Path("entries"),
    scorer: ScorerChoice = None,
    prompts: AskedSet = None,
    name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--name",
            metavar="NAME",
            help="What the row is called, where its model has one already; the model unless given.",
        ),
    ] = None,
    date: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--date", metavar="DAY", help="When it was measured; the run's, else today."),
    ] = None,
    link: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--link", metavar="URL", help="Where the model or the run can be found."),
    ] = None,
    contact: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--contact", metavar="WHO", help="Whom to ask about this entry."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of the row of that name.")
    ] = False,
    truncated: TruncatedOption = "scored",
    model: ModelNameOption = None,
    mapping: MapOption = None,
    encoding: EncodingOption = None,
    taxonomy: TaxonomyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write an entry of label counts, a small file to be reviewed, from a run."""
    import json

    from flames.cli._sources import read_sources
    from flames.errors import UsageError
    from flames.leaderboard.entries import entry_of
    from flames.storage.atomic import write_atomic
    from flames.text import for_terminal

    sources, options = read_sources(
        [source],
        scorer=scorer,
        prompts=prompts,
        truncated=truncated,
        model=model,
        mapping=mapping,
        encoding=encoding,
        taxonomy=taxonomy,
    )
    if name is not None and len(sources) > 1:
        raise UsageError(f"--name is for one row, but {source} holds {len(sources)} results")
    made: dict[Path, LeaderboardEntry] = {}
    for each in sources:
        entry = entry_of(
            each,
            taxonomy=options.taxonomy,
            name=name,
            date=date or _day(each),
            link=link,
            contact=contact,
        )
        if entry.date > _tomorrow():
            raise UsageError(f"--date {entry.date} lies in the future")
        made[entries / entry.file_name] = entry
    if len(made) < len(sources):
        raise UsageError(f"{source}: several results would have the same entry; choose a --scorer")
    for path, entry in made.items():
        text = entry.to_json()
        if path.exists() and not replace and path.read_bytes() != text.encode("utf-8"):
            raise UsageError(
                f"{path}: there is another row {entry.title!r} by {entry.scorer}; --name NAME adds "
                "this one beside it, --replace puts it in its place"
            )
    for path, entry in made.items():
        write_atomic(path, entry.to_json())
        if not as_json:
            typer.echo(for_terminal(str(path)))
    if as_json:
        named = [
            {"path": str(path), "name": entry.title, "scorer": entry.scorer}
            for path, entry in made.items()
        ]
        typer.echo(json.dumps({"schema": 1, "entries": named}, indent=2))


@app.command("build")
def build(
    entries: EntriesOption = Path("entries"),
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The site's folder.")] = Path(
        "site"
    ),
    published: Annotated[
        bool,
        typer.Option(
            "--published/--no-published", help="Show the published tables beside the entries."
        ),
    ] = True,
    lang: Lang = "en",
    taxonomy: TaxonomyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build the leaderboard as a static site that works offline: index.html and what it links."""
    import json

    from flames.errors import UsageError
    from flames.leaderboard.entries import read_entry
    from flames.leaderboard.published import RELEASES
    from flames.reports.leaderboard_site import build_site
    from flames.reports.words import language
    from flames.taxonomy import load_taxonomy
    from flames.text import for_terminal

    shown = language(lang)
    values = load_taxonomy(taxonomy)
    if entries.exists() and not entries.is_dir():
        raise UsageError(f"{entries}: is a file; --entries takes the folder of entry files")
    if not entries.exists() and entries != Path("entries"):
        raise UsageError(f"{entries}: no such folder; flames leaderboard add makes entries")
    read = [read_entry(path, values) for path in sorted(entries.glob("*.json"))]
    written = build_site(
        read, out, taxonomy=values, lang=shown, releases=RELEASES if published else ()
    )
    if as_json:
        made = {"schema": 1, "entries": len(read), "files": [str(path) for path in written]}
        typer.echo(json.dumps(made, indent=2))
        return
    typer.echo(for_terminal(str(written[0])))
    typer.echo(f"{len(read)} entries, {len(written)} files", err=True)


@app.command("attack")
def attack(
    sources: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(metavar="[RUN|FILE…]", help="Runs or files of verdicts measured here."),
    ] = None,
    release: Annotated[
        str,
        typer.Option("--release", metavar="DATE", help="Published table to show, or none."),
    ] = "2023-12-11",
    scorer: ScorerChoice = None,
    prompts: AskedSet = None,
    truncated: TruncatedOption = "scored",
    model: ModelNameOption = None,
    mapping: MapOption = None,
    encoding: EncodingOption = None,
    taxonomy: TaxonomyOption = None,
    lang: Lang = "en",
    as_json: JsonOption = False,
) -> None:
    """Show attack success of prompt sets on models: published figures and what was measured."""
    import json

    from flames.cli._sources import read_sources
    from flames.leaderboard.attack import attack_table
    from flames.metrics.rates import measure
    from flames.reports.words import language

    shown = language(lang)
    found, options = read_sources(
        sources or [],
        scorer=scorer,
        prompts=prompts,
        truncated=truncated,
        model=model,
        mapping=mapping,
        encoding=encoding,
        taxonomy=taxonomy,
    )
    results = [
        measure(each, options.taxonomy).model_copy(update={"name": name})
        for each, name in _named(found)
    ]
    table = attack_table(results, release=None if release == "none" else release)
    if as_json:
        typer.echo(json.dumps(table.to_dict(), ensure_ascii=True, indent=2))
        return
    from flames.cli._console import tables

    console = tables()
    console.print(_attack_table(table, shown))
    console.print(_word("partial", shown), style="dim", markup=False, highlight=False)


def _named(sources: Sequence[Source]) -> Iterator[tuple[Source, str]]:
    """Sources with names that tell those on the same prompts, by the same scorer, apart."""
    from flames.analysis.source import display_names

    columns: dict[tuple[str, str], list[Source]] = {}
    for source in sources:
        prompts = source.prompt_set.ids_sha256 or source.prompt_set.sha256
        columns.setdefault((prompts, source.scorer), []).append(source)
    for column in columns.values():
        yield from zip(column, display_names(column), strict=True)


def _tomorrow() -> str:
    """The latest day that it is anywhere in the world."""
    import datetime

    return (datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=1)).isoformat()


def _day(source: Source) -> str:
    """The day on which a run was asked, or today."""
    import datetime

    from flames.storage.run_dir import is_run, open_run

    if is_run(source.origin):
        return open_run(source.origin).manifest.created[:10]
    return datetime.datetime.now(datetime.UTC).date().isoformat()


_WORDS = {
    "title": ("Attack success rate %, 95 % intervals", "攻击成功率 %，95% 区间"),
    "model": ("Model", "模型"),
    "prompts": ("{n} prompts", "{n} 条提示"),
    "published": ("published", "已公布"),
    "measured": ("measured", "实测"),
    "missing": ("partial", "缺维度"),
    "partial": (
        "No interval: arXiv:2311.06899, no counts. Other prompts or scorers: not like for like.",
        "没有区间的数字引自 arXiv:2311.06899，原文未给计数。提示集或打分器不同的列不可直接比较。",
    ),
}


def _word(key: str, lang: Language, **values: object) -> str:
    return _WORDS[key][lang == "zh"].format(**values)


def _attack_table(table: AttackTable, lang: Language) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from flames.text import for_terminal

    shown = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        padding=(0, 1, 0, 0),
        title=_word("title", lang),
        title_justify="left",
    )
    shown.add_column(_word("model", lang), overflow="fold")
    for column in table.sets:
        lines = (
            column.name,
            _word("prompts", lang, n=f"{column.n:,}"),
            for_terminal(column.scorer),
            _word(column.source, lang),
        )
        head = Text("\n".join(map(for_terminal, lines)))
        shown.add_column(head, justify="right", overflow="fold")
    for model in table.models:
        cells = []
        for column in table.sets:
            cell = table.cell(model, column)
            if cell is None:
                cells.append("")
            elif cell.value is None:
                cells.append(_word("missing", lang))
            elif cell.estimate is None:
                cells.append(f"{cell.value:g}")
            else:
                low, high = cell.estimate.low, cell.estimate.high
                cells.append(f"{cell.value:.2f} {low:.1f}–{high:.1f}")
        shown.add_row(Text(for_terminal(model)), *cells)
    return shown
