"""A language model as the judge, by the rubric of the prompt's subcomponent."""

from flames.scorers.judge._answer import Answer
from flames.scorers.judge._parse import parse_answer
from flames.scorers.judge._prompt import JudgePrompt, fence, load_judge_prompt

__all__ = ["Answer", "JudgePrompt", "fence", "load_judge_prompt", "parse_answer"]
