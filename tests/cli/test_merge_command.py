"""`flames merge`: runs made on two machines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flames import ask
from flames.prompts.sets import PromptSet
from flames.records import Prompt, text_sha256
from flames.storage.run_dir import RunDir

Flames = Callable[..., tuple[int, str, str]]
PROMPTS = [Prompt(id=f"p{n}", dimension="Safety", text=f"问{n}") for n in range(4)]


def _set(*prompts: Prompt) -> PromptSet:
    text = "\n".join(prompt.id for prompt in prompts)
    return PromptSet("mine", text_sha256(text), prompts, Path("mine.csv"))


def _run(folder: Path, *prompts: Prompt, answer: str = "答", **more: object) -> Path:
    def model(prompt: str) -> str:
        if answer == "":
            raise RuntimeError("down")
        return answer + prompt

    ask(model, _set(*prompts), out=folder, **more)
    return folder


@pytest.fixture
def halves(tmp_path: Path) -> tuple[Path, Path]:
    return _run(tmp_path / "a", *PROMPTS[:3]), _run(tmp_path / "b", *PROMPTS[2:])


def test_halves_become_one_run_with_their_verdicts(
    flames: Flames, halves: tuple[Path, Path]
) -> None:
    for half in halves:
        assert flames("score", half, "--scorer", "lexical", "--quiet")[0] == 0
    out = halves[0].parent / "both"
    code, said, err = flames("merge", *halves, "--out", out)
    assert (code, said, err) == (0, f"{out}\n", "")
    run = RunDir(out)
    assert [r.response for r in run.responses()] == [f"答问{n}" for n in range(4)]
    assert run.manifest.counts == run.check()
    assert (run.prompt_set.name, run.prompt_set.n, run.prompt_set.of) == ("mine", 4, "ids")
    assert len(run.manifest.sessions) == 2
    code, said, err = flames("report", out, "--json")
    assert (code, json.loads(said)["overall"]["coverage"]["scored"]) == (0, 4), err
    assert flames("merge", *halves, "--out", out)[0] == 2  # answers are never replaced


def test_conflicts_are_told_and_the_first_named_counts(flames: Flames, tmp_path: Path) -> None:
    first = _run(tmp_path / "a", *PROMPTS[:2])
    second = _run(tmp_path / "b", *PROMPTS[1:], answer="不")
    code, _, err = flames("merge", first, second, "--out", tmp_path / "c")
    assert code == 0
    assert "1 of its answers differ from an earlier named run's" in err
    assert "prompt 'p1', sample 0" in err
    texts = [response.response for response in RunDir(tmp_path / "c").responses()]
    assert texts == ["答问0", "答问1", "不问2", "不问3"]


def test_what_does_not_belong_together_is_refused(
    flames: Flames, halves: tuple[Path, Path], tmp_path: Path
) -> None:
    def refused(*paths: Path) -> str:
        code, out, err = flames("merge", *paths, "--out", tmp_path / "c")
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
        assert not (tmp_path / "c").exists()
        return err

    assert "at least two run directories, each once" in refused(halves[0], halves[0])
    assert "no such directory" in refused(halves[0], tmp_path / "none")
    other = _run(tmp_path / "o", PROMPTS[3], system="短")
    assert "has other settings than" in (said := refused(halves[0], other))
    assert "system prompt none → 短" in said
    changed = PROMPTS[0].model_copy(update={"text": "别的"})
    other = _run(tmp_path / "p", changed)
    assert "the prompt 'p0' has another text or dimension" in refused(halves[0], other)


def test_repeats_of_two_runs_are_all_kept(flames: Flames, tmp_path: Path) -> None:
    first = _run(tmp_path / "a", *PROMPTS[:1])
    second = _run(tmp_path / "b", *PROMPTS[:1], repeats=3)
    code, out, _ = flames("merge", first, second, "--out", tmp_path / "c", "--json")
    assert (code, json.loads(out)["counts"]["ok"]) == (0, 3)
