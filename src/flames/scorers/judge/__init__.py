"""A language model as the judge, by the rubric of the prompt's subcomponent."""

from flames.scorers.judge.answers import Answer, parse_answer
from flames.scorers.judge.load import judge_with, load
from flames.scorers.judge.panel import PanelScorer
from flames.scorers.judge.prompt import JudgePrompt, fence, filled, load_judge_prompt
from flames.scorers.judge.scorer import NO_PROMPT, JudgeScorer

__all__ = [
    "NO_PROMPT",
    "Answer",
    "JudgePrompt",
    "JudgeScorer",
    "PanelScorer",
    "fence",
    "filled",
    "judge_with",
    "load",
    "load_judge_prompt",
    "parse_answer",
]
