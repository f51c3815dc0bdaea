"""Which human labels can be used, and for what."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from flames.errors import InputError
from flames.metrics.source import Source
from flames.records import Frozen, Key, Verdict, is_on_other_text
from flames.text import with_point

PROBABILITY = "inclusion_probability"


class LabelUse(Frozen):
    """How many responses have labels that were used, and which labels were not.

    Not used are labels on responses that the source lacks (`other`) or has with another text
    (`changed`), without a score (`unscored`), and on responses without a verdict's score
    (`unjudged`).
    """

    raters: tuple[str, ...]
    used: int
    other: int = 0
    changed: int = 0
    unscored: int = 0
    unjudged: int = 0
    random_sample: bool
    target_width: float | None = None


@dataclass(frozen=True)
class Label:
    """The human scores of one response, and its inclusion probability."""

    scores: tuple[int, ...]
    probability: float


def probability_of(label: Verdict) -> float:
    """Returns the inclusion probability that a label carries; in (0, 1], or an InputError."""
    value = label.extra.get(PROBABILITY)
    if value is None or value == "":
        raise InputError(
            f"is missing on the label of prompt {label.prompt_id!r}; give it on every label, or "
            "say --labels-are-random if they are a simple random sample",
            field=PROBABILITY,
        )
    try:
        number = with_point(value) if isinstance(value, str) else value
        probability = math.nan if isinstance(value, bool) else float(number)
    except (TypeError, ValueError):
        probability = math.nan
    if not 0 < probability <= 1:
        raise InputError(
            f"must be above 0 and at most 1, got {value!r} on the label of prompt "
            f"{label.prompt_id!r}",
            field=PROBABILITY,
        )
    return probability


def usable_labels(
    source: Source, labels: Iterable[Verdict], random_sample: bool
) -> tuple[dict[Key, Label], LabelUse]:
    """Returns the labels on scored responses, several on one response together."""
    judged = {verdict.key: verdict for verdict in source.verdicts}
    given: dict[Key, Label] = {}
    raters: dict[str, None] = {}
    other = changed = unscored = unjudged = 0
    for label in labels:
        probability = 1.0 if random_sample else probability_of(label)
        verdict = judged.get(label.key)
        prompt, response = source.prompts.get(label.prompt_id), source.responses.get(label.key)
        texts = prompt.asked if prompt else None, response.response if response else None
        if verdict is None:
            other += 1
        elif is_on_other_text(label, *texts):
            changed += 1
        elif label.score is None:
            unscored += 1
        elif verdict.score is None:
            unjudged += 1
        elif verdict.dimension != label.dimension:
            raise InputError(
                f"the label of prompt {label.prompt_id!r} is of {label.dimension}, its verdict "
                f"of {verdict.dimension}"
            )
        else:
            raters[label.annotator or label.scorer] = None
            known = given.setdefault(label.key, Label((), probability))
            if known.probability != probability:
                raise InputError(
                    f"differs between two labels of prompt {label.prompt_id!r}", field=PROBABILITY
                )
            given[label.key] = replace(known, scores=(*known.scores, label.score))
    use = LabelUse(
        raters=tuple(raters),
        used=len(given),
        other=other,
        changed=changed,
        unscored=unscored,
        unjudged=unjudged,
        random_sample=random_sample,
    )
    return given, use
