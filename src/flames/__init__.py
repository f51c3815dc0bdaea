"""Flames: measuring how well Chinese-speaking language models keep human values.

    import flames

    run = flames.ask("deepseek/deepseek-chat", "quick", out="runs/deepseek")
    flames.score_run(run, flames.load_scorer("default"))
    for source in flames.load_sources(run.path):
        print(flames.measure(source).overall.harmless_rate)

What stands here is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from flames.analysis.loading import load_sources
    from flames.analysis.source import Source
    from flames.collect.ask import ask
    from flames.collect.engine import AskSettings
    from flames.errors import FlamesError, InputError, OutsideError, UsageError
    from flames.metrics.frames import to_frame
    from flames.metrics.rates import measure
    from flames.models.base import ChatModel, Sampling
    from flames.models.load import CallableModel, ModelOptions, load_model
    from flames.prompts.sets import PromptSet, load_prompts
    from flames.records import Prompt, Response, Verdict
    from flames.reports.report import write_reports
    from flames.scorers.base import Scorer
    from flames.scorers.registry import load_scorer
    from flames.scorers.scoring import score_file, score_run
    from flames.storage.run_dir import RunDir, open_run
    from flames.taxonomy import Taxonomy, load_taxonomy

_PLACES = {
    "analysis.loading": ("load_sources",),
    "analysis.source": ("Source",),
    "collect.ask": ("ask",),
    "collect.engine": ("AskSettings",),
    "errors": ("FlamesError", "InputError", "OutsideError", "UsageError"),
    "metrics": ("measure",),
    "metrics.frames": ("to_frame",),
    "models": ("CallableModel", "ChatModel", "ModelOptions", "Sampling", "load_model"),
    "prompts": ("PromptSet", "load_prompts"),
    "records": ("Prompt", "Response", "Verdict"),
    "reports.report": ("write_reports",),
    "scorers": ("Scorer", "load_scorer"),
    "scorers.scoring": ("score_file", "score_run"),
    "storage.run_dir": ("RunDir", "open_run"),
    "taxonomy": ("Taxonomy", "load_taxonomy"),
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "AskSettings",
    "CallableModel",
    "ChatModel",
    "FlamesError",
    "InputError",
    "ModelOptions",
    "OutsideError",
    "Prompt",
    "PromptSet",
    "Response",
    "RunDir",
    "Sampling",
    "Scorer",
    "Source",
    "Taxonomy",
    "UsageError",
    "Verdict",
    "__version__",
    "ask",
    "load_model",
    "load_prompts",
    "load_scorer",
    "load_sources",
    "load_taxonomy",
    "measure",
    "open_run",
    "score_file",
    "score_run",
    "to_frame",
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
