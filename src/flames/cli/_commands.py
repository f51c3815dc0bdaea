"""Every command: its name, where it stands, and what it does in one sentence.

A command's module is imported when the command or its help is asked for, so that `flames --help`
stays instant. The sentences stand in `reports/strings.json` under `help.`; the English one is the
first of the function's docstring.
"""

from __future__ import annotations

import json
from collections import UserDict
from collections.abc import Mapping
from functools import cache
from importlib import import_module, resources
from typing import Any

from typer.core import TyperCommand, TyperGroup

from flames.cli._declare import build_command
from flames.options import default_language

# A command's function, `module:function` under `flames.cli`; or a group of commands.
COMMANDS: dict[str, Any] = {
    "run": "ask:run",
    "ask": "ask:ask",
    "study": "study:study",
    "batch": {"export": "batch:export", "import": "batch:import_results"},
    "merge": "merge:merge",
    "score": "score:score",
    "report": "report:report",
    "compare": "compare:compare",
    "trend": "compare:trend",
    "gate": "gate:gate",
    "models": {"list": "models:list_models", "ping": "models:ping", "prices": "models:prices"},
    "certify": "compare:certify",
    "prompts": {
        "list": "prompts:list_sets",
        "show": "prompts:show_prompts",
        "stats": "prompts:stats",
        "validate": "prompts:validate",
        "check": "prompts:check",
        "diff": "prompts:diff",
        "try": "authoring:try_",
        "vary": "authoring:vary",
        "accept": "authoring:accept",
        "difficulty": "difficulty:difficulty",
        "select": "difficulty:select",
        "fetch": "prompts:fetch",
        "pack": "prompt_packages:pack",
        "install": "prompt_packages:install",
        "import": "prompts_import:import_set",
        "contamination": "prompt_packages:contamination",
    },
    "scorer": {
        "calibrate": "scorer:calibrate",
        "card": "scorer:card",
        "list": "scorer:list_scorers",
        "info": "scorer:info",
        "eval": "scorer:evaluate",
        "selftest": "scorer:selftest",
        "export": "training:export",
        "import": "training:import_scorer",
        "probe": "scorer:probe",
        "spent": "scorer:spent",
        "train": "training:train",
    },
    "filing": {"check": "filing:check", "draw": "filing:draw", "report": "filing:report"},
    "leaderboard": {
        "show": "leaderboard:show_published",
        "audit": "leaderboard:audit",
        "add": "leaderboard:add",
        "build": "leaderboard:build",
        "attack": "leaderboard:attack",
    },
    "annotate": {
        "init": "annotate:init",
        "serve": "annotate:serve",
        "status": "annotate:status",
        "agreement": "annotate:agreement",
        "adjudicate": "annotate:adjudicate",
        "add": "annotate_lead:add",
        "batch": "annotate_lead:batch",
        "guideline": "annotate_lead:guideline",
        "comment": "annotate_lead:comment",
        "rules": "annotate_lead:rules",
        "sheet": "annotate:sheet",
        "void": "annotate:void",
        "import": "annotate:import_labels",
        "export": "annotate:export",
        "verify": "annotate:verify",
        "backup": "annotate:backup",
        "webhook": "annotate:webhook",
        "user": {
            "add": "annotate:add_person",
            "list": "annotate:list_people",
            "link": "annotate:renew_link",
            "token": "annotate:give_token",
            "password": "annotate:set_password",
            "stop": "annotate:stop",
            "resume": "annotate:resume",
            "release": "annotate:release",
            "quota": "annotate_lead:quota",
        },
    },
}


@cache
def _help_texts() -> dict[str, dict[str, str]]:
    file = resources.files("flames").joinpath("reports", "strings.json")
    texts: dict[str, dict[str, str]] = json.loads(file.read_text("utf-8"))
    return texts


def help_of(path: str) -> str:
    """Returns what a command does (`scorer train`), one sentence in the user's language."""
    return _help_texts()["help." + path.replace(" ", ".")][default_language()]


class LazyGroup(TyperGroup):
    """A group of commands with a stored help text for each; imports a command on use."""

    def __init__(self, path: str = "", table: Mapping[str, Any] = COMMANDS, **given: Any) -> None:
        super().__init__(**given)
        self.helps = {name: help_of(f"{path} {name}".strip()) for name in table}
        self.commands = _Loaded(path, table)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes each command with its whole first sentence, where typer would cut it off."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.helps.items()))

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Completes names without importing the commands."""
        names = {name: TyperCommand(name, help=text) for name, text in self.helps.items()}
        ctx.command = TyperGroup(commands=names)  # type: ignore[arg-type]
        return super().shell_complete(ctx, incomplete)


class _Loaded(UserDict[str, Any]):
    """The commands of a group, each built when it is asked for."""

    def __init__(self, path: str, table: Mapping[str, Any]) -> None:
        super().__init__(table)
        self._path = path

    def __getitem__(self, name: str) -> Any:
        entry = self.data[name]
        path = f"{self._path} {name}".strip()
        if not isinstance(entry, str):
            return LazyGroup(
                path,
                entry,
                name=name,
                help=help_of(path),
                no_args_is_help=True,
                rich_markup_mode=None,
            )
        module, _, function = entry.partition(":")
        command = build_command(name, getattr(import_module(f"flames.cli.{module}"), function))
        if default_language() != "en":  # the sentence stands in the docstring in English
            _, *rest = (command.help or "").split("\n\n")
            command.help = "\n\n".join((help_of(path), *rest))
        return command
