"""Checks the documentation: command lines parse, Python snippets run, every option is named."""

from __future__ import annotations

import json
import pkgutil
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_labels
import tiny_models
import typer.main

from flames.cli import build_app
from flames.errors import MissingExtraError

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.yml")]
)
APP = typer.main.get_command(build_app())
ENDS = {"|", ">", ">>", "&&", ";", "&"}

each_page = pytest.mark.parametrize(
    "page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES]
)


def _printed(page: Path) -> Iterator[list[str]]:
    """Yields the arguments of every `flames` command in the page's code blocks."""
    whole = re.sub(r"\\\n\s*", " ", page.read_text("utf-8"))
    for line in re.findall(r"^ {4,}(.*\bflames .*)$", whole, re.MULTILINE):
        if not re.match(r"(?:cat |torchrun .* -m )?\S*flames |- run:", line):
            continue  # output of a command
        words = shlex.split(line, comments=True)
        for start in (n for n, word in enumerate(words) if word == "flames"):
            rest = words[start + 1 :]
            yield rest[: next((n for n, word in enumerate(rest) if word in ENDS), len(rest))]


def _command(words: list[str]) -> tuple[Any, list[str]]:
    command: Any = APP
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    return command, words


@each_page
def test_printed_command_lines_parse(page: Path) -> None:
    for line in _printed(page):
        command, words = _command(line)
        flags = {n for o in command.params if getattr(o, "is_flag", False) for n in o.opts}
        given = [
            word
            for before, word in zip(["", *words], words, strict=False)
            if word != "…" or (before.startswith("--") and before not in flags)  # left to readers
        ]
        try:
            command.make_context("flames", given)
        except Exception as error:
            if given == words or type(error).__name__ != "MissingParameter":
                raise AssertionError(f"flames {shlex.join(line)}: {error}") from error


def test_command_lines_were_found() -> None:
    assert sum(len(list(_printed(page))) for page in PAGES) > 200


@each_page
def test_options_in_running_text_are_those_of_the_command(page: Path) -> None:
    every = {name for command in _walk(APP) for name in _options(command)}
    for code in re.findall(r"(?<!`)`((?:flames |--)[^`]+)`(?!`)", page.read_text("utf-8")):
        named = code.startswith("flames ")
        command, words = _command(code.split()[1:]) if named else (None, code.split())
        known = _options(command) if command else every
        for option in re.findall(r"(?<!\S)--[a-z][a-z0-9-]*", " ".join(words)):
            assert option in known | {"--help"}, code


@pytest.mark.parametrize("folder", ["docs", "docs/zh"])
def test_every_option_is_named_on_a_page(folder: str) -> None:
    pages = "".join(page.read_text("utf-8") for page in (ROOT / folder).glob("*.md"))
    named = set(re.findall(r"--[a-z][a-z0-9-]*", pages)) | {"--help"}
    for command in _walk(APP):
        for option in command.params:
            names = {name for name in (*option.opts, *option.secondary_opts) if name[:2] == "--"}
            assert not names or names & named, f"{command.name}: {names} are on no page"


def _options(command: Any) -> set[str]:
    return {name for o in command.params for name in (*o.opts, *o.secondary_opts)}


def _walk(command: Any) -> Iterator[Any]:
    for child in getattr(command, "commands", {}).values():
        yield child
        yield from _walk(child)


def _snippets() -> Iterator[tuple[str, str]]:
    for page in sorted(PAGES):
        found = re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
        for number, snippet in enumerate(found, 1):
            yield f"{page.relative_to(ROOT)}#{number}", snippet


@each_page
def test_names_and_files_in_running_text_are_there(page: Path) -> None:
    text = page.read_text("utf-8")
    for name in set(re.findall(r"`(flames(?:\.\w+)+)", text)) - {"flames.toml"}:
        pkgutil.resolve_name(name)
    for path in re.findall(r"`((?:src|tests|scripts|benchmarks|examples)/[\w./-]+)", text):
        assert (ROOT / path).exists(), path
    for script in re.findall(r"python ((?:scripts|benchmarks)/[\w.]+)", text):
        assert (ROOT / script).exists(), script


