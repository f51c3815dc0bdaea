"""`flames annotate init`, `status`, `agreement`, `verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from flames.cli._options import (
    EncodingOption,
    JsonOption,
    Lang,
    MapOption,
    ModelNameOption,
    SeedOption,
    TaxonomyOption,
)
from flames.cli.annotate._shared import ProjectArgument, UrlOption

if TYPE_CHECKING:
    from flames.annotation import Created
    from flames.metrics.agreement import GroupAgreement


def init(
    project: ProjectArgument,
    sources: Annotated[
        list[str],
        typer.Option(
            "--from",
            metavar="RUN|FILE",
            help="Responses to label: a run, a file, or labels:silver (bundled, simulated); "
            "give it again for more.",
        ),
    ],
    per_item: Annotated[
        int, typer.Option("--per-item", metavar="N", min=1, help="Labels each response gets.")
    ] = 2,
    sample: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--sample", metavar="N", min=1, help="Responses to draw; all unless given."),
    ] = None,
    stratify: Annotated[
        str,
        typer.Option(
            "--stratify",
            metavar="FIELD,…",
            help="Draw equally many from each: dimension, subcomponent, technique, model, "
            "sample, status.",
        ),
    ] = "dimension",
    annotators: Annotated[
        str, typer.Option("--annotators", metavar="N|NAMES", help="How many, or their names.")
    ] = "2",
    adjudicators: Annotated[
        str, typer.Option("--adjudicators", metavar="N|NAMES", help="How many, or their names.")
    ] = "1",
    lead: Annotated[str, typer.Option("--lead", metavar="NAME", help="Who leads.")] = "lead",
    training: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--training",
            metavar="FILE",
            help="Items with known answers for a training round instead of the bundled ones; "
            "none for no training.",
        ),
    ] = None,
    controls: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--controls",
            metavar="FILE",
            help="Items with known answers, mixed unseen into everybody's queue.",
        ),
    ] = None,
    control_rate: Annotated[
        float, typer.Option("--control-rate", metavar="SHARE", help="Share of controls.")
    ] = 0.1,
    lease_minutes: Annotated[
        float,
        typer.Option(
            "--lease-minutes", metavar="N", help="An item unanswered for so long goes to others."
        ),
    ] = 30,
    database: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--database",
            metavar="URL",
            help="postgresql://USER@HOST/NAME for a team; a SQLite file in the project unless "
            "given. The password belongs in PGPASSWORD or FLAMES_ANNOTATE_DATABASE.",
        ),
    ] = None,
    name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--name", help="What people see; the folder's name unless given."),
    ] = None,
    url: UrlOption = None,
    lang: Lang = "zh",
    seed: SeedOption = 0,
    model: ModelNameOption = None,
    mapping: MapOption = None,
    encoding: EncodingOption = None,
    taxonomy: TaxonomyOption = None,
    json: JsonOption = False,
) -> None:
    """Draw responses for labelling and make personal links for the people who do it."""
    from flames.annotation import ProjectPlan, create_project
    from flames.cli.annotate._shared import public
    from flames.reports.words import language
    from flames.storage.record_files import ReadOptions
    from flames.storage.rows import parse_mapping
    from flames.taxonomy import load_taxonomy

    plan = ProjectPlan(
        sources=sources,
        name=name,
        database=database,
        public_url=public(url),
        per_item=per_item,
        sample=sample,
        stratify=tuple(part.strip() for part in stratify.split(",") if part.strip()),
        seed=seed,
        training=None if training is None else [Path(f) for f in training if f != "none"],
        controls=[Path(file) for file in controls or ()],
        control_rate=control_rate,
        lease_minutes=lease_minutes,
        lang=language(lang),
        annotators=_names(annotators, "annotator"),
        adjudicators=_names(adjudicators, "adjudicator"),
        leads=(lead,),
        options=ReadOptions(
            taxonomy=load_taxonomy(taxonomy),
            mapping=parse_mapping(mapping),
            encoding=encoding,
            model=model,
        ),
    )
    created = create_project(project, plan)
    try:
        _tell(created, project, json)
    finally:
        created.project.close()


def _names(text: str, role: str) -> tuple[str, ...]:
    """`3` as annotator-1 … annotator-3; `Ann, Bob` and `张三、李四` as they are."""
    import re

    text = text.strip()
    if text.isdecimal():
        return tuple(f"{role}-{number}" for number in range(1, int(text) + 1))
    return tuple(part.strip() for part in re.split("[,，、]", text) if part.strip())


def _tell(created: Created, path: Path, json: bool) -> None:
    from rich.cells import cell_len

    from flames.cli.annotate._shared import personal_link, say
    from flames.records import dump_line
    from flames.text import for_terminal

    settings = created.project.settings
    links = {
        name: personal_link(created.project, None, token) for name, token in created.links.items()
    }
    drawn = settings.sample or settings.population
    if json:
        line = {"project": str(path), "items": drawn, "population": settings.population,
                "without_text": settings.without_text,
                "repeated_controls": created.repeated_controls, "links": links}  # fmt: skip
        typer.echo(dump_line(line))
        return
    say(
        f"{drawn} of {settings.population} responses drawn, {settings.per_item} labels each"
        + (f"; {settings.without_text} without text left out" if settings.without_text else "")
        + (
            f"; {created.repeated_controls} controls left out: they are in the sample"
            if created.repeated_controls
            else ""
        )
    )
    say("Personal links (shown this once; `flames annotate user link` makes new ones):")
    width = max(map(cell_len, links))
    for person, link in links.items():
        typer.echo(f"{for_terminal(person)}{' ' * (width - cell_len(person))}  {link}")
    say(f"Next: flames annotate serve {path}")


def status(project: ProjectArgument, json: JsonOption = False) -> None:
    """Show progress, people and their answers to control items."""
    from flames.annotation import project_status
    from flames.cli.annotate._shared import estimate, opened, safe, show, table

    with opened(project) as found:
        state = project_status(found)
    if json:
        typer.echo(state.model_dump_json())
        return
    main = table(state.name, "", "#")
    for label, number in (
        ("items", state.items), ("labels wanted", state.places), ("labels given", state.filled),
        ("unanimous", state.unanimous), ("adjudicated", state.adjudicated),
        ("to adjudicate", state.disputed), ("still open", state.open),
        ("flags", state.flags), ("skips", state.skips),
    ):  # fmt: skip
        main.add_row(label, str(number))
    people = table(
        "People (median seconds an answer; per cent of control items right)",
        "name", "role", "#labels", "#flags", "#skips", "#open", "#s", "#right", "#training", "last",
    )  # fmt: skip
    for each in state.people:
        people.add_row(
            safe(each.name),
            each.role if each.active else f"{each.role}, stopped",
            str(each.labels or each.decisions),
            str(each.flags),
            str(each.skips),
            str(each.in_hand),
            "–" if each.median_seconds is None else f"{each.median_seconds:.1f}",
            estimate(each.controls.accuracy, 0) if each.controls.n else "–",
            f"{each.training.right}/{each.training.n}" if each.training.n else "–",
            (each.last or "–")[:16].replace("T", " "),
        )
    show(main, people)


def agreement(
    project: ProjectArgument,
    until: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--until", metavar="EVENT|TIME", help="Labels up to an event or a time."),
    ] = None,
    resamples: Annotated[
        int, typer.Option("--resamples", metavar="N", min=100, help="Of the bootstrap.")
    ] = 2_000,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Show agreement: alpha, kappa, per cent; by dimension, subcomponent, pair and person."""
    from flames.annotation import project_agreement
    from flames.cli.annotate._shared import estimate, opened, safe, show, table

    with opened(project) as found:
        seen = project_agreement(found, until, resamples=resamples, seed=seed)
    if json:
        typer.echo(seen.model_dump_json())
        return
    groups = table("Agreement", "group", "#items", "#per cent", "#alpha nominal", "#alpha ordinal")

    def add(name: str, group: GroupAgreement) -> None:
        groups.add_row(
            safe(name), str(group.pairable), estimate(group.percent, 1),
            estimate(group.alpha_nominal), estimate(group.alpha_ordinal),
        )  # fmt: skip

    add("all", seen.agreement.overall)
    for name, group in seen.agreement.dimensions.items():
        add(name, group)
    for name, group in seen.subcomponents.items():
        add(f"  {name}", group)
    pairs = table("Pairs", "", "", "#items", "#per cent", "#kappa", "#kappa quadratic")
    for pair in seen.agreement.overall.pairs:
        pairs.add_row(
            safe(pair.first), safe(pair.second), str(pair.n), estimate(pair.percent, 1),
            estimate(pair.kappa), estimate(pair.kappa_quadratic),
        )  # fmt: skip
    raters = table("People", "name", "#items", "#agree with others %", "#bias (above 0: milder)")
    for rater in seen.agreement.overall.raters:
        raters.add_row(
            safe(rater.rater), str(rater.n), estimate(rater.percent, 1), estimate(rater.bias)
        )
    show(groups, pairs, raters)


def verify(project: ProjectArgument, json: JsonOption = False) -> None:
    """Check the store: the chain of events, and everything that is derived from it."""
    from flames.annotation import verify as check
    from flames.cli.annotate._shared import opened, say
    from flames.errors import CheckFailed

    with opened(project) as found:
        result = check(found)
    if json:
        typer.echo(result.model_dump_json())
    else:
        typer.echo(
            f"{result.events} events, {result.items} items, {result.labels} labels, "
            f"{result.decisions} decisions; last event {result.last}, hash {result.hash}"
        )
        for problem in result.problems:
            say(problem)
    if result.problems:
        raise CheckFailed(f"{project}: the store is not sound: {len(result.problems)} problems")
