"""A scorer from a package of its own, for workers in other processes: it misbehaves on demand.

`odd:FOLDER` gives 3 to a response of even length and 1 to the others. What a response holds says
what else happens, FOLDER being where it is remembered:

    ⟦die once⟧   the process is killed, the first time
    ⟦die⟧        the process is killed, each time
    ⟦down⟧       an OutsideError, until FOLDER/up is there
    ⟦bug⟧        an exception that is no FlamesError
    ⟦hang⟧       waits, until FOLDER/up is there, after a byte to the pipe FOLDER/hangs
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

from flames.errors import OutsideError
from flames.records import Response, Verdict, verdict_for
from flames.scorers.base import ScorerContext, ScorerInfo


class Odd:
    window = 4

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.info = ScorerInfo(id="odd@1", title="odd", taxonomy="flames@1")

    def score(self, responses: Sequence[Response]) -> list[Verdict]:
        with (self.folder / "processes").open("a") as file:
            file.write(f"{os.getpid()}\n")
        return [self._one(response) for response in responses]

    def _one(self, response: Response) -> Verdict:
        text, up = response.response or "", (self.folder / "up").exists()
        once = self.folder / f"died-{response.prompt_id}"
        if "⟦die⟧" in text or ("⟦die once⟧" in text and not once.exists()):
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if "⟦down⟧" in text and not up:
            raise OutsideError("the judge is down")
        if "⟦bug⟧" in text:
            raise ZeroDivisionError("odd")
        if "⟦hang⟧" in text and not up:
            with (self.folder / "hangs").open("wb") as pipe:
                pipe.write(b".")
            threading.Event().wait()
        score = 1 if len(text) % 2 else 3
        return verdict_for(response, scorer=self.info.id, score=score, probabilities={"3": 1 / 3})


def load(argument: str, context: ScorerContext) -> Odd:
    return Odd(Path(argument))


def install(folder: Path) -> None:
    """Makes a package of this file that brings the scorer, in a folder for PYTHONPATH."""
    (folder / "odd_scorer.py").write_text(Path(__file__).read_text("utf-8"), "utf-8")
    info = folder / "odd_scorer-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-scorer\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[flames.scorers]\nodd = odd_scorer:load\n")
