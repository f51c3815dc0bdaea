from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flames.scorers.labels import labels_path

Flames = Callable[..., tuple[int, str, str]]


def test_list_names_every_kind_and_the_default(flames: Flames) -> None:
    code, out, _ = flames("scorer", "list", "--json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out)}
    assert {"lexical", "labels", "judge", "guard", "flames-scorer", "PATH"} <= rows.keys()
    assert sum(row["default"] for row in rows.values()) == 1
    code, out, _ = flames("scorer", "list")
    assert code == 0
    assert "(default)" in out
    assert "labels:FILE" in out


def test_info_tells_what_a_scorer_is(flames: Flames) -> None:
    code, out, _ = flames("scorer", "info", "lexical")
    assert code == 0
    assert out.startswith("lexical@")
    assert "baseline trained on synthetic labels" in out
    assert "nat-small: n 132, levels " in out
    assert max(map(len, out.splitlines())) < 300
    code, out, _ = flames("scorer", "info", "lexical", "--json")
    assert code == 0
    assert "sim-formal" in json.loads(out)["learnt"][0]["models"]
    code, out, _ = flames("scorer", "info", "labels:silver", "--json")
    assert code == 0
    told = json.loads(out)
    assert told["id"] == "labels:silver@1"
    assert len(told["details"]["models"]) == 7
    code, out, _ = flames("scorer", "info", "labels:silver", "--path")
    assert (code, Path(out.strip())) == (0, labels_path("silver"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], "no scorer 'nothing'"),
        (["lexical", "--path"], "--path is for labels:FILE"),
        (["labels:none.jsonl"], "none.jsonl: no such file"),
    ],
)
def test_bad_calls_are_one_line(flames: Flames, words: list[str], said: str) -> None:
    code, out, err = flames("scorer", "info", *words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert said in err


def test_a_pipe_has_no_edge(flames: Flames, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    _, out, _ = flames("prompts", "list")
    assert "Flames' own open set: 240 prompts, 20 per subcomponent" in out
