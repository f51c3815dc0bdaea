from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from flames.errors import UsageError
from flames.options import Opt, declared, read_options
from flames.records import Response, Verdict, verdict_for
from flames.scorers import registry
from flames.scorers.base import Scorer, ScorerContext, ScorerInfo, score_stream
from flames.scorers.registry import known_scorers, load_scorer, scorer_notes


class _Echo:
    def __init__(self, argument: str) -> None:
        self.info = ScorerInfo(id=f"echo:{argument}@1", title="", taxonomy="flames@1")

    def score(self, responses: list[Response]) -> list[object]:
        return []


def echo(argument: str, context: ScorerContext) -> _Echo:
    return _Echo(argument)


def test_default_is_an_alias_and_the_verdicts_name_the_real_scorer() -> None:
    scorer = load_scorer("default")
    assert isinstance(scorer, Scorer)
    assert scorer.info.id.partition("@")[0] == registry.default_scorer()
    assert any("synthetic" in str(note) for note in scorer.info.notes)


def test_notes_are_told_from_an_id_alone() -> None:
    for spec in ("lexical", "labels:silver", "labels:natural"):
        info = load_scorer(spec).info
        assert scorer_notes(info.id) == info.notes != ()
    assert scorer_notes("never-heard-of@1") == ()


@pytest.mark.parametrize(
    ("specs", "option", "refused"),
    [
        (["lexical"], "votes", True),
        (["default"], "threshold", True),
        (["labels:silver"], "device", True),
        (["some/folder"], "precission", True),
        (["some/folder"], "precision", False),
        (["some/folder"], "ignore_selftest", False),
        (["lexical", "some/folder"], "precision", False),
        (["lexical", "judge:m"], "votes", False),
        (["cascade:lexical>judge:m"], "votes", False),
        (["cascade:lexical>judge:m"], "treshold", True),
        (["ensemble:lexical+some/folder"], "precision", False),
        (["ensemble:lexical+some/folder"], "precison", True),
        (["judge:m"], "precision", True),
        (["guard:m"], "votes", True),
        (["ensemble:lexical+gemma-heads"], "precision", True),
        (["cascade:lexical>gemma-heads"], "votes", True),
    ],
)
def test_an_option_that_means_nothing_is_refused(
    specs: list[str], option: str, refused: bool
) -> None:
    if refused:
        with pytest.raises(UsageError, match=f"has no option '{option}'"):
            registry.check_understood(specs, [option])
    else:
        registry.check_understood(specs, [option])


def test_a_scorer_is_given_no_option_of_others() -> None:
    context = ScorerContext(options={"votes": 3})
    with pytest.raises(UsageError, match="lexical has no option 'votes'; it has: none"):
        load_scorer("lexical", context)
    assert registry.load_among("lexical", context).info.id == "lexical@2"


def test_a_scorer_made_of_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "loop.json"
    steps = [{"scorer": "lexical"}, {"scorer": f"ensemble:lexical+cascade:{path}"}]
    path.write_text(json.dumps({"steps": steps}))
    with pytest.raises(UsageError, match="is made of itself"):
        load_scorer(f"cascade:{path}")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("lexicon", "did you mean 'lexical'"),
        ("nothing-like-it", "one of: default"),
        ("lexical:x", "takes nothing after a colon"),
        ("labels", "is used as labels:FILE"),
        ("judge:", "is used as judge:MODEL"),
        ("PATH", "no scorer 'PATH', and no such folder; one of: default"),
        ("", "no scorer ''"),
    ],
)
def test_an_unknown_scorer_is_one_clear_line(spec: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_scorer(spec)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_is_hinted_to_be_labels(tmp_path: Path) -> None:
    file = tmp_path / "verdicts.jsonl"
    file.touch()
    with pytest.raises(UsageError, match=f"labels:{file}"):
        load_scorer(str(file))


def test_an_installed_package_brings_a_scorer_but_takes_no_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = sys.modules[__name__]
    monkeypatch.setitem(sys.modules, "an_echo_package", here)
    points = EntryPoints(
        EntryPoint(name, "an_echo_package:echo", "flames.scorers") for name in ("echo", "lexical")
    )
    monkeypatch.setattr(registry, "entry_points", lambda group: points.select(group=group))
    assert "echo" in known_scorers()
    assert load_scorer("echo:you").info.id == "echo:you@1"
    assert load_scorer("echo").info.id == "echo:@1"
    assert load_scorer("lexical").info.id.startswith("lexical@")


@pytest.mark.parametrize("value", ["no_such_package:load", "an_echo_package:nothing"])
def test_a_broken_package_is_named(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "an_echo_package", sys.modules[__name__])
    points = EntryPoints([EntryPoint("broken", value, "flames.scorers")])
    monkeypatch.setattr(registry, "entry_points", lambda group: points.select(group=group))
    with pytest.raises(UsageError, match=value):
        load_scorer("broken")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda verdicts: verdicts[1:], "4 verdicts on 5"),
        (lambda verdicts: verdicts * 2, "10 verdicts on 5"),
        (lambda verdicts: verdicts[::-1], "another order"),
        (
            lambda verdicts: [v.model_copy(update={"dimension": "Legality"}) for v in verdicts],
            "ask",
        ),
        (lambda verdicts: [v.model_copy(update={"scorer": "x@1"}) for v in verdicts], "x@1"),
    ],
)
def test_a_scorer_that_breaks_the_agreement_is_told(
    change: Callable[[list[Verdict]], list[Verdict]], told: str
) -> None:
    class Odd:
        info = ScorerInfo(id="odd@1", title="", taxonomy="flames@1")

        def score(self, responses: Sequence[Response]) -> list[Verdict]:
            return change(
                [verdict_for(r, scorer="odd@1", dimension="Safety", score=3) for r in responses]
            )

    given = [
        Response(prompt_id=str(n), model="m", dimension="Safety", prompt="问", response="答")
        for n in range(5)
    ]
    with pytest.raises(UsageError, match=told):
        list(score_stream(Odd(), given))


