"""Proposals that a person accepts into a set, one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from flames.errors import UsageError
from flames.options import Opt
from flames.pipeline.proposals import Proposal, decide, read_proposals
from flames.prompts.addition import add_prompt
from flames.prompts.sets import load_prompts
from flames.records import Prompt, own_id
from flames.taxonomy import Taxonomy, TaxonomyOptions, load_taxonomy
from flames.text import has_visible_text

Choice = Literal["yes", "no", "edit", "skip", "quit"]


@dataclass(frozen=True, kw_only=True)
class AcceptOptions(TaxonomyOptions):
    """Which proposals go into which set."""

    proposals: Annotated[
        Path,
        Opt("A file that vary --with wrote.", metavar="PROPOSALS", positional=True),
    ]
    into: Annotated[Path, Opt("The set that gets them, as JSON Lines.", metavar="FILE")]
    ids: Annotated[
        tuple[str, ...] | None,
        Opt("Accept these proposals without asking.", metavar="A,B,…", commas=True),
    ] = None
    author: Annotated[str | None, Opt("Who accepts them.", metavar="NAME")] = None


@dataclass
class Accepted:
    """What was decided: ids by decision, `open` those that nobody decided about."""

    into: Path
    accepted: list[str] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    open: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON data."""
        return {
            "into": str(self.into),
            "accepted": self.accepted,
            "rejected": self.rejected,
            "refused": self.refused,
            "open": self.open,
        }


def accept_ids(options: AcceptOptions) -> Accepted:
    """Accepts the proposals that are named; all of them are looked at before any is added."""
    taxonomy = load_taxonomy(options.taxonomy)
    known = {each.prompt.id: each for each in read_proposals(options.proposals)}
    done = Accepted(options.into)
    for name in options.ids or ():
        if name not in known:
            raise UsageError(f"{options.proposals}: no proposal {name!r}")
        if known[name].decision == "rejected":
            raise UsageError(f"{options.proposals}: the proposal {name} was rejected")
    for name in dict.fromkeys(options.ids or ()):
        if known[name].decision is None:
            _accept(options, known[name], known[name].prompt, taxonomy)
            done.accepted.append(name)
    done.open = sum(each.decision is None for each in known.values()) - len(done.accepted)
    return done


def accept_by(
    options: AcceptOptions,
    choose: Callable[[Proposal, int], Choice],
    edit: Callable[[str], str | None],
    tell: Callable[[str], None],
) -> Accepted:
    """Asks a person about each open proposal; what is decided is on disk before the next one.

    Args:
        choose: Called with a proposal and how many are open, this one included.
        edit: Returns another text, or None to leave it.
        tell: Gets why a set does not take a prompt; the proposal stays open.
    """
    taxonomy = load_taxonomy(options.taxonomy)
    left = [each for each in read_proposals(options.proposals) if each.decision is None]
    done = Accepted(options.into, open=len(left))
    for n, proposal in enumerate(left):
        choice, prompt = choose(proposal, len(left) - n), proposal.prompt
        if choice == "edit":
            text = (edit(prompt.text) or "").strip()
            if not has_visible_text(text):
                continue
            prompt, choice = _edited(prompt, text), "yes"
        if choice == "quit":
            break
        if choice == "no":
            decide(options.proposals, proposal, "rejected", options.author)
            done.rejected.append(proposal.prompt.id)
            done.open -= 1
        elif choice == "yes":
            try:
                _accept(options, proposal, prompt, taxonomy)
            except UsageError as error:
                done.refused[proposal.prompt.id] = str(error)
                tell(str(error))
                continue
            done.accepted.append(prompt.id)
            done.open -= 1
    return done


def _edited(prompt: Prompt, text: str) -> Prompt:
    if text == prompt.text:
        return prompt
    new = prompt.model_copy(update={"text": text, "edited": True})
    return new.model_copy(update={"id": own_id(new)})


def _accept(options: AcceptOptions, proposal: Proposal, prompt: Prompt, taxonomy: Taxonomy) -> None:
    """Adds a prompt to the set, then writes down that it was accepted."""
    more = {} if options.author is None else {"accepted_by": options.author}
    prompt = prompt.model_copy(update=more)
    if not _is_there(options.into, prompt, taxonomy):
        add_prompt(options.into, prompt, taxonomy)
    decide(options.proposals, proposal, "accepted", options.author)


def _is_there(path: Path, prompt: Prompt, taxonomy: Taxonomy) -> bool:
    """Tells whether a kill came between the set and the decision."""
    if not path.is_file() or not path.stat().st_size:
        return False
    there = load_prompts(path, taxonomy=taxonomy).by_id.get(prompt.id)
    return there is not None and there.variant_of == prompt.variant_of
