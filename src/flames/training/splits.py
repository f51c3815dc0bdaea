"""Splits of labels into training, validation and test parts: by model, by prompt, or by both."""

from __future__ import annotations

import difflib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from flames.errors import UsageError
from flames.options import Opt, SeedOptions
from flames.records import seeded_order
from flames.scorers.label_rows import Labelled
from flames.scorers.labelled import LabelledSet
from flames.taxonomy import Taxonomy
from flames.text import shorten

By = Literal["model", "prompt", "both", "each"]
Part = Literal["training", "validation", "test", "left out"]
PARTS: tuple[Part, ...] = ("training", "validation", "test")
LEFT_OUT: Part = "left out"


@dataclass(frozen=True)
class SplitOptions(SeedOptions):
    """Options for splitting labels into a training, a validation and a test part."""

    by: Annotated[
        By,
        Opt(
            "What is held back: model (the models named), prompt (a share of the prompts), both "
            "(held-back models' responses to held-back prompts; train on the other models' "
            "responses to the other prompts), or each (with --frozen: train on all rows and score "
            "each row with heads that were solved without its model and prompt).",
            flag="--split",
        ),
    ] = "model"
    test_models: Annotated[
        tuple[str, ...], Opt("Models held back for the test part.", metavar="A,B", commas=True)
    ] = ()
    val_models: Annotated[
        tuple[str, ...],
        Opt("Models held back to choose the best checkpoint.", metavar="A,B", commas=True),
    ] = ()
    test_share: Annotated[
        float, Opt("Share of test prompts, with --split prompt or both.", min=0, max=1)
    ] = 0.1
    val_share: Annotated[
        float, Opt("Share of validation prompts, with --split prompt or both.", min=0, max=1)
    ] = 0.1
    drop_leaks: Annotated[
        bool, Opt("Drop training pairs that also occur in a held-back part, or stop.")
    ] = False


@dataclass(frozen=True)
class Split:
    """The parts of a split; `each`: every row is also scored by heads solved without it."""

    training: LabelledSet
    validation: LabelledSet
    test: LabelledSet
    unused: int = 0
    each: bool = False

    def parts(self) -> Mapping[str, LabelledSet]:
        """Returns the parts that have rows, by name."""
        parts = {"training": self.training, "validation": self.validation, "test": self.test}
        if self.each:
            parts[LEFT_OUT] = self.training
        return {name: part for name, part in parts.items() if part.rows}


def split(labelled: LabelledSet, options: SplitOptions, taxonomy: Taxonomy) -> Split:
    """Splits labelled responses into parts that have rows of every dimension, or none."""
    _check(labelled, options)
    of_model: dict[str, Part] = dict.fromkeys(labelled.models, "training")
    of_model.update(dict.fromkeys(options.val_models, "validation"))
    of_model.update(dict.fromkeys(options.test_models, "test"))
    of_prompt = _parts_of_prompts(labelled.rows, options)
    rows: dict[Part | None, list[Labelled]] = defaultdict(list)
    for row in labelled.rows:
        model, prompt = of_model.get(row.key.model), of_prompt.get(row.key.prompt_id)
        if options.by == "each":
            rows["training"].append(row)
        elif options.by == "both":
            rows[model if model == prompt else None].append(row)
        else:
            rows[model if options.by == "model" else prompt].append(row)
    training, validation, test = (labelled.of(rows[name]) for name in PARTS)
    each = options.by == "each"
    made = Split(training, validation, test, unused=len(rows[None]), each=each)
    for name, share in zip(PARTS[1:], (options.val_share, options.test_share), strict=True):
        if options.by == "prompt" and share and not rows[name]:
            raise UsageError(f"a {name} share of {share:g} holds back no prompt; raise it")
    for name in PARTS:
        check_dimensions(name, rows[name], taxonomy)
    return made


def _check(labelled: LabelledSet, options: SplitOptions) -> None:
    named = (*options.test_models, *options.val_models)
    for model in named:
        if model not in labelled.models:
            close = difflib.get_close_matches(model, labelled.models, n=1)
            there = ", ".join(map(shorten, labelled.models[:12]))
            hint = f"did you mean {close[0]!r}?" if close else f"the models are: {there}"
            raise UsageError(f"no labels of the model {model!r}; {hint}")
    if doubled := set(options.test_models) & set(options.val_models):
        raise UsageError(f"{min(doubled)!r} is both a test and a validation model; remove one")
    if options.by in ("model", "both") and not named:
        raise UsageError(
            "no models are held back; name them with --test-models A,B --val-models C, or hold "
            "back prompts with --split prompt"
        )
    if options.by == "prompt" and named:
        raise UsageError("--split prompt holds back no models; use --split both to hold back both")
    if options.by == "each" and (named or len(labelled.models) < 2):
        raise UsageError(
            "--split each leaves out one model after the other: it needs labels of two or more "
            "models, and no --test-models or --val-models"
        )
    shares = options.test_share, options.val_share
    if options.by in ("prompt", "both") and not (min(shares) >= 0 < sum(shares) < 1):
        raise UsageError(
            "the shares of test and validation prompts must add up to less than 1 and more than 0"
        )


def _parts_of_prompts(rows: Sequence[Labelled], options: SplitOptions) -> dict[str, Part]:
    """The part of each prompt, drawn by its id within its dimension and subcomponent."""
    groups: dict[tuple[str, str], set[str]] = defaultdict(set)
    placed: dict[str, tuple[str, str]] = {}
    for row in rows:
        group = row.dimension, row.response.subcomponent or ""
        groups[placed.setdefault(row.key.prompt_id, group)].add(row.key.prompt_id)
    parts: dict[str, Part] = {}
    for prompts in groups.values():
        drawn = sorted(prompts, key=seeded_order(options.seed))
        tests = round(options.test_share * len(drawn))
        validations = round(options.val_share * len(drawn))
        for position, name in enumerate(drawn):
            kept = position >= tests + validations
            parts[name] = "training" if kept else "test" if position < tests else "validation"
    return parts


def check_dimensions(name: str, rows: Sequence[Labelled], taxonomy: Taxonomy) -> None:
    """Checks that a part has rows of every dimension, if it has any; the training part must."""
    if not rows:
        if name == "training":
            raise UsageError("nothing is left to train on: every row is held back; hold back fewer")
        return
    counts = Counter(row.dimension for row in rows)
    missing = [each for each in taxonomy.names if not counts[each]]
    if missing:
        raise UsageError(
            f"the {name} part has no rows of {', '.join(missing)}; split differently, or use a "
            "taxonomy without it"
        )
