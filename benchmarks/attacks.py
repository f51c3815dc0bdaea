"""How long others wait while a server is attacked: half-sent requests, endless chunked bodies.

    python benchmarks/attacks.py

One annotator asks for their page all the time; the server may have 1,024 open files. Prints the
longest wait and the most that the temporary folder held, without an attack and under each.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent))

from annotation import Client, fields, percentile, serve, stop
from flames.annotation import ProjectPlan, create_project

HALF = b"POST /signin HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
CHUNKED = (
    b"POST /signin HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
)


async def peace(_: str, until: float) -> None:
    await asyncio.sleep(until - time.monotonic())


async def slow_clients(base: str, until: float) -> None:
    """1,100 requests that never end, and a new one for each that is cut off."""

    async def one() -> None:
        while time.monotonic() < until:
            try:
                reader, writer = await opened(base, HALF)
                await asyncio.wait_for(reader.read(100), max(until - time.monotonic(), 0.01))
                writer.close()
            except (OSError, TimeoutError):
                await asyncio.sleep(0.2)

    await asyncio.gather(*(one() for _ in range(1100)))


async def chunked_bodies(base: str, until: float) -> None:
    """20 bodies at a time that go on for as long as they are taken."""

    async def one() -> None:
        while time.monotonic() < until:
            try:
                _, writer = await opened(base, CHUNKED)
                while time.monotonic() < until:
                    writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                    await writer.drain()
                writer.close()
            except OSError:
                await asyncio.sleep(0.05)

    await asyncio.gather(*(one() for _ in range(20)))


async def opened(
    base: str, sent: bytes
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:  # fmt: skip
    parts = urlsplit(base)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(sent)
    await writer.drain()
    return reader, writer


async def watch(
    base: str, token: str, temporary: Path, until: float
) -> tuple[list[float], int]:  # fmt: skip
    """Asks for the page all the time, each time over a connection of its own."""
    waits: list[float] = []
    most = 0
    client = Client(base)
    await client.open()
    page = await client.ask("GET", f"/join/{token}")
    await client.ask("POST", f"/join/{token}", fields(page))
    while time.monotonic() < until:
        begun = time.perf_counter()
        client.writer.close()
        await client.open()
        await client.ask("GET", "/work")
        waits.append((time.perf_counter() - begun) * 1000)
        most = max(most, sum(each.stat().st_size for each in temporary.rglob("*")))
        await asyncio.sleep(0.02)
    client.writer.close()
    return waits, most


async def under(
    base: str, token: str, temporary: Path, seconds: float
) -> tuple[list[float], int]:  # fmt: skip
    until = time.monotonic() + seconds
    return await watch(base, token, temporary, until)


def main() -> None:
    rows = [{"prompt_id": f"p{n}", "model": "m", "dimension": "Safety", "prompt": "?",
             "response": "!"} for n in range(50)]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "responses.jsonl"
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
        plan = ProjectPlan(sources=(source,), training=(), annotators=("Ann",), per_item=1)
        created = create_project(Path(folder) / "project", plan)
        created.project.close()
        temporary = Path(folder) / "tmp"
        temporary.mkdir()
        os.environ["TMPDIR"] = str(temporary)
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
        server, base = serve(Path(folder) / "project")
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (1024, 1024))
        for attack in (peace, slow_clients, chunked_bodies):
            command = [sys.executable, __file__, attack.__name__, base]
            attacker = subprocess.Popen(command)
            time.sleep(1)
            waits, most = asyncio.run(
                under(base, created.links["Ann"], temporary, 12.0)
            )  # fmt: skip
            attacker.kill()
            attacker.wait()
            print(
                f"{attack.__name__:16} {len(waits):5} pages: p50 {percentile(waits, 0.5):6.1f} ms, "
                f"longest {max(waits):7.1f} ms; temporary files at most {most / 1024:.0f} KiB",
                flush=True,
            )
        stop(server)


if __name__ == "__main__":
    if sys.argv[1:]:
        name, address = sys.argv[1:]
        asyncio.run(globals()[name](address, time.monotonic() + 60))
    else:
        main()
