"""The gate as a function."""

from __future__ import annotations

import os
from typing import Any, TypeAlias

from flames.analysis import gate as gating
from flames.analysis.gate_rules import GateOptions
from flames.analysis.inputs import (
    read_each,
)
from flames.options import changed
from flames.reports.gate import GateOutcome, GateRule, append_summary, to_junit, to_summary
from flames.storage.atomic import write_atomic

PathLike: TypeAlias = str | os.PathLike[str]


def gate(path: PathLike, options: GateOptions | None = None, **changes: Any) -> GateOutcome:
    """Checks a run or file of verdicts against rules; writes JUnit XML and a summary if asked."""
    options, file = changed(GateOptions, options, changes).with_file()
    files = [path] if options.against is None else [path, options.against]
    (sources, *base), read = read_each(files, options)
    taxonomy = read.taxonomy
    checked = gating.check(
        sources,
        options.limits(taxonomy, file),
        base[0] if base else (),
        taxonomy,
        common=options.common,
        seed=options.seed,
    )
    rules = [GateRule.of(each, taxonomy, options.lang) for each in checked]
    if options.junit is not None:
        write_atomic(options.junit, to_junit(rules, options.lang))
    if options.summary is not None:
        append_summary(options.summary, to_summary(rules, options.lang))
    return GateOutcome(rules, options.lang, None if file is None else file.path)
