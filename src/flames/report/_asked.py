"""Verdicts put over the prompts that were to be asked."""

from __future__ import annotations

from dataclasses import replace

from flames.errors import InputError
from flames.prompts import PromptSet
from flames.records import Key, Prompt, Verdict
from flames.sources import Source


def over(source: Source, prompts: PromptSet) -> Source:
    """The source as a measurement of a whole prompt set, in the set's order.

    Prompts without a verdict become unscored with the reason `not asked`. Verdicts on other
    prompts are left out, which a note says. The result carries the set's name and checksum.

    Raises:
        InputError: No verdict is on a prompt of the set.
    """
    given = {verdict.key: verdict for verdict in source.verdicts}
    samples = sorted({key.sample for key in given} | set(range(source.samples)))
    verdicts = [
        given.get(key) or _not_asked(prompt, key, source.scorer)
        for prompt in prompts.prompts
        for key in (Key(prompt.id, source.model, sample) for sample in samples)
    ]
    outside = sum(key.prompt_id not in prompts.by_id for key in given)
    if outside == len(given):
        message = f"none of the {outside:,} verdicts is on a prompt of the set {prompts.name}"
        raise InputError(message, path=source.origin)
    note = f"{outside:,} verdicts on prompts outside of {prompts.name} were left out"
    return replace(
        source,
        prompt_set=prompts.info,
        prompts=dict(prompts.by_id),
        verdicts=tuple(verdicts),
        notes=(*source.notes, note) if outside else source.notes,
    )


def _not_asked(prompt: Prompt, key: Key, scorer: str) -> Verdict:
    return Verdict(
        prompt_id=key.prompt_id,
        model=key.model,
        sample=key.sample,
        dimension=prompt.dimension,
        subcomponent=prompt.subcomponent,
        technique=prompt.technique,
        scorer=scorer,
        unscored="not asked",
    )
