"""A language model as the judge, by the rubric of the prompt's subcomponent."""

from flames.scorers.judge.scorer import JudgeScorer, PanelScorer, judge_with, load

__all__ = ["JudgeScorer", "PanelScorer", "judge_with", "load"]
