"""A prompt set with disguised versions of its prompts, each tied to its original."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_args

from flames.errors import UsageError
from flames.options import Opt, SeedOptions, check_choice
from flames.prompts.disguises import DISGUISES, Disguise, disguise_text, need_packages
from flames.prompts.sets import PromptSet
from flames.records import Prompt, own_id
from flames.storage.atomic import to_jsonl, write_atomic


@dataclass(frozen=True, kw_only=True)
class VaryOptions(SeedOptions):
    """Which disguises prompts are put into, or which model rewrites them, and where that goes."""

    out: Annotated[Path, Opt("Where to write, as JSON Lines.", metavar="FILE")]
    disguises: Annotated[
        tuple[str, ...] | None,
        Opt(f"Only these of {', '.join(DISGUISES)}.", metavar="A,B,…", commas=True),
    ] = None

    model: Annotated[
        str | None,
        Opt(
            "Let this model propose rewrites, for prompts accept; nothing is added to a set.",
            flag="--with",
            metavar="MODEL",
        ),
    ] = None
    techniques: Annotated[
        tuple[str, ...] | None,
        Opt("With --with: only these techniques, like role_play.", metavar="A,B,…", commas=True),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model is None and self.techniques is not None:
            raise UsageError("--techniques goes with --with MODEL")
        if self.model is not None and self.disguises is not None:
            raise UsageError("--disguises are made by rule, without --with MODEL")
        for name in self.disguises or ():
            check_choice("--disguises", name, get_args(Disguise))


@dataclass
class Varied:
    """A set and its variants; counts by disguise.

    Of the originals `written` got a variant, `unchanged` did not change, and `known` had one in
    that disguise, or with that text, in the set already.
    """

    prompts: list[Prompt]
    originals: int
    disguises: Sequence[Disguise]
    written: Counter[str] = field(default_factory=Counter)
    unchanged: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)

    def to_dict(self) -> dict[str, Any]:
        """Returns the counts as JSON data."""
        counts = {"written": self.written, "unchanged": self.unchanged, "known": self.known}
        return {
            "prompts": len(self.prompts),
            "originals": self.originals,
            "disguises": {
                disguise: {what: count[disguise] for what, count in counts.items()}
                for disguise in self.disguises
            },
        }


def vary_prompts(
    prompts: PromptSet, disguises: Sequence[Disguise] = DISGUISES, seed: int = 0
) -> Varied:
    """Returns a set with disguised versions of each prompt that is no version of another itself.

    Variants follow their original; their id is made from their text.

    Raises:
        MissingExtraError: A disguise needs the extra `probes`.
    """
    need_packages(disguises)
    ids = {own_id(prompt) for prompt in prompts.prompts}
    there = {(prompt.variant_of, prompt.disguise) for prompt in prompts.prompts}
    originals = sum(prompt.variant_of is None for prompt in prompts.prompts)
    varied = Varied([], originals, disguises)
    for prompt in prompts.prompts:
        varied.prompts.append(prompt)
        for disguise in disguises if prompt.variant_of is None else ():
            text = disguise_text(prompt.text, disguise, seed)
            variant = None if text is None else _variant(prompt, text, disguise)
            if variant is None:
                varied.unchanged[disguise] += 1
            elif (prompt.id, disguise) in there or variant.id in ids:
                varied.known[disguise] += 1
            else:
                ids.add(variant.id)
                varied.written[disguise] += 1
                varied.prompts.append(variant)
    return varied


def _variant(prompt: Prompt, text: str, disguise: Disguise) -> Prompt:
    update = {"text": text, "variant_of": prompt.id, "disguise": disguise}
    variant = prompt.model_copy(update=update)
    return variant.model_copy(update={"id": own_id(variant)})


def write_varied(prompts: PromptSet, options: VaryOptions) -> Varied:
    """Writes a set with its variants; see `vary_prompts`."""
    chosen = [name for name in DISGUISES if name in (options.disguises or DISGUISES)]
    varied = vary_prompts(prompts, chosen, options.seed)
    write_atomic(options.out, to_jsonl(prompt.to_dict() for prompt in varied.prompts))
    return varied
