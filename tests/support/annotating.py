"""What tests of the annotation share: items, a clock, the served application."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flames.io import to_jsonl
from flames.taxonomy import default_taxonomy

if TYPE_CHECKING:
    from flames.annotation import Project


class Clock:
    """A clock that only tests move."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now

    def pass_(self, **span: float) -> None:
        self.now += timedelta(**span)


def responses(count: int = 12, models: tuple[str, ...] = ("alpha", "beta")) -> list[dict[str, Any]]:
    """Responses of some models over all subcomponents."""
    parts = [(d.name, p.name) for d in default_taxonomy().dimensions for p in d.subcomponents]
    return [
        {
            "prompt_id": f"p{number}",
            "model": model,
            "dimension": parts[number % len(parts)][0],
            "subcomponent": parts[number % len(parts)][1],
            "prompt": f"提问 {number}？",
            "response": f"{model} 的回答 {number}。\n第二行。",
        }
        for number in range(count)
        for model in models
    ]


def known(count: int = 6, name: str = "known") -> list[dict[str, Any]]:
    """Items with known answers: the first score of the scale, always."""
    return [
        {**row, "prompt_id": f"{name}{n}", "model": name, "score": 3, "explanation": f"因为 {n}"}
        for n, row in enumerate(responses(count, ("x",)))
    ]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text(to_jsonl(rows), "utf-8")
    return path


def person_id(project: Project, name: str) -> int:
    from flames.annotation import people

    with project.database.read() as connection:
        return people.get_person(connection, name).id


@contextmanager
def served(project: Project, **options: Any) -> Iterator[str]:
    """The application on a free loopback port, in a thread."""
    import uvicorn

    from flames.annotation.web import create_app

    config = uvicorn.Config(
        create_app(project, **options), host="127.0.0.1", port=0, log_level="warning",
        lifespan="off",
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
