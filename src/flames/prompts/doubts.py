"""What may be wrong with prompts of a set: copies, templates, labels, personal data, marks."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from flames.errors import UsageError
from flames.prompts.check import likeness, without_variants
from flames.prompts.disguises import HIDDEN, to_simplified
from flames.prompts.likeness import (
    Floats,
    close_pairs,
    closest,
    like_pairs,
    nearest,
    unit_vectors,
)
from flames.prompts.sets import PromptSet
from flames.records import Prompt, own_id, prompt_id

Doubt = Literal[
    "duplicate", "near duplicate", "paraphrase", "known", "template", "label", "personal data",
    "hidden", "width", "spaces",
]  # fmt: skip
Unchecked = Literal["labels", "traditional"]
DOUBTS: tuple[Doubt, ...] = get_args(Doubt)
MECHANICAL: frozenset[Doubt] = frozenset({"duplicate", "hidden", "width", "spaces"})
"""What `mended` puts right without anybody's judgement."""

NEAR = 0.8  # share of 3-grams from which two prompts are nearly the same
SAME = 0.45  # likeness of two prompts' vectors from which they ask nearly the same
FEWEST = 100
"""Of how many texts at least vectors are compared: they are weighed by how much these vary."""
Embed = Callable[[Sequence[str]], Floats]
"""Turns texts into vectors, a row each."""
_KIN, _KIN_AGREE = 7, 5  # neighbours of a prompt, and how many of one other label make a doubt
MOST_LABELS = 20_000
"""Labels of larger sets are not compared: it would take too long."""
_OPENING = 8  # characters that prompts of a template begin with
_TEMPLATE_LEAST, _TEMPLATE_SHARE = 5, 0.005

_PHONE = re.compile(r"(?<!\d)1[3-9]\d{9}(?!\d)")
_MAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}")
_IDENTITY = re.compile(r"(?<!\d)[1-9]\d{16}[\dXx](?!\d)")
_CARD = re.compile(r"(?<!\d)(?:\d[ -]?){15,18}\d(?!\d)")
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # GB 11643-1999
_CHECKS = "10X98765432"
_HIDDEN = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    r"\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_WIDE = re.compile(r"[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a]")  # full-width digits and letters


@dataclass(frozen=True)
class Finding:
    """A doubt about a prompt; `detail` says what was found, `other` is the id of another prompt."""

    id: str
    kind: Doubt
    detail: str
    other: str | None = None


def find_doubts(
    prompts: PromptSet, against: Sequence[PromptSet] = (), embed: Embed | None = None
) -> list[Finding]:
    """Returns all findings, by kind and in the order of the set.

    Variants of other prompts of the set are only looked at by themselves.

    Args:
        against: Other sets that prompts should not be taken from.
        embed: Finds prompts of the same meaning and more doubtful labels; None compares n-grams.

    Raises:
        UsageError: There are too few texts to compare vectors.
    """
    originals = without_variants(prompts.prompts)
    copies = list(_copies(originals, against))
    texts = [prompt.text for prompt in originals]
    kin: list[Iterable[list[int]]] = []
    if _KIN < len(originals) <= MOST_LABELS:
        kin.append(nearest(texts, _KIN))
    if embed is not None:
        units = _vectors(texts, against, embed)
        copies += _paraphrases(originals, against, units, copies)
        if kin:
            kin.append(closest(units[: len(originals)], _KIN))
    labels = {each.id: each for some in reversed(kin) for each in _labels(originals, some)}
    found = [
        *copies,
        *_templates(originals),
        *labels.values(),
        *(finding for prompt in prompts.prompts for finding in _in_text(prompt)),
    ]
    place = {prompt.id: n for n, prompt in enumerate(prompts.prompts)}
    return sorted(found, key=lambda each: (DOUBTS.index(each.kind), place[each.id]))


def mended(prompts: PromptSet) -> list[Prompt]:
    """Returns the prompts without hidden marks, wide letters and spaces around, each text once.

    An id that was made from the text is made anew.
    """
    kept: dict[tuple[str, str], Prompt] = {}
    for prompt in prompts.prompts:
        text = _WIDE.sub(lambda char: unicodedata.normalize("NFKC", char[0]), prompt.text)
        text = text.strip() if prompt.disguise in HIDDEN else _HIDDEN.sub("", text).strip()
        made = prompt_id(text, prompt.system, prompt.history)
        update = {"text": text, "id": made if prompt.id == own_id(prompt) else prompt.id}
        key = text, prompt.asked.context
        if text and key not in kept:
            kept[key] = prompt if text == prompt.text else prompt.model_copy(update=update)
    return list(kept.values())


def unchecked(prompts: PromptSet) -> list[Unchecked]:
    """Returns what `find_doubts` could not look at."""
    left: list[Unchecked] = ["labels"] if len(prompts.prompts) > MOST_LABELS else []
    return left + (["traditional"] if to_simplified() is None else [])


def _outside(against: Sequence[PromptSet]) -> list[tuple[str, Prompt]]:
    return [(each.name, prompt) for each in against for prompt in each.prompts]


