"""Asking models: the engine that collectors and judges share, and the ask loop over a run."""

from flames.collect._api import ask
from flames.collect._ask import Asking, Plan, Progress, Standing, prepare
from flames.collect._engine import Collector, Outcome, Request, Settings
from flames.collect._meter import BudgetSpent, Estimate, Meter, Prices, estimate
from flames.collect._sync import PrivateLoop

__all__ = [
    "Asking",
    "BudgetSpent",
    "Collector",
    "Estimate",
    "Meter",
    "Outcome",
    "Plan",
    "Prices",
    "PrivateLoop",
    "Progress",
    "Request",
    "Settings",
    "Standing",
    "ask",
    "estimate",
    "prepare",
]
