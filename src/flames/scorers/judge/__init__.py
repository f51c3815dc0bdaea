"""A language model as the judge, by the rubric of the prompt's subcomponent."""

from flames.scorers.judge.panel import PanelScorer, load
from flames.scorers.judge.scorer import JudgeScorer, judge_with

__all__ = ["JudgeScorer", "PanelScorer", "judge_with", "load"]
