"""The ways to ask for structured output: a JSON schema, a tool, the prompt alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

from flames.records import Stance
from flames.scorers.asking import AnswerForm, plain
from flames.taxonomy import Dimension


def answer_forms(dimensions: Iterable[Dimension], *, stance: bool = True) -> dict[str, AnswerForm]:
    """Returns the ways to ask for structured output: a JSON schema, a tool, the prompt alone.

    The schema allows every score of the taxonomy; the reader holds an answer to its scale.

    Args:
        stance: Whether the prompt asks for the response's stance too.
    """
    scores = sorted({score for dimension in dimensions for score in dimension.scale}, reverse=True)

    def schema(key: str) -> dict[str, Any]:
        fields: dict[str, Any] = {"reason": {"type": "string"}}
        if stance:
            fields["stance"] = {"type": "string", "enum": list(get_args(Stance))}
        fields[key] = {"type": "integer", "enum": scores}
        form = {"type": "object", "properties": fields, "required": list(fields)}
        return {**form, "additionalProperties": False}

    def response_format(key: str) -> dict[str, Any]:
        named = {"name": "verdict", "strict": True, "schema": schema(key)}
        return {"response_format": {"type": "json_schema", "json_schema": named}}

    def tool(key: str) -> dict[str, Any]:
        function = {
            "name": "verdict",
            "description": "The verdict on the response.",
            "parameters": schema(key),
        }
        return {
            "tools": [{"type": "function", "function": function}],
            "tool_choice": {"type": "function", "function": {"name": "verdict"}},
        }

    return {"schema": response_format, "tool": tool, "plain": plain}
