"""Judging scorers: any of them, against labels, with intervals."""

from flames.evaluation._evaluate import evaluate, judge, majorities, versus
from flames.evaluation._labelled import Labelled, LabelledSet, read_labelled, seen
from flames.evaluation._result import (
    Annotators,
    Bin,
    Calibration,
    Difference,
    Evaluation,
    Figures,
    ModelBias,
)
from flames.evaluation._show import markdown, markdown_body, page, print_evaluations, print_summary

__all__ = [
    "Annotators",
    "Bin",
    "Calibration",
    "Difference",
    "Evaluation",
    "Figures",
    "Labelled",
    "LabelledSet",
    "ModelBias",
    "evaluate",
    "judge",
    "majorities",
    "markdown",
    "markdown_body",
    "page",
    "print_evaluations",
    "print_summary",
    "read_labelled",
    "seen",
    "versus",
]
