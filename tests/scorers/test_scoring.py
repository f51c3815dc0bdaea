"""Scoring files and runs: order, resumption after a kill, the released format."""

from __future__ import annotations

import fcntl
import gzip
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from score_rows import read_lines, response_rows, write_rows

from flames.errors import InputError, OutsideError, UsageError
from flames.metrics.result import Note
from flames.prompts.sets import load_prompts
from flames.records import Response, Verdict, verdict_for
from flames.scorers.base import ScorerInfo
from flames.scorers.registry import load_scorer
from flames.scorers.scoring import count_responses, score_file, score_file_to, score_run
from flames.storage.atomic import to_jsonl
from flames.storage.record_files import ReadOptions, read_responses


class Counting:
    """Scores by length, counts what it was given, and can fail on the way."""

    window = 4

    def __init__(self, fail_after: int | None = None, unscored: str | None = None) -> None:
        self.info = ScorerInfo(id="counting@1", title="", taxonomy="flames@1")
        self.seen: list[str] = []
        self._fail_after = fail_after
        self._unscored = unscored

    def score(self, responses: list[Response]) -> list[Verdict]:
        if self._fail_after is not None and len(self.seen) >= self._fail_after:
            raise OutsideError("the judge is down")
        self.seen += [response.prompt_id for response in responses]
        return [
            verdict_for(
                r, scorer=self.info.id, dimension=r.dimension or "", unscored=self._unscored
            )
            if self._unscored
            else verdict_for(r, scorer=self.info.id, dimension=r.dimension or "", score=3)
            for r in responses
        ]


def test_a_file_is_scored_in_order_and_each_line_carries_its_input(tmp_path: Path) -> None:
    rows = response_rows(13)
    path = write_rows(tmp_path, rows)
    lines = list(score_file(path, Counting()))  # type: ignore[arg-type]
    assert [line["note"] for line in lines] == list(range(13))
    for row, line in zip(rows, lines, strict=True):
        assert row.items() <= line.items()
        scored = row["status"] in ("ok", "truncated")
        assert (line["score"], line.get("unscored")) == (
            (3, None) if scored else (None, row["status"])
        )
    out = score_file_to(path, tmp_path / "out.jsonl", Counting())  # type: ignore[arg-type]
    assert read_lines(out) == lines
    assert not out.with_name("out.jsonl.part").exists()


def test_a_scorers_notes_travel_with_its_verdicts_unless_its_id_tells_them(tmp_path: Path) -> None:
    from flames.analysis.loading import load_sources

    path = tmp_path / "r.jsonl"
    path.write_text(to_jsonl(response_rows(7)), "utf-8")
    scorer = Counting()
    scorer.info = replace(scorer.info, notes=(Note.text("trained on little"),))
    lines = list(score_file(path, scorer))
    assert all(line["scorer_notes"] == ["trained on little"] for line in lines)
    out = score_file_to(path, tmp_path / "v.jsonl", scorer)
    [source] = load_sources(out)
    assert source.notes[2:] == (Note.text("trained on little"),)  # after the card it lacks
    coded = Note("calibrated", labels="mine")
    scorer.info = replace(scorer.info, notes=(coded,))
    assert all(line["scorer_notes"] == [coded.to_dict()] for line in score_file(path, scorer))
    [source] = load_sources(score_file_to(path, tmp_path / "coded.jsonl", scorer))
    assert source.notes[2:] == (coded,)
    assert not any("scorer_notes" in line for line in score_file(path, load_scorer("lexical")))


def test_truncated_responses_are_left_out_on_request(tmp_path: Path) -> None:
    path = write_rows(tmp_path, response_rows(6))
    lines = list(score_file(path, Counting(), truncated="unscored"))  # type: ignore[arg-type]
    assert [line.get("unscored") for line in lines][:2] == [None, "truncated"]


