"""Prompt sets: the bundled ones, fetched ones and files, each with its checksum."""

from flames.prompts.check import PromptCheck as PromptCheck
from flames.prompts.check import check_prompts as check_prompts
from flames.prompts.sets import KNOWN_SETS as KNOWN_SETS
from flames.prompts.sets import KnownSet as KnownSet
from flames.prompts.sets import PromptSet as PromptSet
from flames.prompts.sets import fetch_prompts as fetch_prompts
from flames.prompts.sets import identify as identify
from flames.prompts.sets import known_prompts as known_prompts
from flames.prompts.sets import load_prompts as load_prompts
