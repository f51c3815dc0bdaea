"""Installs the built wheel into an empty environment and uses it, core dependencies alone.

Finds what an editable install hides: files missing from the wheel, imports of optional parts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--constraints", type=Path, required=True)
    constraints = parser.parse_args().constraints.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
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
