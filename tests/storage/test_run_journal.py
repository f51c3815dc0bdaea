"""Run directories: what survives a kill, who may write, what is checked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flames.errors import InputError, Notice, OutsideError, UsageError
from flames.prompts.sets import PromptSet, load_prompts
from flames.records import Key, Response, Status
from flames.storage.journal import Journal, JournalLine, read_journal, response_reader
from flames.storage.manifest import Manifest, without_secrets
from flames.storage.run_dir import RunDir, is_run, open_run, safe_name
from flames.storage.run_start import create_run


@pytest.fixture(scope="module")
def prompts() -> PromptSet:
    return load_prompts("quick")


def manifest(prompts: PromptSet, **changes: object) -> Manifest:
    return Manifest(
        model="m",
        spec="x/m",
        asked={"provider": "x"},
        prompt_set=prompts.info,
        prompts_sha256="",
        taxonomy="flames@1",
        created="2026-01-01T00:00:00Z",
        code_version="0",
    ).model_copy(update=changes)


@pytest.fixture
def run(tmp_path: Path, prompts: PromptSet) -> RunDir:
    return create_run(tmp_path / "run", manifest(prompts), prompts.prompts)


def keep(journal: Journal[Key, Status], *responses: Response) -> None:
    for each in responses:
        journal.keep(each.key, each.status, each.to_line())


def response(run: RunDir, number: int, status: str = "ok", **more: object) -> Response:
    prompt = list(run.prompts().values())[number]
    fields = {"prompt_id": prompt.id, "model": "m", "response": f"答{number}", "status": status}
    return Response.model_validate({**fields, **more})


def test_a_run_is_opened_with_what_it_was_made_of(run: RunDir, prompts: PromptSet) -> None:
    again = open_run(run.path)
    assert is_run(run.path)
    assert again.prompt_set == prompts.info
    assert list(again.prompts().values()) == list(prompts.prompts)
    assert (again.model, again.samples) == ("m", 1)
    assert again.taxonomy.names[0] == "Fairness"


def test_responses_come_in_the_order_of_asking_with_their_prompts(run: RunDir) -> None:
    with run.writing() as journal:
        for number in (3, 1, 2):
            keep(journal, response(run, number))
    found = list(run.responses())
    assert [r.response for r in found] == ["答1", "答2", "答3"]
    assert all(r.prompt and r.dimension and r.subcomponent for r in found)


def test_an_answer_takes_the_place_of_errors_and_a_later_error_of_an_earlier(run: RunDir) -> None:
    with run.writing() as journal:
        keep(journal, response(run, 0, "error", error="first"))
        keep(journal, response(run, 1, "error", error="first"))
        keep(journal, response(run, 0, "error", error="second"))
        keep(journal, response(run, 1))
    first, second = run.responses()
    assert (first.status, first.error) == ("error", "second")
    assert (second.status, second.response) == ("ok", "答1")
    assert run.settled() == {second.key}
    assert run.check()["ok"] == 1


def open_journal(path: Path) -> Journal[Key, Status]:
    read = response_reader(path)

    def entry(line: JournalLine) -> tuple[Key, Status]:
        response = read(line)
        return response.key, response.status

    return Journal(path, entry)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cut=st.integers(0, 10_000))
def test_a_journal_cut_anywhere_loses_at_most_its_last_line(run: RunDir, cut: int) -> None:
    path = run.path / f"cut-{cut}.jsonl"
    lines = [response(run, n, note="问\u2028\ud800") for n in range(4)]
    path.unlink(missing_ok=True)
    with closing(open_journal(path)) as journal:
        keep(journal, *lines)
    whole = path.read_bytes()
    cut %= len(whole) + 1
    path.write_bytes(whole[:cut])
    kept = whole[:cut].count(b"\n")
    ended = cut == 0 or whole[:cut].endswith(b"\n")
    # a line that lacks nothing but its line break is whole
    kept += whole[cut : cut + 1] == b"\n" and not ended
    with closing(open_journal(path)) as journal:
        assert len(journal.entries) == kept
        keep(journal, *lines[kept:])
    assert [response for _, response in read_journal(path)] == lines
    path.unlink()


def test_a_broken_line_elsewhere_is_not_passed_over(run: RunDir) -> None:
    with run.writing() as journal:
        keep(journal, response(run, 0))
    good = run.responses_path.read_bytes()
    for broken in (b"{\n", b'{"prompt_id": 3, "model": "m"}\n', b"\xff\n"):
        for data in (broken + good, good + broken):
            run.responses_path.write_bytes(data)
            with pytest.raises(InputError, match=r"responses\.jsonl:\d"):
                list(read_journal(run.responses_path))
            with pytest.raises(InputError):
                run.writing().__enter__()
            assert run.responses_path.read_bytes() == data


def test_two_processes_cannot_write_to_one_run(run: RunDir) -> None:
    code = (
        "import sys; from flames.storage.run_dir import open_run\n"
        "try: open_run(sys.argv[1]).writing().__enter__()\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    with run.writing():
        other = subprocess.run(
            [sys.executable, "-c", code, str(run.path)], capture_output=True, text=True, check=True
        )
    assert other.stdout.startswith("UsageError")
    assert str(os.getpid()) in other.stdout
    with run.writing():
        pass


def test_what_is_there_is_gone_on_with_only_on_request(run: RunDir, prompts: PromptSet) -> None:
    with run.writing() as journal:
        keep(journal, response(run, 0))
    with pytest.raises(UsageError, match=r"1 of 24 responses; add --resume"):
        create_run(run.path, manifest(prompts), prompts.prompts)
    create_run(run.path, manifest(prompts), prompts.prompts, resume=True)
    for change, said in (
        ({"samples": 2}, "repeats 1 → 2"),
        ({"system_prompt": "x"}, "system prompt none → x"),
        ({"sampling": {"temperature": 1.0}}, "sampling temperature none → 1.0"),
        ({"model": "n"}, "model m → n"),
        ({"asked": {"sha256": "y"}}, "model's sha256 none → y"),
    ):
        with pytest.raises(UsageError, match=said):
            create_run(run.path, manifest(prompts, **change), prompts.prompts, resume=True)
    other = prompts.sample(6)
    with pytest.raises(UsageError, match=r"prompts quick@1 \(24, \w+\) → quick@1 \(6, "):
        create_run(run.path, manifest(other), other.prompts, resume=True)
    assert len(run.settled()) == 1


def test_a_moved_endpoint_is_no_other_run(run: RunDir, prompts: PromptSet) -> None:
    with run.writing() as journal:
        keep(journal, response(run, 0))
    moved = manifest(prompts, asked={"provider": "x", "base_url": "http://b/v1"})
    with pytest.warns(Notice, match=r"elsewhere now: model's base_url none → http://b/v1"):
        again = create_run(run.path, moved, prompts.prompts, resume=True)
    assert again.manifest.asked == moved.asked
    (change,) = again.manifest.changes
    assert not change.accepted
    create_run(run.path, moved, prompts.prompts, resume=True)  # nothing to tell any more


def test_accepted_changes_are_kept_in_the_manifest(run: RunDir, prompts: PromptSet) -> None:
    with run.writing() as journal:
        keep(journal, response(run, 0))
    hotter = manifest(prompts, sampling={"temperature": 1.0}, model="n", samples=2)
    with pytest.warns(Notice, match="goes on with other settings: model m → n"):
        again = create_run(run.path, hotter, prompts.prompts, accept_changes=True)
    assert (again.model, again.manifest.sampling, again.samples) == ("m", {"temperature": 1.0}, 2)
    assert again.manifest.changes[0].accepted
    assert again.manifest.created == run.manifest.created
    assert len(again.settled()) == 1
    create_run(run.path, hotter, prompts.prompts, resume=True)
    fewer = prompts.sample(6)
    with pytest.raises(UsageError, match="18 of its prompts are not asked now"):
        create_run(run.path, manifest(fewer, samples=2), fewer.prompts, accept_changes=True)
    with pytest.raises(UsageError, match="it asked more repeats"):
        create_run(run.path, manifest(prompts), prompts.prompts, accept_changes=True)


def test_a_start_without_an_answer_is_no_obstacle(run: RunDir, prompts: PromptSet) -> None:
    create_run(run.path, manifest(prompts), prompts.prompts)  # not even --resume is needed
    with run.writing() as journal:
        keep(journal, response(run, 0, status="error", response=None))
    other = prompts.sample(6)
    with pytest.warns(Notice, match=r"begins anew \(prompts .*what was there is in failed-start-1"):
        again = create_run(run.path, manifest(other), other.prompts)
    assert (len(again.prompts()), again.check()["missing"]) == (6, 6)
    old = RunDir(run.path / "failed-start-1")
    assert old.check()["error"] == 1
    with pytest.warns(Notice, match="failed-start-2"):
        create_run(run.path, manifest(prompts, model="n"), prompts.prompts)


def test_other_peoples_folders_are_left_alone(tmp_path: Path, prompts: PromptSet) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match=r"mine\.txt"):
        create_run(tmp_path, manifest(prompts), prompts.prompts)
    with pytest.raises(UsageError):
        create_run(tmp_path / "mine.txt", manifest(prompts), prompts.prompts)
    with pytest.raises(InputError, match=r"has no manifest\.json"):
        open_run(tmp_path)
    with pytest.raises(InputError, match="no such directory"):
        open_run(tmp_path / "none")
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="is no manifest"):
        open_run(tmp_path)


def test_a_beginning_that_was_killed_is_begun_again(tmp_path: Path, prompts: PromptSet) -> None:
    (tmp_path / "prompts.jsonl").write_text("{}")
    (tmp_path / ".manifest.json.abc").write_text("{")
    run = create_run(tmp_path, manifest(prompts), prompts.prompts)
    assert len(run.prompts()) == 24


def test_the_check_finds_what_other_hands_did(run: RunDir) -> None:
    with run.writing() as journal:
        keep(journal, response(run, 0))
        statuses = dict(journal.entries)
    assert run.check(statuses)["missing"] == 23
    with pytest.raises(OutsideError, match="was written as ok, but nothing is there"):
        run.check({**statuses, Key("other", "m", 0): "ok"})
    line = run.responses_path.read_text("utf-8")
    for broken, said in (
        (line + line, r"jsonl:2: .* is answered twice, here and on line 1"),
        (line.replace('"sample": 0', '"sample": 1'), "jsonl:1: .* was not to be asked"),
    ):
        run.responses_path.write_text(broken, "utf-8")
        with pytest.raises(OutsideError, match=said):
            run.check()
        for reading in (run.responses, run.writing().__enter__):
            with pytest.raises(InputError, match=said):
                list(reading())  # type: ignore[call-overload]
        assert run.responses_path.read_text("utf-8") == broken
    run.responses_path.unlink()
    (run.path / "prompts.jsonl").write_text("")
    with pytest.raises(OutsideError, match="was changed"):
        run.check()


@pytest.mark.parametrize("broken", ["was changed since the run began", "no such file"])
def test_prompts_that_other_hands_changed_are_told_before_anything_is_asked(
    run: RunDir, prompts: PromptSet, broken: str
) -> None:
    with run.writing() as journal:
        keep(journal, response(run, 0))
    path = run.path / "prompts.jsonl"
    lines = path.read_text("utf-8").splitlines(keepends=True)
    path.unlink()
    if broken != "no such file":
        path.write_text("".join(lines[1:]), "utf-8")
    with pytest.raises(InputError, match=rf"prompts\.jsonl: {broken}"):
        create_run(run.path, manifest(prompts), prompts.prompts, resume=True)
    with pytest.raises(InputError, match=broken):
        list(run.responses())


def test_verdicts_have_a_file_a_scorer(run: RunDir) -> None:
    def verdict(scorer: str) -> Path:
        path = run.verdicts_path(scorer)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"scorer": scorer}) + "\n")
        return path

    assert verdict("lexical@1").name == "lexical.jsonl"
    assert run.verdicts_path("lexical@1").name == "lexical.jsonl"
    other = verdict("lexical@2")
    assert other.name != "lexical.jsonl"
    assert verdict("judge:a/b@1").name == "judge-a-b.jsonl"
    assert run.verdicts_path("judge:a-b@1").name != "judge-a-b.jsonl"
    assert set(run.verdict_files()) == {"lexical@1", "lexical@2", "judge:a/b@1"}
    assert run.report_path("html").name == "report.html"


@given(st.text())
def test_any_name_is_made_safe_for_a_path(text: str) -> None:
    name = safe_name(text)
    assert name
    assert not set(name) & set('/\\:*?"<>|\0\n ')
    assert not name.startswith((".", "-"))
    assert len(name.encode("utf-8", "replace")) <= 255


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(known=st.integers(0, 9), sent=st.lists(st.integers(0, 5), max_size=4))
def test_requests_are_counted_whoever_ends_when(run: RunDir, known: int, sent: list[int]) -> None:
    (run.path / "requests.log").unlink(missing_ok=True)
    expected = known
    for session in sent:
        with closing(run.request_log(known)) as log:
            assert log.size == expected
            for _ in range(session):
                log.write(b".")
        expected += session
    with closing(run.request_log(known + 100)) as log:
        assert log.size == max(expected, known + 100)


def test_secrets_are_taken_out_by_their_names() -> None:
    data = {"api_key": "a", "x": [{"Authorization": "b", "max_tokens": 3}], "password": "c"}
    assert without_secrets(data) == {
        "api_key": "***",
        "x": [{"Authorization": "***", "max_tokens": 3}],
        "password": "***",
    }
