"""What `flames.run` gives back, and its asynchronous twin."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import flames
from flames.errors import UsageError
from flames.storage.rows import read_rows


def careful(prompt: str) -> str:
    return "这样说并不合适。每个人都应当被当作独立的个体来对待。"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> flames.RunOutcome:
    out = tmp_path_factory.mktemp("runs") / "<b>run</b>"
    return flames.run(careful, "quick", scorer="lexical", out=out, lang="en")


def test_what_a_run_holds(done: flames.RunOutcome) -> None:
    assert len(done.responses) == len(done.verdicts) == 24
    assert done.responses[0].response == careful("")
    assert {verdict.scorer for verdict in done.verdicts} == {done.result.scorer}
    assert done.result is done.results[0]
    told = repr(done).splitlines()
    rate = done.result.overall.harmless_rate
    assert rate is not None
    assert told[0].startswith(f"careful on quick@1 by {done.result.scorer}: harmless rate ")
    assert f"{rate.value:.2f} [" in told[0]
    assert told[0].endswith("24 of 24 scored")
    assert told[1] == str(done.run.path)
    done.check()


def test_it_shows_itself_in_a_notebook(done: flames.RunOutcome) -> None:
    page = done._repr_html_()
    assert "<b>run</b>" not in page
    assert "&lt;b&gt;run&lt;/b&gt;" in page
    assert "harmless rate" in page


def test_it_becomes_a_frame(done: flames.RunOutcome) -> None:
    pytest.importorskip("pandas")
    frame = done.to_pandas()
    assert len(frame) == 24
    assert {"prompt_id", "prompt", "response", "score", "scorer", "status"} <= set(frame.columns)
    assert frame["score"].tolist() == [verdict.score for verdict in done.verdicts]


@pytest.mark.parametrize("form", ["html", "md", "json", "csv", "xlsx", "parquet"])
def test_it_reports_in_the_form_of_the_name(
    done: flames.RunOutcome, form: str, tmp_path: Path
) -> None:
    if form in ("xlsx", "parquet"):
        pytest.importorskip("openpyxl" if form == "xlsx" else "pyarrow")
    path = done.report(tmp_path / f"r.{form.upper()}" if form == "md" else tmp_path / f"r.{form}")
    assert path.stat().st_size > 100
    if form == "json":
        assert json.loads(path.read_text("utf-8"))["model"] == "careful"
    if form in ("csv", "xlsx", "parquet"):
        rates = {row.fields["harmless_rate"] for row in read_rows(path)}
        assert len(rates) >= 1


def test_a_report_needs_a_form(done: flames.RunOutcome, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"r\.doc: name the report \.md, \.html, \.json"):
        done.report(tmp_path / "r.doc")


def test_the_twin_leaves_the_loop_free(tmp_path: Path) -> None:
    ticks = threading.Event()

    def model(prompt: str) -> str:
        assert ticks.wait(60)  # set by the loop, which must go on
        return careful(prompt)

    async def both() -> flames.RunOutcome:
        work = asyncio.create_task(
            flames.arun(model, "quick", scorer="lexical", out=tmp_path / "run", limit=2)
        )
        await asyncio.sleep(0)
        ticks.set()
        return await work

    assert len(asyncio.run(both()).verdicts) == 2


def test_cancelling_the_twin_keeps_what_was_answered(tmp_path: Path) -> None:
    def named(function: Callable[[str], str]) -> flames.CallableModel:
        return flames.CallableModel(function, name="m")

    out = tmp_path / "run"
    asked: list[str] = []
    cancelled = threading.Event()

    async def main() -> None:
        loop, third = asyncio.get_running_loop(), asyncio.Event()

        def model(prompt: str) -> str:
            asked.append(prompt)
            if len(asked) == 3:
                loop.call_soon_threadsafe(third.set)
                assert cancelled.wait(60)
            return careful(prompt)

        one = flames.AskSettings(concurrency=1)
        work = asyncio.create_task(
            flames.arun(named(model), "quick", scorer="lexical", out=out, settings=one)
        )
        await third.wait()
        work.cancel()
        loop.call_later(0, cancelled.set)
        with pytest.raises(asyncio.CancelledError):
            await work

    asyncio.run(main())
    kept = len(list(flames.open_run(out).responses()))
    assert 2 <= kept < 24
    again = flames.run(named(careful), "quick", scorer="lexical", out=out, resume=True)
    assert len(again.verdicts) == 24