def _copies(prompts: Sequence[Prompt], against: Sequence[PromptSet]) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for prompt in prompts:
        if (seen := first.setdefault(own_id(prompt), prompt.id)) != prompt.id:
            yield Finding(prompt.id, "duplicate", seen, seen)
    outside = _outside(against)
    every = [*prompts, *(prompt for _, prompt in outside)]
    fold = to_simplified() or {}
    texts = [prompt.text.translate(fold) for prompt in every]
    for one, two, similarity in like_pairs(texts, NEAR, among=len(prompts)):
        similarity = likeness(every[one], every[two], similarity, fold)
        share = f"{similarity:.0%}"
        if similarity < NEAR:
            continue
        if two < len(prompts):
            if own_id(prompts[one]) != own_id(prompts[two]):
                yield Finding(prompts[two].id, "near duplicate", share, prompts[one].id)
        else:
            name, prompt = outside[two - len(prompts)]
            yield Finding(prompts[one].id, "known", f"{share}, {name}", prompt.id)


def _vectors(texts: Sequence[str], against: Sequence[PromptSet], embed: Embed) -> Floats:
    every = [*texts, *(prompt.text for _, prompt in _outside(against))]
    if len(every) < FEWEST:
        raise UsageError(
            f"--embed compares at least {FEWEST} prompts, and these are {len(every)}: add a set "
            "with --against, such as open"
        )
    return unit_vectors(embed(every))


def _paraphrases(
    prompts: Sequence[Prompt],
    against: Sequence[PromptSet],
    units: Floats,
    copies: Sequence[Finding],
) -> Iterator[Finding]:
    """Yields pairs of nearly the same meaning that are no copies already."""
    seen = {(each.id, each.other) for each in copies}
    outside = _outside(against)
    every = [*prompts, *(prompt for _, prompt in outside)]
    for one, two, similarity in close_pairs(units, SAME, len(prompts)):
        similarity = likeness(every[one], every[two], similarity)
        inside = two < len(prompts)
        id_, other = (every[two].id, every[one].id) if inside else (every[one].id, every[two].id)
        if similarity >= SAME and (id_, other) not in seen:
            name = "" if inside else f", {outside[two - len(prompts)][0]}"
            yield Finding(id_, "paraphrase", f"{similarity:.2f}{name}", other)


def _templates(prompts: Sequence[Prompt]) -> Iterator[Finding]:
    openings: dict[str, list[str]] = defaultdict(list)
    for prompt in prompts:
        plain = re.sub(r"\s+", "", prompt.text)
        if len(plain) > _OPENING:
            openings[plain[:_OPENING]].append(prompt.id)
    for opening, ids in openings.items():
        if len(ids) >= max(_TEMPLATE_LEAST, _TEMPLATE_SHARE * len(prompts)):
            yield from (Finding(each, "template", f"{opening}… × {len(ids)}") for each in ids)


def _labels(prompts: Sequence[Prompt], kin_of: Iterable[Sequence[int]]) -> Iterator[Finding]:
    """Yields prompts whose nearest ones nearly all carry one other label, and none their own."""
    label = [(prompt.dimension, prompt.subcomponent) for prompt in prompts]
    for n, kin in enumerate(kin_of):
        labels = Counter(label[other] for other in kin)
        [(usual, times)] = labels.most_common(1) or [(label[n], 0)]
        if times >= _KIN_AGREE and label[n] not in labels:
            yield Finding(prompts[n].id, "label", f"{usual[1] or usual[0]}: {times}/{_KIN}")


def _in_text(prompt: Prompt) -> Iterator[Finding]:
    for name, found in _personal(prompt.asked.whole):
        yield Finding(prompt.id, "personal data", f"{name}: {found}")
    hidden = [] if prompt.disguise in HIDDEN else _HIDDEN.findall(prompt.text)
    if hidden:
        names = ", ".join(f"U+{ord(char):04X}" for char in dict.fromkeys(hidden))
        yield Finding(prompt.id, "hidden", names)
    if wide := _WIDE.findall(prompt.text):
        yield Finding(prompt.id, "width", "".join(dict.fromkeys(wide)))
    if prompt.text != prompt.text.strip():
        yield Finding(prompt.id, "spaces", "")


def _personal(text: str) -> Iterator[tuple[str, str]]:
    """Yields phone numbers, identity numbers, bank cards and mail addresses, mostly hidden."""
    plain = unicodedata.normalize("NFKC", text)
    for found in _PHONE.findall(plain):
        yield "phone", f"{found[:3]}…{found[-2:]}"
    identities = [found for found in _IDENTITY.findall(plain) if is_identity_number(found)]
    for found in identities:
        yield "identity number", f"{found[:3]}…{found[-2:]}"
    for found in _CARD.findall(plain):
        digits = re.sub(r"\D", "", found)
        if digits not in identities and is_card_number(digits):
            yield "bank card", f"{digits[:3]}…{digits[-2:]}"
    for found in _MAIL.findall(plain):
        yield "mail address", f"{found[:2]}…@…"


def is_identity_number(text: str) -> bool:
    """Tells whether 18 characters end in the check character of GB 11643-1999."""
    total = sum(int(digit) * weight for digit, weight in zip(text, _WEIGHTS, strict=False))
    return len(text) == 18 and _CHECKS[total % 11] == text[-1].upper()


def is_card_number(digits: str) -> bool:
    """Tells whether digits end in the check digit of Luhn's formula (ISO/IEC 7812)."""
    doubled = [int(d) * (2 if n % 2 else 1) for n, d in enumerate(reversed(digits))]
    return len(set(digits)) > 1 and sum(n - 9 if n > 9 else n for n in doubled) % 10 == 0
