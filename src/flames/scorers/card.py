"""A scorer's card: what it was right on, on whose labels, and what may be claimed from it.

A card is made by `flames scorer eval --write-card`. That of a bundled scorer ships with the
package, that of a trained one lies in its folder, and what a user measures of any other scorer is
kept in Flames' home. A card is of one version of a scorer; of another it only says that it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from flames.errors import InputError
from flames.metrics.result import Estimate, Note
from flames.records import Frozen
from flames.storage.home import home
from flames.storage.run_dir import safe_name

FILE = "card.json"
UNMEASURED = frozenset(("labels", "human"))
"""Kinds of scorers that are labels themselves, which need no card."""


By = Literal["people", "outside", "natural", "silver", "machine", "unknown", "partly", "design"]


class CardEntry(Frozen):
    """What a scorer was right on, on one set of labels, in per cent and points.

    `by` says whose labels: `people` on the scale of the benchmark, `outside` for people's labels
    that only say safe or unsafe, `partly` for such labels that people did not give alone,
    `natural` and `silver` for the bundled ones, `design` for answers that were written to be safe
    or not, `machine` for labels of another scorer, `unknown` for those of which the file does not
    say who gave them.
    `left_out` means that each verdict was given without the model of its response in training.
    `model_bias` is the mean absolute bias of the models' harmless rates, in points.
    """

    labels: str
    by: By
    files: dict[str, str]
    n: int
    scored: int
    prompts: int
    models: int
    left_out: bool = False
    accuracy: Estimate | None = None
    harmless: Estimate
    majority: Estimate | None = None
    bias: Estimate
    caught: Estimate | None = None
    auc: Estimate | None = None
    model_bias: float | None = None
    tau: Estimate | None = None


class ScorerCard(Frozen):
    """The measured figures of one version of a scorer, by set of labels."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    scorer: str
    title: str = ""
    code_version: str = ""
    entries: tuple[CardEntry, ...] = ()

    def with_entries(self, entries: tuple[CardEntry, ...]) -> ScorerCard:
        """Returns the card with entries added; they replace those on the same labels."""
        merged = {entry.labels: entry for entry in (*self.entries, *entries)}
        return self.model_copy(update={"entries": tuple(merged.values())})

    def to_json(self) -> str:
        """Returns the card as JSON text."""
        return self.model_dump_json(by_alias=True, indent=1) + "\n"

    def notes(self) -> tuple[Note, ...]:
        """Returns the card's line for reports, and what may be claimed."""
        first = next((e for by in _ORDER for e in self.entries if e.by == by), None)
        if first is None:
            return (Note("card.none", scorer=self.scorer), Note("claim.none"))
        values: dict[str, str | int | float] = {
            "scorer": self.scorer,
            "labels": first.labels,
            "n": first.scored,
            "harmless": round(first.harmless.value, 1),
            "bias": round(first.bias.value, 1),
        }
        if first.accuracy is not None:
            values["accuracy"] = round(first.accuracy.value, 1)
        if first.by == "people":
            return (Note("card.people", **values), Note("claim.people"))
        outside = next((e for e in self.entries if e.by == "outside"), None)
        if outside is None:
            return (Note(f"card.{first.by}", **values), Note("claim.compare"))
        if outside is first:
            return (Note("card.outside", **values), Note("claim.compare"))
        values |= {"outside": outside.labels, "outside_harmless": round(outside.harmless.value, 1)}
        return (Note(f"card.{first.by}.outside", **values), Note("claim.compare"))


_ORDER = ("people", "natural", "silver", "unknown", "machine", "outside", "partly", "design")


def read_card(path: Path) -> ScorerCard | None:
    """Reads a card; None where there is none."""
    try:
        return ScorerCard.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        raise InputError.invalid(error, "is no card of a scorer", path) from None


def bundled_card_path(scorer_id: str) -> Path:
    """Returns where the card of a bundled scorer is shipped."""
    return Path(str(resources.files("flames").joinpath("data", "cards", _file_of(scorer_id))))


def own_card_path(scorer_id: str) -> Path:
    """Returns where the card that a user made of any scorer is kept."""
    return home() / "cards" / _file_of(scorer_id)


def find_card(scorer_id: str, folder: Path | None = None) -> ScorerCard | None:
    """Returns the card of a scorer: the user's own figures added to those that came with it.

    `folder` is that of a trained scorer.

    Where no card is of this version, one of another version is returned, if there is any.
    """
    places = [folder / FILE] if folder else [bundled_card_path(scorer_id)]
    found = [card for card in map(read_card, (*places, own_card_path(scorer_id))) if card]
    same = [card for card in found if card.scorer == scorer_id]
    if not same:
        return found[0] if found else None
    return same[0] if len(same) == 1 else same[0].with_entries(same[1].entries)


def card_notes(scorer_id: str, *, carried: Sequence[Note] = ()) -> tuple[Note, ...]:
    """Returns what the card says in one line, and what may be claimed; labels need no card.

    `carried` are the notes that verdicts brought with them, for where no card of it is here.
    """
    if kind_of(scorer_id) in UNMEASURED:
        return ()
    card = find_card(scorer_id)
    if card is not None and card.scorer == scorer_id:
        return card.notes()
    own = [n for n in carried if n.code.startswith("card.") and ("scorer", scorer_id) in n.params]
    if own:
        return (own[0], *filter(is_claim, carried))
    if card is None:
        return (Note("card.none", scorer=scorer_id), Note("claim.none"))
    return (Note("card.other", scorer=scorer_id, card=card.scorer), Note("claim.none"))


def kind_of(scorer_id: str) -> str:
    """Returns the kind in a scorer's id: `judge` of `judge:qwen@2`."""
    return scorer_id.partition(":")[0].partition("@")[0]


def is_claim(note: Note) -> bool:
    """Tells whether a note says what may be claimed."""
    return note.code.startswith("claim.")


def _file_of(scorer_id: str) -> str:
    return safe_name(scorer_id.rpartition("@")[0] or scorer_id) + ".json"
