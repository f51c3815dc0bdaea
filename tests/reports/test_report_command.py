"""`flames report`: files, runs, pipes, published figures, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flames import __version__
from flames.cli import main
from flames.leaderboard.published import published, published_counts
from flames.records import prompt_id
from flames.scorers.registry import load_scorer
from flames.scorers.scoring import score_run
from flames.storage.atomic import to_jsonl
from flames.storage.manifest import Manifest
from flames.storage.run_start import create_run
from flames.taxonomy import default_taxonomy

FLAMES = default_taxonomy()


@pytest.fixture
def flames(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Runs the command in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as done:
            main(["report", *arguments])
        said = capsys.readouterr()
        return int(done.value.code or 0), said.out, said.err

    return run


def official(path: Path, counts: Any) -> None:
    """A file as the released scorer writes it, with these label counts."""
    rows = [
        {"dimension": name, "prompt": f"{name} {score} {i}", "response": "答", "predicted": score}
        for name, numbers in counts.items()
        for score, n in zip(FLAMES.dimension(name).scale, numbers, strict=True)
        for i in range(n)
    ]
    path.write_text(to_jsonl(rows), encoding="utf-8")


@pytest.mark.parametrize("model", ["ChatGPT", "Claude"])
def test_the_released_scorers_output_gives_the_published_figures(
    flames: Any, tmp_path: Path, model: str
) -> None:
    official(tmp_path / "chat_predicted.jsonl", published_counts()[model])
    code, out, _ = flames("chat_predicted.jsonl", "--format", "json")
    assert code == 0
    data = json.loads(out)
    assert data["model"] == "chat_predicted"
    _, table, _ = flames("chat_predicted.jsonl")
    for row in published():
        if row.model != model:
            continue
        group = data["dimensions"].get(row.dimension, data["overall"])
        assert f"{group['harmless_rate']['value']:.2f}" == f"{row.harmless_rate:.2f}"
        assert f"{row.harmless_rate:.2f}" in table
        if row.harmless_score is not None:
            assert f"{group['harmless_score']['value']:.1f}" == f"{row.harmless_score:.1f}"
            assert f"{row.harmless_score:.1f}" in table
    assert data["overall"]["attack_success_rate"]["value"] == pytest.approx(
        100 - data["overall"]["harmless_rate"]["value"]
    )


def make_run(path: Path, prompts: int = 24) -> Any:
    """A run of a model that answers everything, some of it blocked or cut off."""
    from flames.prompts.sets import load_prompts
    from flames.records import Response

    whole = load_prompts("quick")
    manifest = Manifest(
        model="toy",
        spec="toy",
        asked={},
        prompt_set=whole.info,
        prompts_sha256="",
        taxonomy=FLAMES.id,
        created="2026-11-22T00:00:00Z",
        code_version=__version__,
    )
    run = create_run(path, manifest, whole.prompts)
    status = {3: "blocked", 5: "truncated"}
    with run.writing() as journal:
        for number, prompt in enumerate(whole.prompts[:prompts]):
            response = Response(
                prompt_id=prompt.id,
                model="toy",
                dimension=prompt.dimension,
                subcomponent=prompt.subcomponent,
                prompt=prompt.text,
                response=None if number == 3 else "这样做不合适，请尊重他人。",
                status=status.get(number, "ok"),  # type: ignore[arg-type]
            )
            journal.keep(response.key, response.status, response.to_line())
    return run


def test_a_run_gets_its_reports_written_anew(flames: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", prompts=23)
    score_run(run, load_scorer("lexical"))
    code, out, err = flames("run", "--lang", "zh")
    assert code == 0
    assert "toy" in out
    assert "被拦截 1" in out
    assert "未提问 1" in out
    assert err.split() == [f"run/report.{form}" for form in ("html", "md", "json")]
    assert "基线" in out or "baseline" in out.lower()
    data = json.loads((tmp_path / "run/report.json").read_text("utf-8"))
    assert data["prompt_set"]["name"] == "quick"
    assert data["overall"]["coverage"]["truncated"] == 1
    assert 'data-lang="zh"' in (tmp_path / "run/report.html").read_text("utf-8")
    before = (tmp_path / "run/report.json").read_bytes()
    assert flames("run", "--format", "json")[1].encode() == before
    flames("run", "--truncated", "unscored")
    data = json.loads((tmp_path / "run/report.json").read_text("utf-8"))
    assert data["overall"]["coverage"]["unscored"]["truncated"] == 1


def test_several_scorers_of_a_run_stand_side_by_side(flames: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    code, _, err = flames("run")
    assert code == 2
    assert "no verdicts yet" in err
    score_run(run, load_scorer("lexical"))
    verdicts = next(iter(run.verdict_files().values())).read_text("utf-8")
    labels = tmp_path / "people.jsonl"
    labels.write_text(verdicts.replace('"lexical@', '"people@'), encoding="utf-8")
    score_run(run, load_scorer(f"labels:{labels}"))
    assert flames("run")[0] == 0
    results = json.loads((tmp_path / "run/report.json").read_text("utf-8"))["results"]
    assert [result["scorer"].split("@")[0] for result in results] == ["labels:people", "lexical"]
    assert flames("run", "--scorer", "lexical", "--format", "csv")[0] == 0


def test_json_is_an_alias_of_the_format(flames: Any, tmp_path: Path) -> None:
    official(tmp_path / "a.jsonl", published_counts()["Claude"])
    code, out, _ = flames("a.jsonl", "--json")
    assert code == 0
    assert out == flames("a.jsonl", "--format", "json")[1]
    assert flames("a.jsonl", "--json", "--out", "a.json")[1] == ""
    assert (tmp_path / "a.json").read_text("utf-8") == out
    code, _, err = flames("a.jsonl", "--json", "--format", "md")
    assert code == 2
    assert "--json is --format json, not md" in err


def test_several_sources_make_a_list(flames: Any) -> None:
    code, out, _ = flames("labels:silver", "--format", "json")
    assert code == 0
    assert len(json.loads(out)["results"]) == 7


def test_the_set_that_was_asked_counts_what_is_missing(
    flames: Any, tmp_path: Path, formal_file: Path
) -> None:
    code, out, _ = flames(formal_file.name, "--prompts", "open", "--format", "csv")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    overall = [row for row in rows if row["level"] == "overall"]
    assert [(row["n"], row["prompt_set"]) for row in overall] == [("240", "open")]
    assert overall[0]["unscored"] == "not asked: 153"
    _, table, _ = flames(formal_file.name, "--prompts", "open")
    assert "verdicts left out because their prompt is not in open" in table
    (tmp_path / "own.jsonl").write_text(
        to_jsonl([{"dimension": "Safety", "prompt": "别的问题"}]), encoding="utf-8"
    )
    code, _, err = flames(formal_file.name, "--prompts", "own.jsonl")
    assert code == 2
    assert "none of the 354 verdicts is on a prompt of the set own" in err


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"prompt_id": "other"},
            "12 on other responses (labels join by prompt_id, model and sample)",
        ),
        ({"response": "别的"}, "12 with another response text (or prompt) than the verdicts"),
        ({"score": None}, "12 without a score"),
    ],
)
def test_human_labels_of_which_none_can_be_used_are_refused(
    flames: Any, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    rows = [
        {
            "prompt_id": f"p{i}",
            "model": "toy",
            "dimension": "Fairness",
            "response": "不行。",
            "score": 3,
        }
        for i in range(12)
    ]
    (tmp_path / "a.jsonl").write_text(to_jsonl(rows), encoding="utf-8")
    own = [
        {**row, **change, **({"prompt_id": f"other{i}"} if "prompt_id" in change else {})}
        for i, row in enumerate(rows)
    ]
    (tmp_path / "h.jsonl").write_text(to_jsonl(own), encoding="utf-8")
    code, out, err = flames("a.jsonl", "--human", "h.jsonl", "--labels-are-random")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"h.jsonl: no label can be used for 'toy'; there are: {reason}" in err
    (tmp_path / "h.jsonl").write_text(to_jsonl([rows[0], *own[1:]]), encoding="utf-8")
    code, out, _ = flames(
        "a.jsonl", "--human", "h.jsonl", "--labels-are-random", "--format", "md", "--lang", "en"
    )
    assert code == 0
    assert "Responses with labels that were used: 1 (given by: not said)" in out
    assert ": 11." in out


def test_human_labels_join_by_id_and_take_what_they_leave_out(flames: Any, tmp_path: Path) -> None:
    official(tmp_path / "a.jsonl", {name: (9, *[6] * (len(FLAMES.dimension(name).scale) - 1))
                                    for name in FLAMES.names})  # fmt: skip
    labels = [
        {"prompt_id": prompt_id(f"{name} 3 {i}"), "score": 3, "annotator": "甲"}
        for name in FLAMES.names
        for i in range(6)
    ]
    (tmp_path / "h.jsonl").write_text(to_jsonl(labels), encoding="utf-8")
    code, _, err = flames("a.jsonl", "--human", "h.jsonl")
    assert code == 2
    assert "inclusion_probability" in err
    assert "h.jsonl:1: field `inclusion_probability`" in err
    assert "--labels-are-random" in err
    arguments = ("a.jsonl", "--human", "h.jsonl", "--labels-are-random")
    code, out, _ = flames(*arguments, "--target-width", "5", "--format", "json")
    assert code == 0
    human = json.loads(out)["human"]
    assert human["labels"]["used"] == 30
    assert human["labels"]["raters"] == ["甲"]
    assert human["harmless_rate"]["corrected"] is None
    assert {group["labels_needed"] for group in human["dimensions"].values()} == {4}
    code, out, _ = flames(*arguments, "--format", "md", "--lang", "zh")
    assert "仅打分器" in out
    assert "公平：只有 6 条人工标注，不足以给出校正值；还需按同样方式抽取约 4 条。" in out
    renamed = [{"评分" if k == "score" else k: v for k, v in label.items()} for label in labels]
    (tmp_path / "zh.jsonl").write_text(to_jsonl(renamed), encoding="utf-8")
    mapped = ("--human", "zh.jsonl", "--labels-are-random", "--map", "score=评分")
    code, out, _ = flames("a.jsonl", *mapped, "--target-width", "5", "--json")
    assert code == 0
    assert json.loads(out)["human"] == human
    assert flames(*arguments, "--format", "html", "--out", "h.html")[0] == 0
    assert "Humans only" in (tmp_path / "h.html").read_text("utf-8")


def test_models_of_one_name_are_told_apart_in_every_form(flames: Any, tmp_path: Path) -> None:
    rows = [
        {"dimension": "Safety", "prompt_id": f"p{i}", "prompt": f"问{i}", "response": "答",
         "model": "qwen", "scorer": "s@1", "score": 3}
        for i in range(4)
    ]  # fmt: skip
    (tmp_path / "old.jsonl").write_text(to_jsonl(rows), encoding="utf-8")
    rows[2] |= {"prompt": "改过的问", "score": 1}
    (tmp_path / "new.jsonl").write_text(to_jsonl(rows), encoding="utf-8")
    names = ["old.jsonl (qwen)", "new.jsonl (qwen)"]
    files = ("old.jsonl", "new.jsonl")
    found = json.loads(flames(*files, "--format", "json")[1])["results"]
    assert [each["model"] for each in found] == ["qwen", "qwen"]
    assert [each["name"] for each in found] == names
    note = (
        "prompts with the same id but different text in another file of this report: 1, "
        "for example p2"
    )
    of_card = ("card.none", "claim.none")
    told = [[n["text"] for n in r["notes"] if n["code"] not in of_card] for r in found]
    assert told == [[note], [note]]
    table = list(csv.DictReader(io.StringIO(flames(*files, "--format", "csv")[1])))
    assert list(dict.fromkeys(row["model"] for row in table)) == names
    markdown, shown = flames(*files, "--format", "md")[1], flames(*files)[1]
    for name in names:
        assert f"| {name} |" in markdown
        assert name in shown.splitlines()
    assert "文本不同" in flames(*files, "--lang", "zh")[1]
    page = flames(*files, "--format", "html")[1]
    assert f'<a href="#result-2">{names[1]}</a>' in page
    [data] = re.findall(r'id="flames-data">(.*?)</script>', page, re.S)
    browsed = json.loads(data)
    assert browsed["models"] == names
    asked = [browsed["prompts"][row["p"]] for row in browsed["rows"]]
    assert ["p2", "问2"] in asked
    assert ["p2", "改过的问"] in asked
    assert len(asked) == 8
    # By another scorer it is the same model, and a response stands there once with both verdicts.
    rows = [{**row, "scorer": "judge@1", "prompt": None} for row in rows]
    (tmp_path / "new.jsonl").write_text(to_jsonl(rows), encoding="utf-8")
    found = json.loads(flames(*files, "--format", "json")[1])["results"]
    assert all("name" not in each for each in found)
    [data] = re.findall(r'id="flames-data">(.*?)</script>', flames(*files, "--format", "html")[1])
    assert [len(row["v"]) for row in json.loads(data)["rows"]] == [2] * 4


def test_a_set_is_not_named_where_its_prompts_were_reworded(flames: Any, tmp_path: Path) -> None:
    from flames.prompts.sets import load_prompts

    whole = load_prompts("quick")
    rows = [
        {"prompt_id": each.id, "prompt": each.text, "dimension": each.dimension, "score": 3}
        for each in whole.prompts
    ]
    rows[0]["prompt"] += "？？"
    (tmp_path / "v.jsonl").write_text(to_jsonl(rows), encoding="utf-8")
    assert json.loads(flames("v.jsonl", "--format", "json")[1])["prompt_set"]["name"] == "v"
    over = json.loads(flames("v.jsonl", "--format", "json", "--prompts", "quick")[1])
    assert over["overall"]["coverage"]["unscored"] == {"not asked": 1}
    assert [note["text"] for note in over["notes"]] == [
        "verdicts left out because their prompt is not in quick: 1"
    ]
    page = flames("v.jsonl", "--format", "html", "--prompts", "quick")[1]
    assert "？？" not in page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.jsonl"], "missing.jsonl: no such file"),
        (["broken.jsonl"], "broken.jsonl:2: is no JSON"),
        (["responses.jsonl"], "has neither `score` nor `predicted`"),
        (["empty.jsonl"], "holds no verdicts"),
        (["off.jsonl"], "must be 3 or 1 in Legality, got 2"),
        (["."], "is no run"),
        (
            ["labels:silver", "--format", "pdf"],
            "--format takes md, html, json, csv, xlsx or parquet",
        ),
        (["labels:silver", "--out", "x.html"], "--out needs --format"),
        (["labels:silver", "--lang", "fr"], "--lang takes zh or en"),
        (["labels:silver", "--truncated", "gone"], "--truncated takes scored or unscored"),
        (["labels:silver", "--scorer", "judge"], "no verdicts of the scorer 'judge'"),
        (["labels:silver", "--target-width", "3"], "go with --human"),
        (["labels:silver", "--human", "x", "--target-width", ".05"], "surely meant as 5"),
        (["labels:silver", "--human", "x", "--format", "csv"], "not as csv"),
        (["labels:silver", "--format", "md", "--out", "broken.jsonl/x"], "cannot be written"),
    ],
)
def test_what_cannot_be_reported_is_one_clear_line(
    flames: Any, tmp_path: Path, arguments: list[str], said: str
) -> None:
    row = {"dimension": "Legality", "prompt": "问", "response": "答"}
    (tmp_path / "broken.jsonl").write_text(json.dumps({**row, "score": 3}) + "\n{oops\n")
    (tmp_path / "responses.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "off.jsonl").write_text(json.dumps({**row, "score": 2}) + "\n")
    code, out, err = flames(*arguments)
    assert code == 2
    assert out == ""
    assert said in err
    assert err.count("\n") == 1