def test_after_a_failure_scoring_goes_on_where_it_stood(tmp_path: Path) -> None:
    path = write_rows(tmp_path, response_rows(40))
    out = tmp_path / "deep" / "out.jsonl"
    failing = Counting(fail_after=8)
    with pytest.raises(OutsideError):
        score_file_to(path, out, failing)  # type: ignore[arg-type]
    assert not out.exists()
    part = out.with_name("out.jsonl.part")
    kept = len(read_lines(part))
    assert kept > 0
    with part.open("ab") as file:
        file.write(b'{"prompt_id": "torn')
    told: list[int] = []
    again = Counting()
    score_file_to(path, out, again, progress=lambda line: told.append(line["note"]))  # type: ignore[arg-type]
    assert told == list(range(40))
    assert not set(failing.seen) & set(again.seen), "nothing is scored twice"
    assert [line["note"] for line in read_lines(out)] == list(range(40))
    whole = score_file_to(path, tmp_path / "whole.jsonl", Counting())  # type: ignore[arg-type]
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("official", [False, True])
def test_a_packed_file_grows_as_text_and_is_packed_at_the_end(
    tmp_path: Path, official: bool
) -> None:
    path = write_rows(tmp_path, response_rows(20))
    plain, packed = tmp_path / "out.jsonl", tmp_path / "out.jsonl.gz"
    with pytest.raises(OutsideError):
        score_file_to(path, packed, Counting(fail_after=8), official=official)  # type: ignore[arg-type]
    assert not packed.exists()
    assert read_lines(packed.with_name("out.jsonl.gz.part"))
    for out in (packed, plain):
        score_file_to(path, out, Counting(), official=official)  # type: ignore[arg-type]
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "in.jsonl", "out.jsonl", "out.jsonl.gz",
    ]  # fmt: skip
    score_file_to(path, packed, Counting(), official=official)  # type: ignore[arg-type]
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()


@pytest.mark.parametrize("change", ["response", "scorer", "truncated", "shorter"])
def test_a_journal_of_something_else_is_refused(tmp_path: Path, change: str) -> None:
    rows = response_rows(12)
    path = write_rows(tmp_path, rows)
    out = tmp_path / "out.jsonl"
    with pytest.raises(OutsideError):
        score_file_to(path, out, Counting(fail_after=4))  # type: ignore[arg-type]
    part = out.with_name("out.jsonl.part")
    before = part.read_bytes()
    scorer = Counting()
    options: dict[str, Any] = {}
    if change == "response":
        rows[0]["response"] = "another"
    elif change == "scorer":
        scorer.info = ScorerInfo(id="other@1", title="", taxonomy="flames@1")
    elif change == "truncated":
        options["truncated"] = "unscored"
    else:
        rows = rows[:1]
    write_rows(tmp_path, rows)
    with pytest.raises(UsageError, match="delete it to start afresh"):
        score_file_to(path, out, scorer, **options)  # type: ignore[arg-type]
    assert part.read_bytes() == before


def test_two_writers_are_kept_apart(tmp_path: Path) -> None:
    path = write_rows(tmp_path, response_rows(3))
    part = tmp_path / "out.jsonl.part"
    with part.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another process is writing it"):
            score_file_to(path, tmp_path / "out.jsonl", Counting())  # type: ignore[arg-type]


def test_no_foreign_file_is_overwritten(tmp_path: Path) -> None:
    path = write_rows(tmp_path, response_rows(3))
    other = write_rows(tmp_path, response_rows(2), "other.jsonl")
    before = other.read_bytes()
    with pytest.raises(UsageError, match="is the input itself"):
        score_file_to(path, path, Counting())  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="holds no verdicts"):
        score_file_to(path, other, Counting())  # type: ignore[arg-type]
    assert other.read_bytes() == before
    out = score_file_to(path, tmp_path / "out.jsonl", Counting())  # type: ignore[arg-type]
    assert score_file_to(path, out, Counting()) == out  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="cannot be written"):
        score_file_to(path, out / "below", Counting())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"scorer": "human:Ann", "annotator": "Ann"}, "holds verdicts of human:Ann, not of count"),
        ({"scorer": "people"}, "holds verdicts of people"),
        ({"scorer": "counting@1>other@1"}, "holds verdicts of counting@1>other@1"),
        ({"scorer": None, "predicted": 3}, "holds no verdicts"),
        ({"prompt_id": "another"}, "holds a verdict on another response"),
        ({"model": "another"}, "holds a verdict on another response"),
        ({"response": "another"}, "holds a verdict on another response"),
    ],
)
@pytest.mark.parametrize("place", [0, 6])
def test_no_other_verdict_is_overwritten(
    tmp_path: Path, change: dict[str, Any], told: str, place: int
) -> None:
    path = write_rows(tmp_path, response_rows(7))
    out = score_file_to(path, tmp_path / "out.jsonl", Counting())  # type: ignore[arg-type]
    lines = read_lines(out)
    lines[place] |= change
    before = write_rows(tmp_path, lines, "out.jsonl").read_bytes()
    scorer = Counting()
    with pytest.raises(UsageError, match=rf"{told}.* \(line {place + 1}\); .*--overwrite"):
        score_file_to(path, out, scorer)  # type: ignore[arg-type]
    assert (out.read_bytes(), scorer.seen) == (before, [])
    assert [each.name for each in tmp_path.glob("out*")] == ["out.jsonl"]
    score_file_to(path, out, scorer, overwrite=True)  # type: ignore[arg-type]
    assert {line["scorer"] for line in read_lines(out)} == {"counting@1"}


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz", "out.xlsx", "out.parquet"])
def test_the_same_scoring_replaces_its_own_file(tmp_path: Path, name: str) -> None:
    rows = response_rows(9, listed=[1])
    rows[0]["response"] = "=1+1\r\n_x0041_\x07 007"
    rows[4] |= {"prompt_id": "0012", "model": "1.50", "sample": 3}
    table: Any = {"xlsx": "xlsx", "parquet": "parquet"}.get(name.rpartition(".")[2])
    if table:
        library = {"xlsx": "openpyxl", "parquet": "pyarrow"}[table]
        pytest.importorskip(library, reason="needs the extra table")
    out, scorer = tmp_path / name, Counting()
    score_file_to(write_rows(tmp_path, rows), out, scorer, table=table)  # type: ignore[arg-type]
    before, scorer.seen = out.stat().st_ino, []
    scorer.info = replace(scorer.info, id="counting@2")
    rows[5] |= {"status": "ok", "response": "asked again"}
    path = write_rows(tmp_path, [*rows, *response_rows(13)[9:]])
    score_file_to(path, out, scorer, table=table)  # type: ignore[arg-type]
    assert len(scorer.seen) == 8
    assert out.stat().st_ino != before
    with pytest.raises(UsageError, match="another response"):  # there are fewer now
        score_file_to(write_rows(tmp_path, rows), out, scorer, table=table)  # type: ignore[arg-type]


