"""`flames prompts try`, `vary`: prompts while they are written, and prompts in other words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from flames.cli._console import JsonOptions, present
from flames.cli._console import say as tell
from flames.cli.prompts import SetArgument, load_set
from flames.collect.settings import AskSettings
from flames.models.base import Sampling
from flames.models.load import ModelOptions
from flames.options import LangOptions
from flames.pipeline.trying import Answer, Tried, TryOptions, try_prompt
from flames.prompts.vary import Varied, VaryOptions, write_varied
from flames.records import Verdict
from flames.reports.tables import Block, Cell, Table, line
from flames.reports.words import join, name_of, say
from flames.storage.record_files import FileOptions
from flames.taxonomy import Text


def try_(
    options: TryOptions,
    reach: ModelOptions,
    sampling: Sampling,
    settings: AskSettings,
    language: LangOptions,
    output: JsonOptions,
) -> None:
    """Try a prompt on several models at once: answers and scores side by side.

    --add FILE keeps the prompt in a set, unless the set has one that is nearly the same.
    """
    reach = replace(reach, say=tell)
    tried = try_prompt(options, reach=reach, sampling=sampling, settings=settings)
    present(output, tried.to_dict(), _tried_blocks(tried), language.lang)
    tried.check()


def _tried_blocks(tried: Tried) -> Iterator[Block]:
    header: list[Text | str] = [say("model"), say("try.answer"), *tried.scorers]
    rows: list[tuple[Cell, ...]] = [
        (each.model, _said(each), *(_score(each.verdicts.get(name)) for name in tried.scorers))
        for each in tried.answers
    ]
    yield Table.of_cells(tried.prompt.text, header, rows, text=len(header))
    if tried.added is not None:
        yield line(say("try.added", id=tried.prompt.id, path=str(tried.added)))


def _said(answer: Answer) -> Text | str:
    found = answer.response
    if found is None:
        return join(name_of("reason", "not asked"), ": ", answer.why or "")
    if found.scorable:
        return found.response or ""
    why = answer.why or found.error
    reason = name_of("reason", "empty" if found.status == "ok" else found.status)
    return join(reason, f": {why}" if why else "")


def _score(verdict: Verdict | None) -> Text | str | None:
    if verdict is None:
        return None
    if verdict.score is None:
        return name_of("reason", verdict.unscored or "no score")
    chance = (verdict.probabilities or {}).get(str(verdict.score))
    sure = "" if chance is None else f" ({chance:.2f})"
    stance = join(" · ", name_of("stance", verdict.stance)) if verdict.stance else ""
    return join(f"{verdict.score}{sure}", stance)


def vary(
    prompts: SetArgument,
    files: FileOptions,
    options: VaryOptions,
    language: LangOptions,
    output: JsonOptions,
) -> None:
    """Write a set with disguised versions of its prompts, each tied to its original."""
    varied = write_varied(load_set(prompts, files)[1], options)
    data = {**varied.to_dict(), "path": str(options.out)}
    present(output, data, _varied_blocks(varied, str(options.out)), language.lang)


def _varied_blocks(varied: Varied, path: str) -> Iterator[Block]:
    counts = varied.to_dict()["disguises"]
    rows: list[tuple[Cell, ...]] = [
        (name_of("disguise", name), own["written"], own["unchanged"], own["known"])
        for name, own in counts.items()
    ]
    header = (say("disguise"), say("vary.written"), say("vary.unchanged"), say("vary.known"))
    yield Table.of_cells("", header, rows)
    n = len(varied.prompts)
    yield line(say("vary.set", path=path, n=f"{n:,}", originals=f"{varied.originals:,}"))
