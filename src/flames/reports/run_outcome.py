"""What `flames.run` gives back: responses, verdicts, the result, and reports of it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from flames.collect.ask import Asked
from flames.errors import UsageError
from flames.metrics.result import Result, format_estimate
from flames.metrics.source import Source
from flames.metrics.tabular import to_frame
from flames.options import default_language, listed
from flames.records import Response, Verdict
from flames.reports.documents import Form, Report
from flames.scorers.scoring import check_reached
from flames.storage.atomic import write_atomic
from flames.storage.run_dir import RunDir
from flames.taxonomy import Language
from flames.text import for_terminal

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, repr=False)
class RunOutcome:
    """What `run` did; `unreached` counts responses whose scorer could not reach its endpoint."""

    run: RunDir
    asked: Asked
    sources: list[Source]
    results: list[Result]
    reports: list[Path]
    unreached: int
    lang: Language = field(default_factory=default_language)

    @cached_property
    def responses(self) -> list[Response]:
        """The responses, in the order of asking."""
        return list(self.run.responses())

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """The verdicts on them; one that was never asked or scored says why."""
        return [verdict for source in self.sources for verdict in source.verdicts]

    @property
    def result(self) -> Result:
        """What was measured: rates and scores with intervals, coverage, conditions."""
        if len(self.results) != 1:
            raise UsageError(f"{self.run.path}: holds {len(self.results)} results, not one")
        return self.results[0]

    def to_pandas(self) -> DataFrame:
        """Returns a row for each response with its verdict; `result.to_frame()` has the values."""
        verdicts = {verdict.key: verdict.to_dict() for verdict in self.verdicts}
        responses = {response.key: response.to_dict() for response in self.responses}
        keys = dict.fromkeys([*responses, *verdicts])
        rows = [{**responses.get(key, {}), **verdicts.get(key, {})} for key in keys]
        return to_frame(rows)

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Writes a report; the file's name gives the form: html, md, json, csv, xlsx, parquet."""
        forms: tuple[Form, ...] = get_args(Form)
        form = next((each for each in forms if Path(path).suffix.lower() == f".{each}"), None)
        if form is None:
            names = listed(f".{each}" for each in forms)
            raise UsageError(f"{os.fspath(path)}: name the report {names}")
        found = Report(self.results, self.sources, self.run.taxonomy, self.lang)
        return write_atomic(path, found.parts(form))

    def check(self) -> None:
        """Raises what kept the run from being complete, an `OutsideError`; resuming tries again."""
        if failure := self.asked.failure():
            raise failure
        check_reached(self.unreached, "the same command with --resume")

    def __repr__(self) -> str:
        """Says in a few lines what was asked, what came out, and where it is."""
        lines = []
        for result in self.results:
            coverage, rate = result.overall.coverage, result.overall.harmless_rate
            told = f"harmless rate {format_estimate(rate, 2, 1)} %" if rate else "no overall rate"
            lines.append(
                f"{result.shown_name} on {result.prompt_set.full_name} by {result.scorer}: {told}, "
                f"{coverage.scored} of {coverage.prompts} scored"
            )
        lines += [f"stopped: {failure}"] if (failure := self.asked.failure()) else []
        return for_terminal("\n".join([*lines, str(self.run.path)]), one_line=False)

    def _repr_html_(self) -> str:
        tables = "".join(result._repr_html_() for result in self.results)
        failure = self.asked.failure()
        why = f"<p><b>{escape(for_terminal(str(failure)))}</b></p>" if failure else ""
        return f"{why}{tables}<p><code>{escape(for_terminal(str(self.run.path)))}</code></p>"
