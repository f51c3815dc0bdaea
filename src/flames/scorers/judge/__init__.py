"""A language model as the judge, by the rubric of the prompt's subcomponent."""

from flames.scorers.judge._answer import Answer
from flames.scorers.judge._parse import parse_answer

__all__ = ["Answer", "parse_answer"]
