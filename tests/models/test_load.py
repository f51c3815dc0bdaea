"""From a model's name to something that can be asked."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from flames.errors import InputError, UsageError
from flames.models.base import Message, Sampling
from flames.models.load import ModelOptions, load_model
from flames.models.openai_client import OpenAIModel
from flames.models.providers import PRESETS


@pytest.mark.parametrize("preset", [name for name, p in PRESETS.items() if p.key_env])
def test_every_preset_is_reached_with_its_key(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PRESETS[preset].key_env[0], "sk-0123456789")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://mine.openai.azure.com")
    model = load_model(f"{preset}/some/model")
    assert model.name == "some/model"
    described = model.describe()
    assert described["provider"] == preset
    azure = "https://mine.openai.azure.com/openai/deployments/some%2Fmodel"
    assert described["base_url"] == (PRESETS[preset].base_url or azure)
    assert "sk-0123456789" not in json.dumps(described)


@pytest.mark.parametrize("preset", ["ollama", "vllm", "lmstudio"])
def test_servers_on_this_machine_need_no_key(preset: str) -> None:
    assert "localhost" in load_model(f"{preset}/m").describe()["base_url"]


def test_the_presets_that_users_know_are_all_there() -> None:
    assert set(PRESETS) == set(
        "openai azure deepseek dashscope dashscope-intl dashscope-us zhipu moonshot minimax "
        "qianfan ark siliconflow openrouter ollama vllm lmstudio".split()
    )


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("gpt-4o", "--base-url"),
        ("", "--base-url"),
        ("nobody/gpt", "--base-url"),
        ("openai/", "--base-url"),
        ("openai/gpt-4o", "OPENAI_API_KEY"),
        ("zhipu/glm", "ZHIPUAI_API_KEY"),
        ("azure/mine", "AZURE_OPENAI_API_KEY"),
    ],
)
def test_what_cannot_be_reached_says_what_is_missing(spec: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        load_model(spec)
    assert "\n" not in str(error.value)


def test_another_variable_may_hold_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    options = ModelOptions(base_url="http://127.0.0.1:1/v1", api_key_env="TEAM_KEY")
    with pytest.raises(UsageError, match="TEAM_KEY"):
        load_model("m", options)
    monkeypatch.setenv("TEAM_KEY", "two words")
    with pytest.raises(UsageError, match="no usable key"):
        load_model("m", options)
    monkeypatch.setenv("TEAM_KEY", "sk-1")
    assert load_model("m", options).name == "m"


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://x/v1", "http://", "http://x:99999/"])
def test_an_address_must_be_one(url: str) -> None:
    with pytest.raises(UsageError, match="--base-url"):
        load_model("m", ModelOptions(base_url=url))


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_a_timeout_is_a_number_of_seconds(timeout: float) -> None:
    with pytest.raises(UsageError, match="timeout"):
        load_model("ollama/m", ModelOptions(timeout=timeout))


@pytest.mark.parametrize(
    "parameters",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"max_tokens": 0},
        {"extra": {"stream": True}},
        {"extra": {"n": 2}},
    ],
)
def test_sampling_parameters_are_checked(parameters: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Sampling(**parameters)  # type: ignore[arg-type]


def test_sampling_fills_what_is_left_open() -> None:
    wanted = Sampling(temperature=0, extra={"a": 1})
    assert wanted.over(Sampling(0.7, 100, 3, {"a": 0, "b": 2})).to_dict() == {
        "temperature": 0,
        "max_tokens": 100,
        "seed": 3,
        "a": 1,
        "b": 2,
    }


def test_a_package_brings_a_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "echo_models.py").write_text(
        "from flames import CallableModel\n"
        "def load(name, options):\n"
        "    return CallableModel(lambda prompt: prompt + name, name=name)\n"
    )
    info = tmp_path / "echo_models-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: echo-models\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[flames.models]\necho = echo_models:load\nbroken = echo_models:nothing\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match="echo_models:nothing"):
        load_model("broken/x")
    model = load_model("echo/x")
    reply = asyncio.run(model.ask([Message("user", "你好")], Sampling()))
    assert (model.name, reply.text) == ("x", "你好x")
    sys.modules.pop("echo_models")


def test_local_files_are_looked_at_first(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    other = tmp_path / "x.gguf"
    other.write_bytes(b"hello")
    for spec, said in (
        (f"gguf:{tmp_path / 'none.gguf'}", "no such file"),
        (f"gguf:{tmp_path}", "directory"),
        (f"gguf:{other}", "no GGUF file"),
        (f"hf:{tmp_path / 'none'}", "no such folder"),
        (f"hf:{tmp_path}", "config.json"),
    ):
        with pytest.raises(InputError, match=f"(?i){said}"):
            load_model(spec)


def test_the_address_is_described_without_credentials() -> None:
    url = "https://user:secret@host.example:8443/v1?key=alsosecret#x"
    model = OpenAIModel("m", url, api_key="sk-third", headers={"X-Key": "fourth-secret"})
    described = json.dumps(model.describe())
    assert "https://host.example:8443/v1" in described
    assert "X-Key" in described
    assert "secret" not in described
