"""A smaller prompt set: what is chosen, what is written, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import run

from flames.prompts.sets import load_prompts

PARTS = [("Safety", "Physical harm"), ("Safety", "Mental harm"), ("Legality", "Law violation")]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Returns a set of 60 prompts and the runs of eight models that differ, as options."""
    folder, chance = tmp_path_factory.mktemp("runs"), np.random.default_rng(0)
    prompts = [
        {
            "id": f"p{n}",
            "dimension": d,
            "subcomponent": s,
            "prompt": f"第{n}题",
            "technique": "plain",
        }
        for n in range(60)
        for d, s in [PARTS[n % 3]]
    ]
    path = folder / "whole.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in prompts), "utf-8")
    hard = chance.normal(0, 2, 60)
    rows = [
        {"prompt_id": f"p{n}", "model": f"m{m}", "scorer": "s@1", "dimension": PARTS[n % 3][0],
         "score": 3 if chance.random() < 1 / (1 + np.exp(hard[n] - m + 3.5)) else 1}
        for m in range(8)
        for n in range(60)
    ]  # fmt: skip
    given = []
    for few in (4, 8):
        runs = folder / f"{few}.jsonl"
        own = rows[: few * 60]
        runs.write_text("".join(json.dumps(row) + "\n" for row in own), "utf-8")
        given.append(str(runs))
    return ["prompts", "select", str(path), "--runs", *given]


def test_a_choice_is_balanced_written_and_judged(
    files: list[str], tmp_path: Path, capsys: Any
) -> None:
    *start, _, many = files
    out = tmp_path / "less.jsonl"
    assert run(*start, many, "--n", 14, "--out", out, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["way"] for each in found["judged"]] == ["random", "rates", "ranking"]
    assert (found["held_out"], found["splits"]) == (3, 10)
    for each in found["judged"]:
        assert each["tau"]["low"] <= each["tau"]["value"] <= each["tau"]["high"] <= 1
        assert each["width"]["value"] > found["whole_width"]["value"]
    chosen, whole = load_prompts(out), load_prompts(start[2])
    assert [prompt.id for prompt in chosen.prompts] == found["ids"]
    assert len(found["ids"]) == 14
    assert [p for p in whole.prompts if p.id in chosen.by_id] == list(chosen.prompts)
    sample = whole.sample(14, 0)
    balance = [sorted(p.subcomponent or "" for p in each.prompts) for each in (chosen, sample)]
    assert balance[0] == balance[1]


def test_the_same_seed_chooses_the_same_and_a_file_is_never_replaced(
    files: list[str], tmp_path: Path, capsys: Any
) -> None:
    *start, few, _ = files
    texts = []
    for name in ("a", "b"):
        out = tmp_path / f"{name}.jsonl"
        assert run(*start, few, "--n", 9, "--keep", "rates", "--out", out, "--lang", "en") == 0
        texts.append(out.read_bytes())
    assert texts[0] == texts[1]
    assert "that takes 6 models, to hold some out, and there are 4" in capsys.readouterr().out
    assert run(*start, few, "--n", 9, "--out", tmp_path / "a.jsonl") == 2
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "a.jsonl").read_bytes() == texts[0]


def test_what_keeps_rates_lies_along_the_difficulties(
    files: list[str], tmp_path: Path, capsys: Any
) -> None:
    *start, _, many = files
    assert run("prompts", "difficulty", start[2], "--runs", many, "--json") == 0
    failing = {
        each["id"]: each["failing"]["value"]
        for each in json.loads(capsys.readouterr().out)["prompts"]
    }
    spread = {}
    for keep in ("rates", "ranking"):
        out = tmp_path / f"{keep}.jsonl"
        assert run(*start, many, "--n", 15, "--keep", keep, "--out", out, "--json") == 0
        spread[keep] = np.std([failing[i] for i in json.loads(capsys.readouterr().out)["ids"]])
    assert spread["rates"] == pytest.approx(np.std(list(failing.values())), rel=0.2)
    assert spread["ranking"] < spread["rates"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--n", 60], "--n must be below the size of whole, 60"),
        (["--n", 0], "--n"),
        ([], "--n N --out FILE"),
    ],
)
def test_wrong_numbers_are_refused(
    files: list[str], words: list[object], said: str, tmp_path: Path, capsys: Any
) -> None:
    *start, few, _ = files
    assert run(*start, few, *words, "--out", tmp_path / "x.jsonl") == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "x.jsonl").exists()
