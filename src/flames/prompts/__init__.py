"""Prompt sets: the bundled ones, fetched ones and files, each with its checksum."""

from flames.prompts.check import PromptCheck, check_prompts
from flames.prompts.fetch import fetch_prompts
from flames.prompts.sets import (
    KNOWN_SETS,
    KnownSet,
    PromptSet,
    identify,
    known_prompts,
    load_prompts,
)

__all__ = [
    "KNOWN_SETS",
    "KnownSet",
    "PromptCheck",
    "PromptSet",
    "check_prompts",
    "fetch_prompts",
    "identify",
    "known_prompts",
    "load_prompts",
]
