"""Tells another program of each finished item, once, as long as it listens.

An item is finished once it has a unanimous label or a decision. What was told stands in
`webhook.json` in the project's folder, so that a restart tells nothing twice; a reply that got lost
is the one case in which the same message comes again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from flames.annotation.events import last_event
from flames.annotation.labels_out import export
from flames.annotation.options import WebhookOptions
from flames.annotation.project import Project
from flames.errors import InputError, OutsideError
from flames.records import dump_line
from flames.storage.atomic import write_atomic

STATE_FILE = "webhook.json"
SECRET_VARIABLE = "FLAMES_WEBHOOK_SECRET"  # noqa: S105  (a name, no secret)
_LONGEST_PAUSE = 60.0


class Teller:
    """Messages about a project to one address."""

    def __init__(self, project: Project, url: str, client: httpx2.Client) -> None:
        self.project = project
        self.url = url
        self.client = client
        self._file = project.path / STATE_FILE
        self._place = hashlib.sha256(url.encode()).hexdigest()[:16]
        self._known = _read(self._file)
        self._told = self._known.setdefault(self._place, {})
        self._seen = -1

    def tell(self) -> int:
        """Sends what is new, each message once; returns how many were sent."""
        with self.project.database.read() as connection:
            head = last_event(connection).seq
        if head == self._seen:
            return 0
        made = export(self.project, "adjudicated")
        sent = 0
        for line in map(json.loads, made.text.splitlines()):
            item, finished = line["item"], _finished(line)
            digest = _digest(line) if finished else None
            if digest == self._told.get(item):
                continue
            event = "finished" if finished else "reopened"
            self._post({"event": event, "project": self.project.settings.name, "item": item,
                        "as_of": made.seq, "label": line if finished else None})  # fmt: skip
            if digest is None:
                del self._told[item]
            else:
                self._told[item] = digest
            write_atomic(self._file, json.dumps(self._known) + "\n")
            sent += 1
        self._seen = made.seq
        return sent

    def _post(self, message: dict[str, Any]) -> None:
        body = dump_line(message).encode("utf-8")
        headers = {"Content-Type": "application/json"}
        if secret := os.environ.get(SECRET_VARIABLE):
            signature = hmac.new(secret.encode(), body, "sha256").hexdigest()
            headers["X-Flames-Signature"] = f"sha256={signature}"
        try:
            answer = self.client.post(self.url, content=body, headers=headers)
        except httpx2.HTTPError as error:
            why = str(error) or type(error).__name__
            raise OutsideError(f"the webhook cannot be reached: {why}") from None
        if not answer.is_success:
            raise OutsideError(f"the webhook answered {answer.status_code}")


def _finished(line: dict[str, Any]) -> bool:
    return line["score"] is not None or line.get("unscored") == "unjudgeable"


def _digest(line: dict[str, Any]) -> str:
    label = {name: line.get(name) for name in ("score", "unscored", "rationale", "adjudicator")}
    return hashlib.sha256(json.dumps(label, sort_keys=True).encode()).hexdigest()[:16]


def _read(file: Path) -> dict[str, dict[str, str]]:
    try:
        known: dict[str, dict[str, str]] = json.loads(file.read_text("utf-8"))
        if all(isinstance(told, dict) for told in known.values()):
            return known
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError):
        pass
    message = "is damaged; without it, every finished item is told again"
    raise InputError(message, path=file)


def tell_finished(
    project: Project,
    options: WebhookOptions,
    *,
    told: Callable[[int], None],
    failed: Callable[[OutsideError], None],
) -> None:
    """Tells of finished items until interrupted, or once; waits longer after each failure.

    `told` gets the count of each round with messages; `failed` each failure that is tried again.
    """
    with httpx2.Client(timeout=30, follow_redirects=False) as client:
        teller = Teller(project, options.url, client)
        pause = options.interval
        while True:
            try:
                sent, pause = teller.tell(), options.interval
            except OutsideError as error:
                if options.once:
                    raise
                failed(error)
                pause = min(2 * pause, max(_LONGEST_PAUSE, options.interval))
            else:
                if sent or options.once:
                    told(sent)
                if options.once:
                    return
            time.sleep(pause)
