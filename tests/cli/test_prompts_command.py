from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flames.prompts.sets import load_prompts
from flames.storage.atomic import to_jsonl
from flames.storage.record_files import read_prompts

Flames = Callable[..., tuple[int, str, str]]


def test_list_tells_what_is_there(flames: Flames) -> None:
    code, out, _ = flames("prompts", "list", "--json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out)}
    assert (rows["open"]["prompts"], rows["quick"]["prompts"]) == (240, 24)
    assert rows["flames-1k"]["present"] is False
    code, out, _ = flames("prompts", "list")
    assert code == 0
    assert "not fetched" in out


def test_counts_and_checks_are_in_the_asked_language(flames: Flames) -> None:
    assert "未下载" in flames("prompts", "list", "--lang", "zh")[1]
    out = flames("prompts", "stats", "quick", "--lang", "zh")[1]
    for words in ("24 条提示", "字数：", "非拟人化", "虚假前提"):
        assert words in out
    code, out, _ = flames("prompts", "validate", "quick", "--lang", "zh")
    assert (code, "可用提示 24 条，没有问题" in out) == (0, True)


def test_show_prints_texts_and_json_that_is_a_prompt_set_again(
    flames: Flames, tmp_path: Path
) -> None:
    quick = load_prompts("quick")
    code, out, _ = flames("prompts", "show", "quick", "--json")
    assert code == 0
    file = tmp_path / "again.jsonl"
    file.write_text(out, "utf-8")
    assert tuple(read_prompts(file)) == quick.prompts
    first = quick.prompts[0]
    code, out, _ = flames("prompts", "show", "open", first.id)
    assert code == 0
    assert first.text in out
    assert out.count("\n") == 2
    code, out, _ = flames("prompts", "show", "quick", "--dimension", "合法", "--json")
    assert {json.loads(line)["dimension"] for line in out.splitlines()} == {"Legality"}
    assert len(flames("prompts", "show", "open", "--limit", "5", "--json")[1].splitlines()) == 5


def test_show_moves_no_cursor(flames: Flames, tmp_path: Path) -> None:
    file = tmp_path / "evil.jsonl"
    file.write_text(to_jsonl([{"dimension": "Safety", "prompt": "\x1b[2J[bold]\u202e"}]), "utf-8")
    _, out, _ = flames("prompts", "show", file)
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "[bold]" in out


def test_stats_counts_and_names_what_is_missing(flames: Flames, tmp_path: Path) -> None:
    rows = [p.to_dict() for p in load_prompts("quick").prompts if p.dimension != "Safety"]
    file = tmp_path / "four.jsonl"
    file.write_text(to_jsonl(rows), "utf-8")
    code, out, _ = flames("prompts", "stats", file, "--json")
    assert code == 0
    told = json.loads(out)
    assert (told["name"], told["prompts"], told["partial"]) == ("four", 16, True)
    assert told["missing_dimensions"] == ["Safety"]
    assert told["dimensions"]["Legality"] == {
        "prompts": 2,
        "subcomponents": {"Law violation": 2},
    }
    code, out, _ = flames("prompts", "stats", file)
    assert code == 0
    assert "partial: nothing about Safety" in out


def test_validate_tells_all_that_is_wrong_and_exits_with_2(flames: Flames, tmp_path: Path) -> None:
    assert flames("prompts", "validate", "open")[0] == 0
    rows = [{"prompt": "a"}, {"dimension": "Safety", "prompt": "好"}, {"dimension": "Safety"}]
    file = tmp_path / "bad.jsonl"
    file.write_text(to_jsonl(rows), "utf-8")
    code, out, _ = flames("prompts", "validate", file)
    assert code == 2
    assert f"error: {file}:1: " in out
    assert f"error: {file}:3: " in out
    code, out, _ = flames("prompts", "validate", file, "--json")
    assert code == 2
    told = json.loads(out)
    assert (told["ok"], told["prompts"], len(told["errors"])) == (False, 1, 2)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["show", "opn"], 2, "did you mean 'open'"),
        (["show", "quick", "nobody"], 2, "no prompt 'nobody'"),
        (["show", "quick", "--dimension", "x"], 2, "unknown dimension"),
        (["show", "flames-1k"], 2, "flames prompts fetch flames-1k"),
        (["validate", "flames-1k"], 2, "flames prompts fetch flames-1k"),
        (["stats", "none.csv"], 2, "none.csv: no such file"),
        (["stats", "quick", "--map", "x"], 2, "--map takes"),
        (["stats", "quick", "--taxonomy", "none.json"], 2, "none.json: no such file"),
        (["fetch", "flames-2k"], 2, "sets: open"),
        (["fetch", "--from", "none"], 2, "none: no such file"),
        (["fetch", "--from", "http://127.0.0.1:9/"], 3, "--from FILE"),
    ],
)
def test_bad_calls_are_one_line(flames: Flames, words: list[str], code: int, said: str) -> None:
    got, out, err = flames("prompts", *words)
    assert (got, out) == (code, "")
    assert err.count("\n") == 1
    assert said in err


@pytest.mark.shared
def test_fetch_keeps_the_published_set(flames: Flames, shared: Path) -> None:
    source = shared / "flames" / "Flames_1k_Chinese.jsonl"
    code, out, _ = flames("prompts", "fetch", "--from", source, "--json")
    assert code == 0
    assert json.loads(out)["prompts"] == 1000
    code, out, _ = flames("prompts", "fetch")
    assert code == 0
    assert "1000 prompts, checksum right" in out


def test_packing_and_installing_by_command(
    flames: Flames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = tmp_path / "题库.csv"
    table.write_text("问题,类别\n怎么办,安全\n为什么,公平\n", "utf-8")
    words = ["--version", "1.0", "--licence", "CC0-1.0", "--origin", "我们", "--map"]
    mapped = "prompt=问题,dimension=类别"
    code, out, _ = flames("prompts", "pack", table, "--name", "题库", *words, mapped)
    assert (code, out) == (0, "题库@1.0: 2 prompts in 题库@1.0; first version, 2 prompts\n")
    code, out, _ = flames("prompts", "install", "题库@1.0", "--json")
    assert (code, json.loads(out)["name"]) == (0, "题库")
    monkeypatch.chdir("/")
    assert json.loads(flames("prompts", "stats", "题库", "--json")[1])["version"] == "1.0"
    rows = json.loads(flames("prompts", "list", "--json")[1])
    assert [row["version"] for row in rows if row["name"] == "题库"] == ["1.0"]


def test_stats_write_a_page_with_a_bar_for_each_label(flames: Flames, tmp_path: Path) -> None:
    rows = [{"dimension": "Safety", "technique": "<b>x</b>", "prompt": "怎么办"}]
    file = tmp_path / "a.jsonl"
    file.write_text(to_jsonl(rows), "utf-8")
    code, _, err = flames("prompts", "stats", file, "--out", tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text("utf-8")
    assert (code, err.strip()) == (0, str(tmp_path / "a.html"))
    assert "<b>x</b>" not in page
    assert page.count("<rect") == 3, "one dimension, one technique, one length"
