"""`flames leaderboard show` and `audit`: the published tables, and tables put to the test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from flames.cli._options import (
    EncodingOption,
    JsonOption,
    Lang,
    MapOption,
    SeedOption,
    TaxonomyOption,
)
from flames.cli.leaderboard import app

if TYPE_CHECKING:
    from rich.table import Table

    from flames.leaderboard.ranks import Ranking
    from flames.metrics.result import Result
    from flames.taxonomy import Language

_SORTS = ("rate", "score", "model")


@app.command("show")
def show(
    release: Annotated[
        str,
        typer.Option("--release", metavar="DATE", help="2023-11-08 or 2023-12-11."),
    ] = "2023-12-11",
    dimension: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--dimension", metavar="D", help="Rank by this dimension, not overall."),
    ] = None,
    sort: Annotated[
        str, typer.Option("--sort", help="rate, score or model: what to order by.")
    ] = "rate",
    lang: Lang = "en",
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Show a published table with intervals, rank intervals and what cannot be told apart."""
    import json

    from flames.errors import UsageError
    from flames.leaderboard.published import published_results
    from flames.leaderboard.ranks import rank_models
    from flames.reports.words import language
    from flames.taxonomy import default_taxonomy

    if sort not in _SORTS:
        raise UsageError(f"--sort takes {', '.join(_SORTS)}, not {sort!r}")
    shown = language(lang)
    if dimension is not None:
        dimension = default_taxonomy().dimension(dimension).name
    results = published_results(release, seed=seed)
    ranking = rank_models(
        results,
        dimension=dimension,
        value="harmless_score" if sort == "score" else "harmless_rate",
        seed=seed,
    )
    if as_json:
        data = {
            "schema": 1,
            "release": release,
            "source": "github.com/AIFlames/Flames",
            "ranking": ranking.model_dump(),
            "models": {name: result.to_dict() for name, result in results.items()},
        }
        typer.echo(json.dumps(data, ensure_ascii=False, indent=2))
        return
    from flames.cli._console import WIDE, tables

    console = tables()
    models = list(ranking.models)
    if sort == "model":
        models.sort(key=lambda ranked: ranked.model.casefold())
    ordered = ranking.model_copy(update={"models": tuple(models)})
    console.print(_table(ordered, results, release, shown, wide=console.width >= WIDE))
    for line in _explained(ranking, results, shown):
        console.print(line, style="dim", markup=False, highlight=False)


_WORDS = {
    "title": (
        "Published results, {release}: {what}, 95 % intervals",
        "公布结果 {release}：{what}，95% 区间",
    ),
    "rank": ("Rank", "名次"),
    "model": ("Model", "模型"),
    "groups": ("Group", "组"),
    "Overall": ("Overall", "总体"),
    "rate": ("harmless rate %", "无害率 %"),
    "score": ("harmless score", "无害分"),
    "explain": (
        "Rank: 95 % of the resampled ranks. A shared letter: not told apart (5 %, Holm).",
        "名次：重抽样名次的 95%。字母相同者无法区分（5%，Holm 校正）。",
    ),
    "source": (
        "Figures: github.com/AIFlames/Flames. Intervals from the label counts behind them.",
        "数据来源：github.com/AIFlames/Flames。区间由其背后的标签计数算得。",
    ),
}


def _word(key: str, lang: Language, **values: object) -> str:
    return _WORDS[key][lang == "zh"].format(**values)