SNIPPETS = dict(_snippets())
ENGLISH = [name for name in SNIPPETS if "/zh/" not in name]
TRAINING = [name for name in ENGLISH if re.search("training|trained", SNIPPETS[name])]


@pytest.fixture
def folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chat_server: Callable[..., Any]
) -> Path:
    """Writes the files that the snippets read, and serves their provider on loopback."""
    from flames.models.providers import PRESETS
    from flames.prompts.sets import load_prompts

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEEPSEEK_API_KEY", "a-key")
    here = replace(PRESETS["deepseek"], base_url=chat_server().url)
    monkeypatch.setitem(PRESETS, "deepseek", here)
    rows = [
        {"dimension": p.dimension, "prompt": p.text, "response": "这样不合适，我不能帮忙。"}
        for p in load_prompts("quick").prompts
    ]
    tiny_labels.write(tmp_path / "responses.jsonl", rows)
    for name in ("verdicts", "base", "new"):
        judged = [{**row, "model": name, "predicted": 3} for row in rows]
        tiny_labels.write(tmp_path / f"{name}.jsonl", judged)
    people = [{**row, "model": "verdicts", "score": 3, "annotator": "Ann"} for row in rows]
    tiny_labels.write(tmp_path / "people.jsonl", people)
    tiny_labels.write(tmp_path / "labels.jsonl", tiny_labels.rows(models=("a", "b", "c")))
    return tmp_path


@pytest.mark.parametrize("name", [name for name in ENGLISH if name not in TRAINING])
def test_a_printed_snippet_runs(name: str, folder: Path) -> None:
    try:
        exec(compile(SNIPPETS[name], name, "exec"), {"__name__": "snippet"})
    except MissingExtraError as error:
        pytest.skip(str(error))


@pytest.mark.heavy
def test_the_snippets_of_training_run(folder: Path) -> None:
    for extra in ("torch", "transformers", "accelerate"):
        pytest.importorskip(extra)
    tiny_models.backbone(folder / "hfl" / "chinese-roberta-wwm-ext")
    for name in TRAINING:
        text = re.sub(r"^model\.push_to_hub.*$", "", SNIPPETS[name], flags=re.MULTILINE)
        exec(compile(text, name, "exec"), {"__name__": "snippet"})


def test_snippets_are_the_same_in_both_languages() -> None:
    assert len(SNIPPETS) == 2 * len(ENGLISH)
    for name in ENGLISH:
        assert _code(SNIPPETS[name]) == _code(SNIPPETS[name.replace("docs/", "docs/zh/")]), name


def _code(snippet: str) -> list[str]:
    """Returns the lines of a snippet without comments, in one language."""
    lines = (line.split("  #")[0].rstrip() for line in snippet.splitlines())
    return [line.replace('"zh"', '"en"') for line in lines if line]


def test_printed_install_lines_work_from_a_clone() -> None:
    """The package is on no index: what is installed by name comes from a folder of wheels."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    found = 0
    for page in PAGES:
        for line in re.findall(r"pip install [^`#\n]+", page.read_text("utf-8")):
            found += 1
            for word in shlex.split(line)[2:]:
                named, _, extra = word.rstrip("]").partition("[")
                assert not set(extra.split(",")) - {"", *extras["optional-dependencies"]}, line
                assert named != "flames-bench" or "--find-links wheels" in line, line
                assert named != "torch" or "--index-url" in line, line
    assert found > 20


def test_glossaries_hold_the_same_terms_in_order() -> None:
    rows = [
        re.findall(r"^\| (.+?) \| (.+?) \| .+ \|$", (ROOT / page).read_text("utf-8"), re.M)[2:]
        for page in ("docs/glossary.md", "docs/zh/glossary.md")
    ]
    terms = [term for term, _ in rows[0]]
    assert rows[1] == [(chinese, term) for term, chinese in rows[0]]
    assert terms == sorted(set(terms))


def test_printed_json_is_json() -> None:
    for page in PAGES:
        for block in re.findall(r"^```json\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S):
            json.loads(block)
