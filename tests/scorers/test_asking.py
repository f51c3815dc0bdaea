"""How judges and guards are asked: the parameters that they are sent, each its own."""

from __future__ import annotations

from typing import Any

import pytest

from flames.errors import UsageError
from flames.models.base import Reply
from flames.models.load import CallableModel
from flames.records import Response, Verdict
from flames.scorers.base import ScorerContext
from flames.scorers.judge import judge_with
from flames.scorers.options import parse_options
from flames.scorers.registry import load_scorer

RESPONSE = Response(
    prompt_id="p", model="m", prompt="提示", response="好", dimension="Fairness",
    subcomponent="Toxic language",
)  # fmt: skip


def score(spec: str, endpoint: Any, *options: str) -> Verdict:
    given = {"base_url": endpoint.url, "journal": "none", **parse_options(options)}
    [verdict] = load_scorer(spec, ScorerContext(options=given)).score([RESPONSE])
    return verdict


def sent(endpoint: Any, *names: str) -> list[tuple[str, dict[str, Any]]]:
    bodies = [each["body"] for each in endpoint.asked()]
    return [(b["model"], {name: b[name] for name in names if name in b}) for b in bodies]


def test_a_judge_that_takes_no_temperature_judges_all_the_same(endpoint: Any) -> None:
    verdict = score("judge:fixed", endpoint)
    assert (verdict.score, verdict.extra["changed"]) == (3, {"temperature": "left out"})
    first, second = sent(endpoint, "temperature", "max_tokens")
    assert first == ("fixed", {"temperature": 0.0, "max_tokens": 2048})
    assert second == ("fixed", {"max_tokens": 2048})


def test_a_parameter_can_be_left_to_the_provider(endpoint: Any) -> None:
    verdict = score("judge:fixed", endpoint, "temperature=none", "max-tokens=none")
    assert verdict.score == 3
    assert "changed" not in verdict.extra
    assert sent(endpoint, "temperature", "max_tokens") == [("fixed", {})]


def test_the_length_may_have_another_name_and_the_body_more_fields(endpoint: Any) -> None:
    score(
        "judge:j", endpoint, "max_tokens_field=max_completion_tokens", "max_tokens=99",
        'extra_body={"reasoning_effort": "low"}',
    )  # fmt: skip
    [(_, body)] = sent(endpoint, "max_tokens", "max_completion_tokens", "reasoning_effort")
    assert body == {"max_completion_tokens": 99, "reasoning_effort": "low"}


def test_a_form_that_is_refused_is_not_left_out(endpoint: Any) -> None:
    assert score("judge:no-schema", endpoint).score == 3
    forms = sent(endpoint, "response_format", "tools")
    assert [list(body) for _, body in forms] == [["response_format"], ["tools"]]


def test_every_judge_of_a_panel_has_its_own_parameters(endpoint: Any) -> None:
    score(
        "judge:a+b", endpoint, "max_tokens=50", "max-tokens@b=70", "temperature@b=none",
        'extra_body@a={"top_k": 1}',
    )  # fmt: skip
    found = dict(sent(endpoint, "temperature", "max_tokens", "top_k"))
    assert found == {
        "a": {"temperature": 0.0, "max_tokens": 50, "top_k": 1},
        "b": {"max_tokens": 70},
    }
    with pytest.raises(UsageError, match=r"temperature@c is for none of a, b"):
        score("judge:a+b", endpoint, "temperature@c=1")
    with pytest.raises(UsageError, match="has no option 'heat@a'"):
        score("judge:a+b", endpoint, "heat@a=1")


def test_a_judge_lost_in_thought_is_not_asked_again() -> None:
    asked = []

    def think(prompt: str) -> Reply:
        asked.append(prompt)
        return Reply("truncated in thought", text="", reasoning="想")

    model = CallableModel(think, name="thinker")
    judge = judge_with(model, ScorerContext(options={"journal": "none"}))
    [verdict] = judge.score([RESPONSE])
    assert (verdict.score, verdict.unscored) == (None, "truncated in thought")
    assert len(asked) == 1
