"""How asking ended, from the provider's finish reason: one table for the client and for files."""

from __future__ import annotations

from typing import Literal

from flames.records import Status
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
        "length",  # OpenAI and everything compatible with it
        *("max_tokens", "model_context_window_exceeded"),  # Anthropic, Gemini, Cohere, Zhipu
        "max_output_tokens",  # OpenAI's Responses API
        "model_length",  # Mistral
        "error_limit",  # Cohere
    ),
    "blocked": (
        "content_filter",  # OpenAI, Azure, DashScope, DeepSeek, Moonshot, Qianfan, Ark
        "sensitive",  # Zhipu, Hunyuan
        *("safety", "recitation", "prohibited_content", "blocklist", "spii"),  # Gemini
        *("image_safety", "model_armor"),  # Gemini
        "refusal",  # Anthropic's streaming classifiers
        *("content_filtered", "guardrail_intervened"),  # Bedrock
        "error_toxic",  # Cohere
    ),
    # The provider stopped for reasons of its own; what there is of the answer counts.
    "interrupted": (
        "insufficient_system_resource",  # DeepSeek
        "network_error",  # Zhipu
        *("abort", "error"),  # vLLM, SGLang; Mistral, Cohere, OpenRouter
        *("other", "language", "malformed_function_call"),  # Gemini
        *("user_cancel", "error_network"),  # Cohere
        "pause_turn",  # Anthropic
    ),
}

FINISH_REASONS = {word: ending for ending, words in _WORDS.items() for word in words}
"""What each provider's finish reason means, by the word in lower case."""


def status_of(finish_reason: object, text: str | None) -> Status:
    """Returns the status of an answer (without any reasoning) that came without an error.

    A `finish_reason` of None, or an unknown one, leaves the decision to the text.
    """
    word = finish_reason.strip().casefold() if isinstance(finish_reason, str) else ""
    ending = FINISH_REASONS.get(word)
    if ending == "blocked":
        return "blocked"
    if not has_visible_text(text):
        return "empty"
    return "truncated" if ending == "cut" else "ok"