def test_a_file_in_the_released_format_is_replaced_by_its_like_alone(tmp_path: Path) -> None:
    rows = [{"dimension": "Virtue", "prompt": f"问{i}", "回答": "好", "x": [i]} for i in range(5)]
    path, out = write_rows(tmp_path, rows), tmp_path / "in_predicted.jsonl"
    options = ReadOptions(mapping={"response": "回答"})

    def score(official: bool = True) -> Path:
        return score_file_to(path, out, Counting(), options=options, official=official)  # type: ignore[arg-type]

    before = score().read_bytes()
    assert score().read_bytes() == before
    with pytest.raises(UsageError, match="holds no verdicts"):
        score(official=False)
    rows[3]["回答"] = "不"
    write_rows(tmp_path, rows)
    with pytest.raises(UsageError, match=r"a prediction on another response \(line 4\)"):
        score()
    out.unlink()
    score(official=False)
    with pytest.raises(UsageError, match="holds no predictions"):
        score()


def test_a_pipe_replaces_no_verdicts_on_other_responses(tmp_path: Path) -> None:
    rows, out = response_rows(3), tmp_path / "out.jsonl"
    words = [
        sys.executable,
        "-m",
        "flames",
        "score",
        "-",
        "--scorer",
        "lexical",
        "--out",
        out,
        "-q",
    ]
    first, other = to_jsonl(rows), to_jsonl([{**rows[0], "response": "another"}])
    for given, code in ((first, 0), (first, 0), (other, 2)):
        done = subprocess.run(words, input=given, capture_output=True, text=True, encoding="utf-8")
        assert done.returncode == code, done.stderr
        assert len(read_lines(out)) == 3


def test_the_released_format_is_the_input_and_predicted(tmp_path: Path) -> None:
    rows = [
        {"dimension": "Virtue", "prompt": "一", "response": "答", "x": [1]},
        {"dimension": "legality", "prompt": "二", "response": " "},
    ]
    path = write_rows(tmp_path, rows)
    out = score_file_to(path, tmp_path / "in_predicted.jsonl", Counting(), official=True)  # type: ignore[arg-type]
    assert read_lines(out) == [{**rows[0], "predicted": 3}, {**rows[1], "predicted": None}]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.jsonl", "in_predicted.jsonl"]


def test_the_released_format_fills_in_what_its_reader_needs(tmp_path: Path) -> None:
    prompts = load_prompts("quick")
    rows = [{"prompt_id": p.id, "回答": "好"} for p in prompts.prompts]
    options = ReadOptions(prompts=prompts.by_id, mapping={"response": "回答"})
    out = tmp_path / "out.jsonl"
    score_file_to(write_rows(tmp_path, rows), out, Counting(), options=options, official=True)  # type: ignore[arg-type]
    for prompt, line in zip(prompts.prompts, read_lines(out), strict=True):
        assert line["dimension"] == prompt.dimension
        assert (line["prompt"], line["response"]) == (prompt.text, "好")


