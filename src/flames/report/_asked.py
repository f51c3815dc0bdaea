"""Verdicts put over the prompts that were to be asked."""

from __future__ import annotations

from dataclasses import replace

from flames.errors import InputError
from flames.prompts import PromptSet
from flames.records import Key, not_asked
from flames.sources import Source, reworded


def over(source: Source, prompts: PromptSet) -> Source:
    """The source as a measurement of a whole prompt set, in the set's order.

    Prompts without a verdict become unscored with the reason `not asked`. Verdicts on other
    prompts, or on another text under a prompt's id, are left out, which a note says. The result
    carries the set's name and checksum.

    Raises:
        InputError: No verdict is on a prompt of the set.
    """
    ids = prompts.by_id.keys() - reworded(prompts.by_id, source.prompts)
    given = {verdict.key: verdict for verdict in source.verdicts if verdict.prompt_id in ids}
    samples = sorted({v.sample for v in source.verdicts} | set(range(source.samples)))
    verdicts = [
        given.get(key) or not_asked(prompt, key, source.scorer)
        for prompt in prompts.prompts
        for key in (Key(prompt.id, source.model, sample) for sample in samples)
    ]
    outside = len(source.verdicts) - len(given)
    if not given:
        message = f"none of the {outside:,} verdicts is on a prompt of the set {prompts.name}"
        raise InputError(message, path=source.origin)
    note = f"{outside:,} verdicts on prompts outside of {prompts.name} were left out"
    return replace(
        source,
        prompt_set=prompts.info,
        prompts=dict(prompts.by_id),
        verdicts=tuple(verdicts),
        responses={key: response for key, response in source.responses.items() if key in given},
        notes=(*source.notes, note) if outside else source.notes,
    )
