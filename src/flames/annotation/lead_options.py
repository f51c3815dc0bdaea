"""What leads can set on the way. Needs no extra to be imported."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from flames.annotation.options import STRATA
from flames.errors import UsageError
from flames.options import CheckedOptions, Opt, check_choice
from flames.storage.record_files import ReadOptions


@dataclass(frozen=True)
class LeadOptions(CheckedOptions):
    """Which lead decides."""

    person: Annotated[
        str | None,
        Opt("Lead who decides; by default the only one.", flag="--as", metavar="NAME"),
    ] = None


@dataclass(frozen=True)
class VoidOptions(LeadOptions):
    """Which labels of a person a lead takes out, or brings back; all of them unless narrowed."""

    reason: Annotated[str | None, Opt("Why; required.", metavar="TEXT")] = None
    items: Annotated[
        tuple[str, ...],
        Opt("Only labels on these items, as exports name them.", flag="--item", metavar="ITEM,…",
            commas=True),
    ] = ()  # fmt: skip
    since: Annotated[
        str | None, Opt("Only labels from an event (its number) or a time (UTC) on.",
                        metavar="EVENT|TIME")
    ] = None  # fmt: skip
    until: Annotated[
        str | None, Opt("Only labels up to an event or a time.", metavar="EVENT|TIME")
    ] = None
    under_floor: Annotated[
        bool, Opt("Only labels that are marked as given sooner than --min-seconds.")
    ] = False
    undo: Annotated[bool, Opt("Bring voided labels back instead.")] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.reason or "").strip():
            raise UsageError("voiding labels and bringing them back needs a reason: --reason TEXT")


@dataclass(frozen=True)
class GuidelineOptions(LeadOptions):
    """A new version of the guideline; empty to show a present one."""

    zh: Annotated[
        Path | None, Opt("Publish this Markdown file as the Chinese text.", metavar="FILE")
    ] = None
    en: Annotated[
        Path | None, Opt("Publish this Markdown file as the English text.", metavar="FILE")
    ] = None
    version: Annotated[
        int | None, Opt("Show this version; the newest by default.", metavar="N", min=1)
    ] = None
    restore: Annotated[
        int | None, Opt("Publish an old version again, as a new one.", metavar="N", min=1)
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        published = self.zh is not None or self.en is not None
        if published + (self.version is not None) + (self.restore is not None) > 1:
            raise UsageError("give a text (--zh, --en), --version or --restore, one of them")


@dataclass(frozen=True)
class BatchOptions(LeadOptions):
    """Which items a batch gets, and who gets the batch."""

    people: Annotated[
        tuple[str, ...],
        Opt("Who gets the batch, and nobody else.", flag="--to", metavar="NAME,…", commas=True),
    ] = ()
    items: Annotated[
        tuple[str, ...],
        Opt("These items, as exports name them.", flag="--item", metavar="ITEM,…", commas=True),
    ] = ()
    dimension: Annotated[
        str | None, Opt("Items of this dimension that lack labels.", metavar="NAME")
    ] = None
    count: Annotated[int | None, Opt("Number of items that lack labels.", metavar="N", min=1)] = (
        None
    )
    free: Annotated[bool, Opt("Give the batch's items to everybody again.")] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.free and (self.people or self.items or self.dimension or self.count):
            raise UsageError("--free gives all items of a batch back; it takes no choice")


@dataclass(frozen=True)
class QuotaOptions(LeadOptions):
    """How many labels a person is to give."""

    labels: Annotated[
        int | None, Opt("Labels at most; without it, no limit.", metavar="N", min=0)
    ] = None


@dataclass(frozen=True)
class CommentOptions:
    """A comment on an item; empty to list the comments."""

    person: Annotated[
        str | None, Opt("Annotator or lead who comments.", flag="--as", metavar="NAME")
    ] = None
    item: Annotated[str | None, Opt("The item, as exports name it.", metavar="ITEM")] = None
    text: Annotated[str | None, Opt("The comment.", metavar="TEXT")] = None
    to: Annotated[
        str | None, Opt("Annotator whom a lead answers; by default only leads read it.",
                        metavar="NAME")
    ] = None  # fmt: skip
    withdraw: Annotated[
        int | None, Opt("Take back the comment with this number.", metavar="N", min=1)
    ] = None

    def __post_init__(self) -> None:
        if self.withdraw is not None:
            if self.person is None or self.text is not None or self.to is not None:
                raise UsageError("--withdraw needs --as, and no --text or --to")
        elif self.text is not None and (self.person is None or self.item is None):
            raise UsageError("a comment needs --as, --item and --text")
        elif self.text is None and (self.to is not None or self.person is not None):
            raise UsageError("a comment needs --text")


@dataclass(frozen=True)
class RuleOptions(LeadOptions):
    """What holds for everybody; empty to show it."""

    flag_reason: Annotated[Literal["on", "off"] | None, Opt("Whether a flag needs a reason.")] = (
        None
    )
    suggest: Annotated[
        Path | None,
        Opt("Show annotators the scores of this file of verdicts; this biases them.",
            metavar="FILE"),
    ] = None  # fmt: skip
    no_suggest: Annotated[bool, Opt("Show no scorer's scores any more.")] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.suggest is not None and self.no_suggest:
            raise UsageError("--suggest and --no-suggest exclude each other")


@dataclass(frozen=True)
class AddOptions(LeadOptions):
    """Which responses are added to a project."""

    sources: Annotated[
        tuple[str, ...],
        Opt("Responses: a run or a file; may be repeated.", flag="--from", metavar="RUN|FILE"),
    ] = ()
    sample: Annotated[
        int | None, Opt("Number of responses to draw; all by default.", metavar="N", min=1)
    ] = None
    stratify: Annotated[
        tuple[str, ...] | None,
        Opt("Strata of the draw; the project's by default.", metavar="FIELD,…", commas=True),
    ] = None
    per_item: Annotated[
        int | None, Opt("Labels per response; the project's by default.", metavar="N", min=1)
    ] = None
    seed: Annotated[int, Opt("Seed of the draw.", metavar="N")] = 0
    options: ReadOptions = field(default_factory=ReadOptions)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sources:
            raise UsageError("items come from runs or files of responses: --from RUN|FILE")
        for name in self.stratify or ():
            check_choice("--stratify", name, STRATA)
