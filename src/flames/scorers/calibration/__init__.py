"""Calibrated probabilities, and a threshold under which a scorer abstains."""

from flames.scorers.calibration._file import (
    Abstention,
    Calibration,
    Curve,
    Fit,
    Method,
    Quality,
    apply,
    load_calibration,
    save_calibration,
)
from flames.scorers.calibration._fit import Pair, calibrate, pairs
from flames.scorers.calibration._scorer import LOW_CONFIDENCE, CalibratedScorer, load, parts

__all__ = [
    "LOW_CONFIDENCE",
    "Abstention",
    "CalibratedScorer",
    "Calibration",
    "Curve",
    "Fit",
    "Method",
    "Pair",
    "Quality",
    "apply",
    "calibrate",
    "load",
    "load_calibration",
    "pairs",
    "parts",
    "save_calibration",
]
