"""How asking ended, from the provider's finish reason: one table for the client and for files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from flames.records import IN_THOUGHT, Status
from flames.text import has_visible_text

Ending = Literal["finished", "cut", "blocked", "interrupted"]

_WORDS: dict[Ending, tuple[str, ...]] = {
    "finished": (
        *("stop", "tool_calls", "function_call"),  # OpenAI and everything compatible with it
        *("end_turn", "stop_sequence", "tool_use"),  # Anthropic, Bedrock
        *("complete", "completed"),  # Cohere, OpenAI's Responses API
        *("eos", "eos_token", "normal"),  # llama.cpp, text-generation-inference, Qianfan
    ),
    "cut": (
        *("length", "max_len", "max_length"),  # OpenAI and everything compatible with it; xAI
        *("max_tokens", "model_context_window_exceeded"),  # Anthropic, Gemini, Cohere, Zhipu
        *("max_output_tokens", "incomplete"),  # OpenAI's Responses API
        *("model_length", "error_limit"),  # Mistral; Cohere
        *("context", "max_context", "context_length", "context_length_exceeded"),  # SenseNova, xAI
        *("context_window_exceeded", "token_limit", "time_limit"),  # gateways; watsonx, xAI
        "repetition",  # vLLM: stopped because the model repeats itself
    ),
    "blocked": (
        *("content_filter", "content_policy_violation", "content_policy"),  # OpenAI, most others
        "sensitive",  # Zhipu, Hunyuan, SenseNova
        *("safety", "recitation", "prohibited_content", "blocklist", "spii"),  # Gemini
        *("image_safety", "image_prohibited_content", "model_armor", "language"),  # Gemini
        "refusal",  # Anthropic's streaming classifiers
        *("content_filtered", "guardrail_intervened"),  # Bedrock
        "error_toxic",  # Cohere
        *("moderation", "policy_violation", "data_inspection_failed", "blocked"),  # gateways
    ),
    # The provider broke off for reasons of its own: to be asked again.
    "interrupted": (
        "insufficient_system_resource",  # DeepSeek
        "network_error",  # Zhipu
        *("abort", "aborted", "error"),  # vLLM, SGLang; Mistral, Cohere, OpenRouter
        *("other", "malformed_function_call", "malformed_response"),  # Gemini
        *("user_cancel", "error_network"),  # Cohere
        *("cancelled", "canceled", "not_finished"),  # watsonx, the Responses API
        *("failed", "timeout", "server_error", "internal_error"),  # the Responses API, gateways
        "pause_turn",  # Anthropic
    ),
}
_WORST: tuple[Ending, ...] = ("blocked", "interrupted", "cut", "finished")

FINISH_REASONS = {word: ending for ending, words in _WORDS.items() for word in words}
"""What each provider's finish reason means, by the word in lower case."""


def _bare(word: str) -> str:
    return re.sub(r"[\W_]", "", word.casefold())


_KNOWN = {_bare(word): ending for word, ending in FINISH_REASONS.items()}
_PREFIX = re.compile(r"^(?:finish_?|stop_?)?reason[._]?(?=.)", re.IGNORECASE)  # an enum's name


def finish_word(reason: object) -> str | None:
    """Returns a finish reason's word: a text, or the `type` of an object; None where none is."""
    if isinstance(reason, Mapping):
        reason = next((reason[key] for key in ("type", "reason") if key in reason), None)
    if not isinstance(reason, str) or _bare(reason) in ("", "null", "none"):
        return None
    return reason


def ending_of(*reasons: object) -> Ending | None:
    """Returns the worst of what finish reasons say; None where no word is known."""
    words = (finish_word(reason) or "" for reason in reasons)
    known = {_KNOWN.get(_bare(_PREFIX.sub("", word.strip()))) for word in words}
    return next((ending for ending in _WORST if ending in known), None)


def status_of(
    finish_reason: object, text: str | None, *, thought: bool = False, unclosed: bool = False
) -> Status:
    """Returns the status of an answer (without any reasoning) that came without an error.

    A finish reason of None, or an unknown one, leaves the decision to the text.

    Args:
        thought: There is a sign of reasoning before the answer.
        unclosed: There is reasoning inside the text that no tag ends.
    """
    ending = ending_of(finish_reason)
    if ending == "blocked":
        return "blocked"
    if ending == "interrupted":
        return "error"
    if not has_visible_text(text):
        in_thought = (thought and ending == "cut") or (unclosed and ending != "finished")
        return IN_THOUGHT if in_thought else "empty"
    return "truncated" if ending == "cut" else "ok"
