"""Flames: measuring how well Chinese-speaking language models uphold human values.

    import flames

    done = flames.run("deepseek/deepseek-chat", "quick", out="runs/deepseek")
    print(done.result.overall.harmless_rate)
    flames.compare(["runs/base", "runs/deepseek"], format="html", out="comparison.html")

`run`, `ask`, `score`, `measure`, `report`, `compare`, `trend`,
`certify` and `gate` do what the commands do; `arun` is `run` for an event loop of your own.
Every name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from flames.analysis.gate_rules import GateOptions
    from flames.analysis.inputs import MeasureOptions
    from flames.analysis.loading import load_sources
    from flames.collect.ask import ask
    from flames.collect.settings import AskSettings, BatchOptions
    from flames.errors import FlamesError, InputError, OutsideError, UsageError
    from flames.metrics.source import Source
    from flames.metrics.tabular import to_frame
    from flames.models.base import ChatModel, Sampling
    from flames.models.load import CallableModel, ModelOptions, load_model
    from flames.pipeline.asynchronous import arun
    from flames.pipeline.comparing import certify, compare, trend
    from flames.pipeline.gating import gate
    from flames.pipeline.runs import run, score
    from flames.pipeline.study_run import StudyOutcome, study
    from flames.pipeline.verdicts import measure, report
    from flames.prompts.sets import PromptSet, load_prompts
    from flames.records import Prompt, Response, Verdict
    from flames.reports.certificate import CertificateReport, CertifyOptions
    from flames.reports.comparison_document import CompareOptions, ComparisonReport
    from flames.reports.documents import Report, ReportOptions
    from flames.reports.frames import to_frames
    from flames.reports.gate import GateOutcome
    from flames.reports.report import write_reports
    from flames.reports.run_outcome import RunOutcome
    from flames.reports.trend import TrendOptions, TrendReport
    from flames.scorers.base import Scorer, ScorerContext, ScorerInfo
    from flames.scorers.options import ScoreOptions
    from flames.scorers.registry import load_scorer
    from flames.scorers.scoring import score_file, score_run
    from flames.storage.run_dir import RunDir, open_run
    from flames.taxonomy import Taxonomy, load_taxonomy

_PLACES = {
    "analysis.gate_rules": "GateOptions",
    "analysis.inputs": "MeasureOptions",
    "analysis.loading": "load_sources",
    "collect.ask": "ask",
    "collect.settings": "AskSettings BatchOptions",
    "errors": "FlamesError InputError OutsideError UsageError",
    "metrics.result": "to_frame",
    "metrics.source": "Source",
    "models.base": "ChatModel Sampling",
    "models.load": "CallableModel ModelOptions load_model",
    "pipeline.runs": "run score",
    "pipeline.asynchronous": "arun",
    "pipeline.comparing": "certify compare trend",
    "pipeline.gating": "gate",
    "pipeline.study_run": "StudyOutcome study",
    "pipeline.verdicts": "measure report",
    "prompts.sets": "PromptSet load_prompts",
    "records": "Prompt Response Verdict",
    "reports.certificate": "CertificateReport CertifyOptions",
    "reports.comparison_document": "CompareOptions ComparisonReport",
    "reports.documents": "Report ReportOptions",
    "reports.frames": "to_frames",
    "reports.gate": "GateOutcome",
    "reports.run_outcome": "RunOutcome",
    "reports.report": "write_reports",
    "reports.trend": "TrendOptions TrendReport",
    "scorers.base": "Scorer ScorerContext ScorerInfo",
    "scorers.options": "ScoreOptions",
    "scorers.registry": "load_scorer",
    "scorers.scoring": "score_file score_run",
    "storage.run_dir": "RunDir open_run",
    "taxonomy": "Taxonomy load_taxonomy",
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names.split()}

__all__ = [
    "AskSettings",
    "BatchOptions",
    "CallableModel",
    "CertificateReport",
    "CertifyOptions",
    "ChatModel",
    "CompareOptions",
    "ComparisonReport",
    "FlamesError",
    "GateOptions",
    "GateOutcome",
    "InputError",
    "MeasureOptions",
    "ModelOptions",
    "OutsideError",
    "Prompt",
    "PromptSet",
    "Report",
    "ReportOptions",
    "Response",
    "RunDir",
    "RunOutcome",
    "Sampling",
    "ScoreOptions",
    "Scorer",
    "ScorerContext",
    "ScorerInfo",
    "Source",
    "StudyOutcome",
    "Taxonomy",
    "TrendOptions",
    "TrendReport",
    "UsageError",
    "Verdict",
    "__version__",
    "arun",
    "ask",
    "certify",
    "compare",
    "gate",
    "load_model",
    "load_prompts",
    "load_scorer",
    "load_sources",
    "load_taxonomy",
    "measure",
    "open_run",
    "report",
    "run",
    "score",
    "score_file",
    "score_run",
    "study",
    "to_frame",
    "to_frames",
    "trend",
    "write_reports",
]


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
