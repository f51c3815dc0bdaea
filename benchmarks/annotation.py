"""Measures how long annotators wait for their next item: whole teams on one server over loopback.

    python benchmarks/annotation.py [SECONDS] [sqlite|postgresql]

For 10 annotators on SQLite and 50 on PostgreSQL, which two processes serve (both durable: a commit
waits for the disk), it prints percentiles of the time from sending an answer to having the next
page, and of the server's share of it (`Server-Timing`). Each annotator answers, gets the next page,
and thinks for a second on average, ten times faster than people do. The last run of each database
is 50 people without thinking time and shows where the server saturates; after it the server is
started anew, and the lead's first page timed. The clients run on the same machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

import psycopg
from postgres_server import throw_away_server

from flames.annotation import ProjectPlan, create_project, open_project, verify
from flames.scorers.labels import labels_path

FIELD = re.compile(rb'name="(csrf|ticket|form)" value="([^"]*)"')
BUTTON = re.compile(rb'class="score s\d" name="do" value="(\d)"')
TIMING = re.compile(r"app;dur=([\d.]+)")


class Client:
    """A small HTTP client over one connection, so that the load costs little itself."""

    def __init__(self, base: str) -> None:
        parts = urlsplit(base)
        self.host, self.port = str(parts.hostname), int(parts.port or 80)
        self.cookies: dict[str, str] = {}
        self.server_ms = 0.0

    async def open(self) -> None:
        self.reader, self.writer = await asyncio.open_connection(self.host, self.port)

    async def ask(self, method: str, path: str, form: dict[str, str] | None = None) -> bytes:
        """Sends a request and follows where it leads."""
        body = urlencode(form or {}).encode()
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        head = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}"]
        if cookies:
            head.append(f"Cookie: {cookies}")
        if method == "POST":
            head += ["Content-Type: application/x-www-form-urlencoded", "X-Flames-Page: 1",
                     f"Content-Length: {len(body)}"]  # fmt: skip
        self.writer.write("\r\n".join([*head, "", ""]).encode() + body)
        status = int((await self.reader.readline()).split()[1])
        length, location = 0, None
        while line := (await self.reader.readline()).decode().strip():
            name, _, value = line.partition(": ")
            match name.lower():
                case "content-length":
                    length = int(value)
                case "location":
                    location = value
                case "set-cookie":
                    cookie, _, rest = value.partition("=")
                    self.cookies[cookie] = rest.partition(";")[0]
                case "server-timing":
                    found = TIMING.search(value)
                    self.server_ms += float(found[1]) if found else 0.0
        page = await self.reader.readexactly(length)
        if location is not None:
            return await self.ask("GET", location)
        if status != 200:
            raise RuntimeError(f"{method} {path}: {status}: {page[:300]!r}")
        return page


def fields(page: bytes) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in FIELD.findall(page)}


async def annotate(
    base: str, token: str, until: float, think: float, rng: random.Random,
    waits: list[float], served: list[float],
) -> None:  # fmt: skip
    client = Client(base)
    await client.open()
    page = await client.ask("GET", f"/join/{token}")
    await client.ask("POST", f"/join/{token}", fields(page))
    page = await client.ask("GET", "/work")
    await asyncio.sleep(rng.random() * think)
    while time.monotonic() < until and (buttons := BUTTON.findall(page)):
        form = fields(page) | {"do": rng.choice(buttons).decode(), "rationale": ""}
        client.server_ms, begun = 0.0, time.perf_counter()
        page = await client.ask("POST", "/work", form)
        waits.append((time.perf_counter() - begun) * 1000)
        served.append(client.server_ms)
        if think:
            await asyncio.sleep(rng.expovariate(1 / think))
    client.writer.close()


def serve(project: Path, processes: int) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "flames", "annotate", "serve", str(project)]
    options = ["--port", "0", "--settle", "0", "--processes", str(processes)]
    server = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    return server, server.stderr.readline().strip().rpartition(" ")[2]


def stop(server: subprocess.Popen[str]) -> None:
    server.terminate()
    assert server.stderr is not None
    if trouble := server.stderr.read():
        print(trouble[-2000:], file=sys.stderr)
    server.wait()


def first_page(project: Path, token: str) -> float:
    """Seconds of the first `/lead` after a start."""

    async def lead() -> float:
        client = Client(base)
        await client.open()
        page = await client.ask("GET", f"/join/{token}")
        begun = time.perf_counter()
        await client.ask("POST", f"/join/{token}", fields(page))  # ends on /lead
        spent = time.perf_counter() - begun
        client.writer.close()
        return spent

    server, base = serve(project, 1)
    try:
        return asyncio.run(lead())
    finally:
        stop(server)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def run(name: str, url: str | None, people: int, think: float, seconds: float) -> None:
    lines = labels_path("labels:silver").read_text("utf-8").rstrip("\n").split("\n")
    rows = [json.loads(line) for line in lines]
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        source = Path(folder) / "responses.jsonl"
        kept = [row for row in rows if row["prompt_set"] == "open"]
        source.write_text("".join(
            json.dumps({**row, "model": f"{row['model']}-{copy}"}, ensure_ascii=False) + "\n"
            for copy in range(4) for row in kept
        ), "utf-8")  # fmt: skip
        names = [f"annotator-{n}" for n in range(people)]
        plan = ProjectPlan(
            sources=[source], database=url, training=(), annotators=names, per_item=3,
            controls=[], stratify=("dimension",),
        )  # fmt: skip
        created = create_project(Path(folder) / "project", plan)
        items = created.project.settings.population
        created.project.close()
        server, base = serve(Path(folder) / "project", 1 if url is None else 2)
        waits: list[float] = []
        served: list[float] = []

        async def all_of_them() -> None:
            until = time.monotonic() + seconds
            await asyncio.gather(*(
                annotate(base, created.links[n], until, think, random.Random(n), waits, served)
                for n in names
            ))  # fmt: skip

        begun = time.monotonic()
        try:
            asyncio.run(all_of_them())
        finally:
            spent = time.monotonic() - begun
            stop(server)
        first = first_page(Path(folder) / "project", created.links["lead"]) if not think else None
        with open_project(Path(folder) / "project") as project:
            sound = verify(project)
        result = "sound" if not sound.problems else f"NOT SOUND: {sound.problems}"
        result += "" if sound.labels == len(waits) else f", {sound.labels} labels stored"
    print(
        f"{name:11} {people:3} annotators, {items} items, {think:g} s thinking: "
        f"{len(waits) / spent:6.1f} answers/s; next page p50 {percentile(waits, 0.5):6.1f} ms, "
        f"p95 {percentile(waits, 0.95):6.1f} ms; on the server p50 {percentile(served, 0.5):5.1f}, "
        f"p95 {percentile(served, 0.95):6.1f} ms; {len(waits)} answers, {result}",
        flush=True,
    )
    if first is not None:
        print(f"{'':11} the lead's first page after a start: {first:.2f} s", flush=True)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 15.0
    print(f"{os.cpu_count()} processors, load before {os.getloadavg()[0]:.1f}")
    which = sys.argv[2:] or ["sqlite", "postgresql"]
    if "sqlite" in which:
        run("SQLite", None, 10, 1.0, seconds)
        run("SQLite", None, 50, 0.0, seconds)
    if "postgresql" not in which:
        return
    with throw_away_server(durable=True) as address:
        for number, think in enumerate((1.0, 0.0)):
            with psycopg.connect(address.format(name="postgres"), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE bench_{number}")  # type: ignore[call-overload]
            run("PostgreSQL", address.format(name=f"bench_{number}"), 50, think, seconds)


if __name__ == "__main__":
    main()