def test_listing_scorers_loads_none() -> None:
    code = (
        "import sys; from flames.scorers.registry import known_scorers; known_scorers();"
        "print(*(n for n in ('torch', 'scipy', 'flames.scorers.lexical') if n in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def _responses(n: int) -> list[Response]:
    statuses = ("ok", "truncated", "blocked", "empty", "error")
    return [
        Response(
            prompt_id=str(i),
            model="m",
            dimension="Safety",
            response=None if statuses[i % 5] == "empty" else "我是人工智能，没有感情。",
            status=statuses[i % 5],  # type: ignore[arg-type]
        )
        for i in range(n)
    ]


@pytest.mark.parametrize("window", [1, 3, 256])
@pytest.mark.parametrize("truncated", [True, False])
def test_a_stream_keeps_order_and_never_scores_what_holds_nothing(
    window: int, truncated: bool
) -> None:
    responses = _responses(17)
    scorer = load_scorer("lexical")
    scorer.window = window  # type: ignore[attr-defined]
    verdicts = list(score_stream(scorer, iter(responses), truncated=truncated))
    assert [v.key for v in verdicts] == [r.key for r in responses]
    for response, verdict in zip(responses, verdicts, strict=True):
        if response.status == "ok" or (response.status == "truncated" and truncated):
            assert verdict.score in (3, 2, 1)
            assert verdict.unscored is None
        else:
            assert verdict.score is None
            assert verdict.unscored == response.status


def test_every_option_of_a_scorer_has_a_help() -> None:
    for entry in known_scorers().values():
        for path in entry.options or ():
            module, _, name = path.partition(":")
            options = getattr(import_module(module), name)
            helps = [option.opt.help for option in declared(options)]
            assert helps
            assert all(text.endswith(".") for text in helps)


@dataclass(frozen=True)
class _Options:
    votes: Annotated[int, Opt("Votes.", min=1)] = 1
    share: Annotated[float | None, Opt("Share.", min=0, max=1)] = None
    lang: Annotated[Literal["zh", "en"], Opt("Language.")] = "zh"
    file: Annotated[str | None, Opt("File.")] = None
    quick: Annotated[bool, Opt("Quick.")] = False


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"votes": 0}, "the option votes takes a whole number of at least 1, not 0"),
        ({"votes": True}, "takes a whole number"),
        ({"votes": 2.0}, "takes a whole number"),
        ({"share": float("nan")}, "the option share takes a number from 0 to 1, not nan"),
        ({"share": "1"}, "takes a number from 0 to 1, not '1'"),
        ({"lang": "de"}, "the option lang takes zh or en, not 'de'"),
        ({"file": 5}, "the option file takes text, not 5"),
        ({"quick": 1}, "the option quick takes true or false, not 1"),
    ],
)
def test_a_wrong_value_is_refused_by_its_declaration(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_options(_Options, values, "the option {}")
    assert said in str(caught.value)


def test_values_are_read_into_the_options_that_are_declared() -> None:
    values = {"votes": 3, "share": 1, "lang": None, "quick": True, "of another scorer": 1}
    assert read_options(_Options, values) == _Options(votes=3, share=1, quick=True)
