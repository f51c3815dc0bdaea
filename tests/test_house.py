"""Checks the layout of the package: one tower of rooms, imports that only point down.

`pytest tests/test_house.py -s` prints the rooms and the counts.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import flames

PACKAGE = Path(flames.__file__).parent

# From top to bottom. A room may import the rooms that stand after it in this list, and no other.
TOWER = """
    cli annotation training pipeline filing reports leaderboard analysis scorers collect prompts
    models metrics storage taxonomy finish_reasons records turns thinking options text errors
""".split()

# Not rooms: the package's own list of public names, and `python -m flames`.
ROOF = ("__init__", "__main__")


@dataclass(frozen=True)
class Import:
    """One imported name: which module imports it, and from which."""

    by: str
    of: str
    line: int
    typing_only: bool

    @property
    def rooms(self) -> tuple[str, str]:
        return room(self.by), room(self.of)

    @property
    def private(self) -> bool:
        return any(p.startswith("_") and not p.startswith("__") for p in self.of.split("."))

    def __str__(self) -> str:
        return f"{self.by}:{self.line} imports {self.of}"


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ["flames", *path.relative_to(PACKAGE).with_suffix("").parts]
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path
    return found


def imports(module: str, path: Path) -> Iterator[Import]:
    """Yields every import of ours in a file, those inside functions too."""
    tree = ast.parse(path.read_text("utf-8"))
    blocks = [n for n in ast.walk(tree) if isinstance(n, ast.If)]
    guarded = [b for b in blocks if "TYPE_CHECKING" in ast.dump(b.test)]
    typing_only = {id(node) for block in guarded for node in ast.walk(block)}
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.level:
            raise AssertionError(f"{module}:{node.lineno} uses a relative import")
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "flames":
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names if a.name.split(".")[0] == "flames"]
        for name in names:
            assert isinstance(node, ast.Import | ast.ImportFrom)
            yield Import(module, name, node.lineno, id(node) in typing_only)


def all_imports() -> list[Import]:
    found = [each for module, path in modules().items() for each in imports(module, path)]
    of_ours = {*TOWER, *ROOF}
    return [e for e in found if e.rooms[0] not in ROOF and e.rooms[1] in of_ours - {*ROOF}]


def circles(arrows: set[tuple[str, str]]) -> list[list[str]]:
    """Lists the groups of rooms that reach one another."""
    below = defaultdict(set)
    for start, end in arrows:
        below[start].add(end)

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        todo = [start]
        while todo:
            new = below[todo.pop()] - seen
            seen |= new
            todo += new
        return seen

    reached = {name: reach(name) for name in TOWER}
    groups = {frozenset(o for o in reached[n] if n in reached[o]) for n in TOWER if n in reached[n]}
    return [sorted(group) for group in groups]


def test_every_room_has_its_place() -> None:
    assert {room(name) for name in modules()} - {*ROOF} == set(TOWER)


def test_imports_point_down_in_one_tower() -> None:
    found = all_imports()
    arrows = {e.rooms for e in found if e.rooms[0] != e.rooms[1]}
    height = {name: -position for position, name in enumerate(TOWER)}
    upward = [str(e) for e in found if height[e.rooms[1]] > height[e.rooms[0]]]
    private = [str(e) for e in found if e.private and e.rooms[0] != e.rooms[1]]
    rings = circles({e.rooms for e in found if not e.typing_only and e.rooms[0] != e.rooms[1]})
    lines = ["", *(f"  {n:<12} {' '.join(t for t in TOWER if (n, t) in arrows)}" for n in TOWER)]
    lines.append(
        f"rooms {len(TOWER)}, arrows {len(arrows)}, circles {len(rings)}, "
        f"upward imports {len(upward)}, private imports across rooms {len(private)}"
    )
    sys.stdout.write("\n".join(lines) + "\n")
    assert (rings, upward, private) == ([], [], [])


def test_no_function_is_longer_than_80_lines() -> None:
    for module, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                assert length <= 80, f"{module}.{node.name} has {length} lines"


def test_no_file_is_longer_than_400_lines() -> None:
    long = [n for n, path in modules().items() if path.read_text("utf-8").count("\n") > 400]
    assert long == []
