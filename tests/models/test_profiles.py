"""Models under names of one's own, and with their address in the name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from flames.collect.engine import Collector
from flames.collect.plan import make_plan
from flames.collect.settings import AskSettings
from flames.errors import InputError, UsageError
from flames.models.addresses import public_spec, split_address
from flames.models.base import Sampling
from flames.models.load import CallableModel, ModelOptions, load_model
from flames.models.openai_client import OpenAIModel
from flames.models.profiles import load_profiles, user_file


@pytest.fixture(autouse=True)
def own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


def write(user: str = "", project: str = "") -> None:
    user_file().parent.mkdir(parents=True, exist_ok=True)
    user_file().write_text(user, "utf-8")
    Path("flames.toml").write_text(project, "utf-8")


def loaded(spec: str, **options: Any) -> OpenAIModel:
    model = load_model(spec, ModelOptions(**options))
    assert isinstance(model, OpenAIModel)
    return model


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("J@http://host/v1", ("J", "http://host/v1")),
        ("Qwen/Qwen3-8B@https://user:pw@host:8443/v1", ("Qwen/Qwen3-8B", "https://user:pw@host:8443/v1")),
        ("a@b@HTTP://host", ("a@b", "HTTP://host")),
        ("a@b", ("a@b", None)),
        ("deepseek/deepseek-chat", ("deepseek/deepseek-chat", None)),
        ("http://host/v1", ("http://host/v1", None)),
    ],
)  # fmt: skip
def test_a_name_with_its_address(spec: str, parts: tuple[str, str | None]) -> None:
    assert split_address(spec) == parts


def test_the_address_in_a_name_comes_before_the_option() -> None:
    model = loaded("org/J@http://here:1/v1?api-version=3", base_url="http://there/v1")
    assert (model.model, model.name) == ("org/J", "org/J")
    assert model.base_url == "http://here:1/v1?api-version=3"
    for wrong in ("J@http://", "@http://host/v1"):
        with pytest.raises(UsageError, match=r"takes an address|needs a name"):
            load_model(wrong)


def test_a_manifest_never_holds_the_keys_in_an_address() -> None:
    plan = make_plan("J@https://me:secret@host/v1?key=hidden", "quick")
    manifest = plan.manifest().model_dump_json()
    assert '"spec":"J@https://host/v1"' in manifest
    assert not re.search("secret|hidden", manifest)
    assert public_spec("J") == "J"


USER = """
[judge-72b]
base_url = "http://10.0.0.5:8000/v1"
model = "Qwen/Qwen2.5-72B-Instruct"
api_key_env = "JUDGE_KEY"
headers = {X-Team = "alignment"}
timeout = 30
price_in = 0.5
price_out = 1
extra_body = {enable_thinking = false}

[chat]
model = "deepseek/deepseek-chat"
"""


def test_a_profile_says_how_to_reach_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    write(USER)
    monkeypatch.setenv("JUDGE_KEY", "k-1")
    model = loaded("judge-72b")
    assert (model.name, model.model) == ("judge-72b", "Qwen/Qwen2.5-72B-Instruct")
    assert (model.base_url, model.api_key, model.timeout) == ("http://10.0.0.5:8000/v1", "k-1", 30)
    assert model.headers == {"X-Team": "alignment"}
    sampling = Sampling(temperature=0.5, extra={"top_p": 0.9}).over(model.defaults)
    assert sampling.to_dict() == {"temperature": 0.5, "top_p": 0.9, "enable_thinking": False}
    assert "alignment" not in json.dumps(model.describe())
    # what is given by hand comes first
    monkeypatch.setenv("OTHER", "k-2")
    assert loaded("judge-72b", api_key_env="OTHER", headers={"X-Team": "x"}).api_key == "k-2"
    assert loaded("judge-72b", base_url="http://a/v1").model == "judge-72b"
    monkeypatch.setenv("DEEPSEEK_API_KEY", "k-3")
    chat = loaded("chat")
    assert (chat.name, chat.model, chat.provider) == ("chat", "deepseek-chat", "deepseek")


def test_prices_of_a_profile_hold_unless_others_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    write(USER)
    monkeypatch.setenv("JUDGE_KEY", "k")
    model = load_model("judge-72b")
    prices = Collector(model, settings=AskSettings(max_cost=1.0)).settings.prices
    assert prices is not None
    assert prices.cost(1_000_000, 1_000_000) == 1.5
    dearer = Collector(model, settings=AskSettings(price_in=2, price_out=2)).settings
    assert (dearer.price_in, dearer.price_out) == (2, 2)
    assert Collector(CallableModel(str)).settings.prices is None


def test_the_projects_profiles_come_before_the_users() -> None:
    write(
        '[a]\nbase_url = "http://user/v1"\n[b]\nbase_url = "http://user/v1"\n',
        '[models.a]\nbase_url = "http://project/v1"\n[gate]\nx = 1\n',
    )
    assert {name: each.base_url for name, each in load_profiles().items()} == {
        "a": "http://project/v1",
        "b": "http://user/v1",
    }
    assert loaded("a").base_url == "http://project/v1"


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ("[a", "is no TOML in UTF-8"),
        ("a = 1", "field `a`: is no usable profile"),
        ("[a]\nurl = 'http://x/v1'", "field `a.url`: is no usable profile: Extra inputs"),
        ("[a]\nprice_in = 1", "field `a`: needs a base_url, or the model's name"),
        ("[a]\nbase_url = 'host/v1'", "field `a.base_url`: takes an address like"),
        ("[a]\nmodel = 'x/y'\nprice_in = 1", "field `a`: price_in and price_out go together"),
        ("[a]\nmodel = 'x/y'\nrpm = 0", "field `a.rpm`"),
        ("['a b']\nmodel = 'x/y'", "field `a b`: is no name for a profile"),
        ("[local]\nmodel = 'x/y'", "is no name for a profile"),
        ("[a]\nmodel = 'a'", "field `a`: leads to another profile, a"),
    ],
)
def test_a_broken_profile_is_one_clear_line(user: str, said: str) -> None:
    write(user)
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        load_model("a")
    assert str(user_file()) in str(caught.value)
    load_model("ollama/x")  # files are read for names that may be profiles


def test_a_name_without_a_place_says_what_would_be_right() -> None:
    with pytest.raises(UsageError, match=re.escape("J@http://localhost:8000/v1")):
        load_model("J")