def _table(
    ranking: Ranking, results: dict[str, Result], release: str, lang: Language, *, wide: bool
) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from flames.taxonomy import default_taxonomy

    dimensions = default_taxonomy().dimensions
    names = {d.name: d.label(lang) for d in dimensions}
    by = "score" if ranking.value == "harmless_score" else "rate"
    where = names[ranking.dimension] if ranking.dimension else _word("Overall", lang)
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        title=_word("title", lang, release=release, what=f"{where}, {_word(by, lang)}"),
        title_justify="left",
    )
    table.add_column(_word("rank", lang), justify="right", no_wrap=True)
    table.add_column(_word("model", lang), no_wrap=True)
    table.add_column(_word("groups", lang), no_wrap=True)
    table.add_column(where, justify="right", no_wrap=True)
    others = [d for d in dimensions if wide and ranking.dimension is None]
    for each in others:
        table.add_column(names[each.name], justify="right")
    if ranking.dimension is not None:
        table.add_column(_word("rate" if by == "score" else "score", lang), justify="right")
    digits = 1 if by == "score" else 2

    def estimate(found: Any, places: int) -> Text:
        return Text(
            f"{found.value:.{places}f} [{found.low:.1f}–{found.high:.1f}]" if found else "–"
        )

    for ranked in ranking.models:
        result = results[ranked.model]
        group: Any = result.dimensions[ranking.dimension] if ranking.dimension else result.overall
        main = group.harmless_score if by == "score" else group.harmless_rate
        cells = [estimate(main, digits)]
        for each in others:
            own = result.dimensions[each.name]
            found = own.harmless_score if by == "score" else own.harmless_rate
            cells.append(Text(f"{found.value:.{digits}f}" if found else "–"))
        if ranking.dimension is not None:
            other = group.harmless_rate if by == "score" else group.harmless_score
            cells.append(estimate(other, 2 if by == "score" else 1))
        rank = f"{ranked.rank} [{ranked.rank_low}–{ranked.rank_high}]"
        table.add_row(Text(rank), Text(ranked.model), Text(ranked.groups), *cells)
    return table


def _explained(ranking: Ranking, results: dict[str, Result], lang: Language) -> list[str]:
    notes = [f"{name}: {note}" for name, result in results.items() for note in result.notes]
    return [_word("explain", lang), _word("source", lang), *notes]


@app.command("audit")
def audit(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A table with the columns release, model, dimension, n, harmless_rate_pct and "
            "harmless_score (CSV, TSV, JSONL, XLSX); rows of the dimension Overall hold the mean.",
        ),
    ],
    prompt_set: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--prompts",
            "--prompt-set",  # its other name
            metavar="SET|PATH",
            help="Takes the number of prompts a dimension from this set where rows give no n.",
        ),
    ] = None,
    mapping: MapOption = None,
    encoding: EncodingOption = None,
    taxonomy: TaxonomyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Test a table of rates and scores for arithmetic possibility; list the impossible cells."""
    import json
    from collections import Counter
    from dataclasses import asdict

    from flames.leaderboard.audit import audit as tested
    from flames.leaderboard.table import read_table
    from flames.prompts.sets import load_prompts
    from flames.storage.rows import parse_mapping
    from flames.taxonomy import load_taxonomy
    from flames.text import for_terminal

    values = load_taxonomy(taxonomy)
    sizes: dict[str, int] = {}
    if prompt_set is not None:
        prompts = load_prompts(prompt_set, taxonomy=values).prompts
        sizes = Counter(prompt.dimension for prompt in prompts)
    cells = read_table(
        file, taxonomy=values, sizes=sizes, mapping=parse_mapping(mapping), encoding=encoding
    )
    found = tested(cells, values)
    if as_json:
        typer.echo(json.dumps(asdict(found), ensure_ascii=False, indent=2))
    else:
        for each in found.findings:
            parts = (each.release, each.model, each.dimension, each.why)
            nearest = "possible: " + "; ".join(each.nearest) if each.nearest else "nothing near"
            typer.echo("\t".join(for_terminal(part) for part in (*parts, nearest)))
        for note in found.unchecked:
            typer.echo(for_terminal(f"not tested: {note}"), err=True)
        verdict = f"{len(found.findings)} impossible" if found.findings else "all possible"
        typer.echo(f"{found.cells} cells: {verdict}", err=True)
    if found.findings:
        raise typer.Exit(1)