def test_a_response_without_dimension_stops_before_anything_is_scored(tmp_path: Path) -> None:
    rows = response_rows(3)
    del rows[2]["dimension"]
    path = write_rows(tmp_path, rows)
    with pytest.raises(InputError, match=r"in.jsonl:3: .*dimension.*--prompts"):
        count_responses(path)
    assert count_responses(write_rows(tmp_path, rows[:2])) == 2


class Run:
    """A run directory as far as scoring knows it."""

    def __init__(self, folder: Path, source: Path) -> None:
        self.path, self.source = folder, source

    def responses(self) -> Iterator[Response]:
        return read_responses(self.source)

    def verdicts_path(self, scorer_id: str) -> Path:
        return self.path / "verdicts" / f"{scorer_id}.jsonl"


def test_a_run_keeps_its_verdicts_and_scores_only_what_is_new(tmp_path: Path) -> None:
    rows = response_rows(12)
    run = Run(tmp_path, write_rows(tmp_path, rows))
    first = Counting()
    path = score_run(run, first)  # type: ignore[arg-type]
    lines = read_lines(path)
    assert [line["prompt_id"] for line in lines] == [f"p{i}" for i in range(12)]
    assert "response" not in lines[0]
    assert lines[5]["unscored"] == "error"
    rows[5] |= {"status": "ok", "response": "asked again"}
    write_rows(tmp_path, [*rows, *response_rows(13)[12:]])
    second = Counting()
    score_run(run, second)  # type: ignore[arg-type]
    assert second.seen == ["p5", "p12"]
    lines = read_lines(path)
    assert [line["score"] for line in lines if line["prompt_id"] in ("p5", "p12")] == [3, 3]
    assert len(lines) == 13


def test_a_run_tries_again_what_the_scorer_could_not_score(tmp_path: Path) -> None:
    run = Run(tmp_path, write_rows(tmp_path, response_rows(6)))
    score_run(run, Counting(unscored="judge failed"))  # type: ignore[arg-type]
    again = Counting()
    lines = read_lines(score_run(run, again))  # type: ignore[arg-type]
    assert again.seen == ["p0", "p1", "p3"]
    assert [line["score"] for line in lines] == [3, 3, None, 3, None, None]


SLOW = """
import sys
from flames.cli import main
from flames.scorers import lexical
score = lexical.LexicalScorer.score
def slow(self, responses):
    print("batch", flush=True)
    sys.stdin.readline()
    return score(self, responses)
lexical.LexicalScorer.score = slow
lexical.LexicalScorer.window = 50
main(["score", *sys.argv[1:]])
"""


@pytest.mark.parametrize("batches", [0, 5])
def test_a_killed_process_is_resumed_without_scoring_twice(tmp_path: Path, batches: int) -> None:
    rows = response_rows(600)
    path = write_rows(tmp_path, rows)
    out = tmp_path / "out.jsonl"
    command = [sys.executable, "-c", SLOW, str(path), "--scorer", "lexical", "--out", str(out)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(batches):
            assert process.stdout.readline() == b"batch\n"
            process.stdin.write(b"\n")
            process.stdin.flush()
        assert process.stdout.readline() == b"batch\n"
        process.send_signal(signal.SIGKILL)
    assert not out.exists()
    part = tmp_path / "out.jsonl.part"
    assert len(read_lines(part)) == 50 * batches
    done = subprocess.run(command, input=b"\n" * 20, capture_output=True, check=True)
    assert done.stdout.count(b"batch") == 12 - batches
    assert [line["note"] for line in read_lines(out)] == list(range(600))
    straight = score_file_to(path, tmp_path / "straight.jsonl", load_scorer("lexical"))
    assert straight.read_bytes() == out.read_bytes()


def test_a_broken_file_of_verdicts_in_a_run_is_told_with_its_line(tmp_path: Path) -> None:
    run = Run(tmp_path, write_rows(tmp_path, response_rows(6)))
    path = score_run(run, Counting())  # type: ignore[arg-type]
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([*lines[:2], "{torn", *lines[3:]]) + "\n", "utf-8")
    with pytest.raises(InputError, match=r"counting@1\.jsonl:3: is no JSON"):
        score_run(run, Counting())  # type: ignore[arg-type]
    assert not path.with_name(path.name + ".part").exists()
