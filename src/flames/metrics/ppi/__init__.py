"""Correcting a scorer with human labels on a random part: prediction-powered inference.

The scorer judged everything, people a random part. The estimate is

    λ · mean(scorer, everything) + mean(human, labelled) - λ · mean(scorer, labelled),

means over labelled responses weighted by the inverse of their inclusion probability (Hájek).
For a simple random sample this is PPI++ (Angelopoulos, Duchi & Zrnic 2023) to the last digit:
its λ for the unlabelled rest is ours times (N - n) / N, and both are tuned to the least
variance. A useless scorer gets λ = 0 and leaves the human labels alone.

The normal interval of PPI++ covers far too little where labels are few. The interval here is
the project's bootstrap, stretched by Student's t at the labels' effective number.
"""

from flames.metrics.ppi._correct import Corrected, CorrectedGroup, Correction, correct
from flames.metrics.ppi._labels import PROBABILITY, Correctable, LabelUse, probability_of
from flames.metrics.ppi._mean import Powered, powered_mean

__all__ = [
    "PROBABILITY",
    "Correctable",
    "Corrected",
    "CorrectedGroup",
    "Correction",
    "LabelUse",
    "Powered",
    "correct",
    "powered_mean",
    "probability_of",
]
