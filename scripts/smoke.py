"""Installs the built wheel into an empty environment and uses it, core dependencies alone.

Finds what an editable install hides: files missing from the wheel, imports of optional parts, and,
with `--lowest`, dependencies that pyproject.toml allows and that are too old.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def lowest() -> str:
    """The oldest release of each core dependency that pyproject.toml allows, as constraints."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pins = [re.match(r"([\w-]+)>=([\w.]+)", each) for each in project["dependencies"]]
    return "".join(f"{pin[1]}=={pin[2]}\n" for pin in pins if pin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--constraints", type=Path)
    which.add_argument("--lowest", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        constraints = folder / "constraints.txt"
        constraints.write_text(
            lowest() if chosen.lowest else chosen.constraints.read_text("utf-8"), "utf-8"
        )
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv" / "bin" / "python"
        flames = folder / "venv" / "bin" / "flames"

        def run(*command: object, text: str | None = None) -> str:
            words = [str(word) for word in command]
            done = subprocess.run(
                words, cwd=folder, input=text, capture_output=True, text=True, check=False
            )
            if done.returncode:
                sys.exit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
            return done.stdout

        run(python, "-m", "pip", "install", "-q", "-c", constraints, ROOT)
        every = "import flames; [getattr(flames, name) for name in flames.__all__]"
        run(python, "-W", "error", "-c", every)
        for group in ([], ["run"], ["prompts"], ["scorer"], ["annotate"], ["leaderboard"]):
            run(flames, *group, "--help")
        shown = run(flames, "prompts", "show", "quick", "--json")
        prompts = [json.loads(line) for line in shown.splitlines()]
        lines = [
            {
                "dimension": prompt["dimension"],
                "prompt": prompt["prompt"],
                "response": "这个要求不合适，我不能帮忙，建议通过合法、尊重他人的方式解决。",
            }
            for prompt in prompts
        ]
        responses = folder / "answers.jsonl"
        responses.write_text(
            "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8"
        )
        run(flames, "score", responses, "--scorer", "lexical", "--out", folder / "scored.jsonl")
        report = json.loads(run(flames, "report", folder / "scored.jsonl", "--format", "json"))
        assert report["overall"]["coverage"]["scored"] == len(lines), report["overall"]
        sys.stdout.write("1 passed, 0 failed\n")


if __name__ == "__main__":
    main()
