"""Bias probes: whether a scorer is swayed by what does not matter."""

from flames.probes._run import Flips, ProbeReport, ProbeResult, probe_scorer
from flames.probes._transform import PROBES, Probe

__all__ = ["PROBES", "Flips", "Probe", "ProbeReport", "ProbeResult", "probe_scorer"]
