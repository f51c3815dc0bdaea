"""A throw-away PostgreSQL server on a Unix socket, for tests and benchmarks."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


class NoServerError(Exception):
    """PostgreSQL cannot run here."""


def _server_user() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    try:
        known = pwd.getpwnam("postgres")
    except KeyError:
        raise NoServerError("PostgreSQL does not run as root, and no user is postgres") from None
    return {"user": known.pw_uid, "group": known.pw_gid, "extra_groups": []}


@contextmanager
def throw_away_server(*, durable: bool = False) -> Iterator[str]:
    """Starts a server; yields its address with `{name}` for a database.

    Args:
        durable: Whether commits wait for the disk, as they do in earnest.

    Raises:
        NoServerError: There is no PostgreSQL, or nobody to run it as.
    """
    if not BINARIES:
        raise NoServerError("needs PostgreSQL (Debian: apt-get install postgresql)")
    who = _server_user()
    folder = Path(tempfile.mkdtemp(prefix="flames-pg-", dir="/tmp"))
    if who:
        os.chown(folder, who["user"], who["group"])
    bare = {"cwd": folder, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}, **who}
    data = folder / "data"
    subprocess.run(
        [BINARIES[-1] / "initdb", "-D", data, "-U", "flames", "-A", "trust", "-E", "UTF8",
         "--no-sync"],
        check=True, stdout=subprocess.DEVNULL, **bare,
    )  # fmt: skip
    die_with_us = ["setpriv", "--pdeathsig", "INT"] if shutil.which("setpriv") else []
    careless = [] if durable else ["-c", "fsync=off", "-c", "full_page_writes=off"]
    server = subprocess.Popen(
        [*die_with_us, BINARIES[-1] / "postgres", "-D", data, "-k", folder,
         "-c", "listen_addresses=", "-c", "max_connections=120", *careless],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **bare,
    )  # fmt: skip
    assert server.stderr is not None
    stream = server.stderr
    try:
        if not any("ready to accept connections" in line for line in stream):
            raise NoServerError("PostgreSQL did not start")
        drain = threading.Thread(target=lambda: [None for _ in stream], daemon=True)
        drain.start()
        yield f"postgresql://flames@/{{name}}?host={folder}"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(20)
        shutil.rmtree(folder, ignore_errors=True)
    drain.join(5)
    stream.close()
