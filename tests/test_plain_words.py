"""Checks the language of docstrings and help texts: each says first what the thing does."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

import flames
from flames.cli import build_app

PACKAGE = Path(flames.__file__).parent

# Words in -s that are no verbs in the third person.
NOT_VERBS = set(
    """
    across always answers as class counts his ids is its items labels less likes lines logits
    names notes percentages pairs parts perhaps probabilities progress prompts records responses
    rows rules seconds sets shares sometimes sources states texts these this thus tokens tuples
    unless us values verdicts ways words yes
    """.split()
)
VERBS_TOO = {"counts", "labels", "likes", "names", "notes", "pairs", "rules", "sets", "states"}

# What a command does, as its help begins.
COMMAND_VERBS = set(
    """
    accept add adjudicate annotate answer ask audit build calibrate certify check choose compare
    copy correct count create decide describe diff draw evaluate export fetch find gate give import
    install invite join label limit list load make measure merge move open print probe publish
    put read record register release remove report reset resolve resume run save score send
    serve set show start stop submit sum switch test train try undo validate verify void write
    """.split()
)


def public_functions() -> Iterator[tuple[str, str]]:
    """Yields name and docstring of every public function and method but properties."""
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        public: list[ast.AST] = [tree]
        public += [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name[0] != "_"]
        for parent in public:
            for node in ast.iter_child_nodes(parent):
                if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    continue
                marks = " ".join(ast.unparse(each) for each in node.decorator_list)
                if node.name.startswith("_") or re.search("property|command", marks):
                    continue
                doc = ast.get_docstring(node)
                if doc:
                    yield f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}", doc


def is_verb(word: str) -> bool:
    word = word.lower()
    return re.fullmatch("[a-z-]+s", word) is not None and (
        word not in NOT_VERBS or word in VERBS_TOO
    )


def test_docstrings_of_public_functions_start_with_a_verb() -> None:
    others = [
        f"{name}: {doc.splitlines()[0]}"
        for name, doc in public_functions()
        if not name.startswith("cli/") and not is_verb(doc.split()[0].rstrip(",.:;"))
    ]
    assert others == []


def commands(command: object, path: str = "flames") -> Iterator[tuple[str, str]]:
    """Yields every command and group with its help."""
    yield path, str(getattr(command, "help", "") or "")
    lister = getattr(command, "list_commands", None)
    if lister is None:
        return
    context = typer.Context(command)  # type: ignore[arg-type]
    for name in lister(context):
        child = command.get_command(context, name)  # type: ignore[attr-defined]
        yield from commands(child, f"{path} {name}")


COMMANDS = dict(commands(typer.main.get_command(build_app())))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_commands_starts_with_a_verb(name: str) -> None:
    text = COMMANDS[name]
    assert text, f"{name} has no help"
    assert text.split()[0].lower().rstrip(",") in COMMAND_VERBS
    assert text.strip().split("\n\n")[0].endswith("."), "the first paragraph is a sentence"
