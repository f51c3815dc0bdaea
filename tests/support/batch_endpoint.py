"""A batch server (batch_server.py) as a process of its own, and what it tells."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any


class BatchEndpoint:
    """Starts the server; its state lies in a file, which survives it."""

    def __init__(self, folder: Path) -> None:
        script = Path(__file__).parent / "batch_server.py"
        command = [sys.executable, str(script), str(folder / "state.json")]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def control(self, **faults: Any) -> None:
        """Sets what goes wrong from now on, and nothing else."""
        self._put("control", faults)

    def reset(self) -> None:
        """Forgets all files, batches and faults."""
        self._put("reset", {})

    def _put(self, what: str, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        asked = urllib.request.Request(f"{self.url}/{what}", data=body, method="PUT")
        urllib.request.urlopen(asked).close()

    def state(self) -> dict[str, Any]:
        """Returns files, batches, what was paid, and the log."""
        with urllib.request.urlopen(f"{self.url}/state") as answer:
            state: dict[str, Any] = json.load(answer)
        return state

    @property
    def paid(self) -> Counter[str]:
        """How often an answer to each prompt was paid."""
        return Counter(self.state()["paid"])

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
