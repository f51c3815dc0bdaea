"""`flames prompts try`, `vary`, `accept`: prompts while they are written, and in other words."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import typer

from flames.cli._console import JsonOptions, present
from flames.cli._console import say as tell
from flames.cli.prompts import SetArgument, load_set
from flames.collect.settings import AskSettings
from flames.errors import UsageError
from flames.models.base import Sampling
from flames.models.load import ModelOptions, load_model
from flames.options import LangOptions
from flames.pipeline.accepting import AcceptOptions, Choice, accept_by, accept_ids
from flames.pipeline.proposals import TECHNIQUES, Proposal, Proposed, propose
from flames.pipeline.trying import Answer, Tried, TryOptions, try_prompt
from flames.prompts.vary import Varied, VaryOptions, write_varied
from flames.records import Verdict
from flames.reports.tables import Block, Cell, Table, line
from flames.reports.words import join, listed, name_of, say
from flames.storage.record_files import FileOptions
from flames.taxonomy import Language, Text


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
    reach: ModelOptions,
    sampling: Sampling,
    settings: AskSettings,
    language: LangOptions,
    output: JsonOptions,
) -> None:
    """Write a set with disguised versions of its prompts, each tied to its original.

    With --with MODEL, write rewrites by technique that the model proposes, for `prompts accept`.
    The same command goes on where it stopped.
    """
    found = load_set(prompts, files)[1]
    if options.model is None:
        varied = write_varied(found, options)
        data = {**varied.to_dict(), "path": str(options.out)}
        present(output, data, _varied_blocks(varied, str(options.out)), language.lang)
        return
    proposed = propose(
        found,
        load_model(options.model, replace(reach, say=tell)),
        options.out,
        techniques=options.techniques or tuple(TECHNIQUES),
        sampling=sampling,
        settings=settings,
    )
    present(output, proposed.to_dict(), _proposed_blocks(proposed), language.lang)
    proposed.check()


def _proposed_blocks(proposed: Proposed) -> Iterator[Block]:
    counts = {**proposed.states, **({"error": proposed.errors.total()} if proposed.errors else {})}
    named = (join(name_of("proposal", name), f" {n:,}") for name, n in counts.items())
    words = {"wanted": f"{proposed.wanted:,}", "counts": listed(named)}
    yield line(say("propose.counts", path=str(proposed.path), **words))
    if proposed.left_out:
        yield line(say("propose.left_out", n=f"{proposed.left_out:,}"), kind="note")


def accept(options: AcceptOptions, language: LangOptions, output: JsonOptions) -> None:
    """Accept proposed rewrites into a set: yes, no, edit, skip or quit for each of them.

    What was decided stays decided, so that the same command goes on. --ids accepts by id.
    """
    if options.ids is not None:
        done = accept_ids(options)
    elif sys.stdin.isatty():
        done = accept_by(options, partial(_choose, lang=language.lang), _edit, tell)
    else:
        raise UsageError("nobody can be asked here: name the proposals with --ids")
    words = {"accepted": len(done.accepted), "rejected": len(done.rejected), "open": done.open}
    counts = line(say("accept.counts", path=str(done.into), **words))
    present(output, done.to_dict(), [counts], language.lang)
    if done.refused and options.ids is None:
        raise typer.Exit(1)


_CHOICES: dict[str, Choice] = {"y": "yes", "n": "no", "e": "edit", "s": "skip", "q": "quit"}


def _choose(proposal: Proposal, left: int, lang: Language) -> Choice:
    prompt = proposal.prompt
    labels = (prompt.dimension, prompt.subcomponent, name_of("technique", prompt.technique or ""))
    shown = " · ".join(each(lang) if isinstance(each, Text) else each for each in labels if each)
    tell(f"\n{prompt.id}  {shown}  ({left})")
    tell(f"  - {proposal.original}")
    tell(f"  + {prompt.text}")
    while True:
        said = typer.prompt(say("accept.ask")(lang), prompt_suffix=" ", err=True)
        if (choice := _CHOICES.get(said.strip().lower()[:1])) is not None:
            return choice


def _edit(text: str) -> str | None:
    """Opens a text in the user's editor; None where it ended in an error."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory(prefix="flames-") as folder:
        file = Path(folder) / "prompt.txt"
        file.write_text(text + "\n", encoding="utf-8")
        try:
            done = subprocess.run([*shlex.split(editor), str(file)], check=False)  # noqa: S603
        except (OSError, ValueError) as error:
            tell(f"{editor}: {error}")
            return None
        return file.read_text("utf-8") if done.returncode == 0 else None


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
