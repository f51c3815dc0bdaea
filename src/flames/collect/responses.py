"""Responses from replies, however a model was asked."""

from __future__ import annotations

from typing import Any

from flames.models.base import Reply
from flames.records import UNKNOWN_ENDING, Key, Prompt, Response, of_choice


def response_to(prompt: Prompt, key: Key, reply: Reply, **fields: Any) -> Response:
    """Returns the record of a reply to a prompt; `fields` tell how it was obtained."""
    fields |= {} if reply.ending_known else {UNKNOWN_ENDING: True}
    fields |= of_choice(prompt)
    return Response(
        **key._asdict(),
        dimension=prompt.dimension,
        subcomponent=prompt.subcomponent,
        technique=prompt.technique,
        expected=prompt.expected,
        variant_of=prompt.variant_of,
        disguise=prompt.disguise,
        prompt=prompt.text,
        history=prompt.history,
        system=prompt.system,
        response=reply.text,
        status=reply.status,
        finish_reason=reply.finish_reason,
        error=reply.note,
        reasoning=reply.reasoning,
        usage=dict(reply.usage) if reply.usage else None,
        **fields,
    )
