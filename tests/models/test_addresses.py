"""Addresses with a query, and Azure's: where a request goes, and with what."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from provider_zoo import CASES, Zoo, zoo

from flames.errors import UsageError
from flames.models.addresses import azure_url, is_azure, public_url, split_query
from flames.models.base import ChatModel, Message, Sampling
from flames.models.load import ModelOptions, load_model

FINE = next(n for n, case in enumerate(CASES) if case["case"] == "openai: an answer")
KEY = "azure-key-0123"


@pytest.fixture(scope="module")
def server() -> Iterator[Zoo]:
    with zoo() as running:
        yield running


def ask(model: ChatModel) -> str | None:
    async def once() -> str | None:
        try:
            return (await model.ask([Message("user", "问")], Sampling())).text
        finally:
            await model.aclose()

    return asyncio.run(once())


def test_a_query_stays_behind_the_path(server: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_KEY", KEY)
    url = f"http://127.0.0.1:{server.port}/{FINE}/deployments/m?api-version=2024-02-01"
    model = load_model("m", ModelOptions(base_url=url, api_key_env="TEAM_KEY"))
    assert ask(model) == "好的。"
    assert server.paths[-1] == f"/{FINE}/deployments/m/chat/completions?api-version=2024-02-01"
    assert server.headers[-1]["authorization"] == f"Bearer {KEY}"
    assert model.describe()["api_version"] == "2024-02-01"


def test_azure_gets_deployment_version_and_key(
    server: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    with pytest.raises(UsageError, match="AZURE_OPENAI_ENDPOINT"):
        load_model("azure/mine")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", f"http://127.0.0.1:{server.port}/{FINE}/")
    model = load_model("azure/mine")
    assert ask(model) == "好的。"
    path = f"/{FINE}/openai/deployments/mine/chat/completions"
    assert server.paths[-1] == f"{path}?api-version=2024-10-21"
    assert server.headers[-1]["api-key"] == KEY
    assert "authorization" not in server.headers[-1]
    assert KEY not in str(model.describe())
    monkeypatch.setenv("AZURE_OPENAI_API_VERSION", "2025-01-01-preview")
    assert ask(load_model("azure/mine")) == "好的。"
    assert server.paths[-1] == f"{path}?api-version=2025-01-01-preview"
    token = ModelOptions(headers={"Authorization": "Bearer a-token-of-mine"})
    assert ask(load_model("azure/mine", token)) == "好的。"
    assert server.headers[-1]["authorization"] == "Bearer a-token-of-mine"
    assert "api-key" not in server.headers[-1]


def test_an_address_of_azure_alone_is_enough(server: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_KEY", KEY)
    base = f"http://127.0.0.1:{server.port}/{FINE}/openai/deployments/m?api-version=1"
    assert ask(load_model("m", ModelOptions(base_url=base, api_key_env="TEAM_KEY"))) == "好的。"
    assert server.headers[-1]["api-key"] == KEY


@pytest.mark.parametrize(
    ("url", "bare", "query"),
    [
        ("https://h/v1", "https://h/v1", {}),
        ("https://h/v1/?a=1&b=#x", "https://h/v1", {"a": "1", "b": ""}),
        ("https://h/v1/chat/completions", "https://h/v1", {}),
        ("https://h/m/chat/completions?v=2", "https://h/m", {"v": "2"}),
    ],
)
def test_queries_are_split_off(url: str, bare: str, query: dict[str, str]) -> None:
    assert split_query(url) == (bare, query)


def test_azure_is_known_by_its_address() -> None:
    assert is_azure("https://x.openai.azure.com/openai/v1")
    assert is_azure("http://gateway/openai/deployments/m")
    assert not is_azure("https://x.azure.com.example.org/v1")
    assert azure_url("https://x/openai/v1", "m", "V") == "https://x/openai/v1"
    assert azure_url("https://x/", "a b", "V").endswith("/deployments/a%20b?api-version=V")
    assert azure_url("https://x/?api-version=W", "m", "V").endswith("?api-version=W")
    assert public_url("https://u:p@h/v1?key=1#f") == "https://h/v1"


def test_dashscope_and_qianfan_may_be_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DASHSCOPE", "QIANFAN"):
        monkeypatch.setenv(f"{name}_API_KEY", KEY)
        monkeypatch.setenv(f"{name}_BASE_URL", f"https://{name.lower()}.example/v1")
        described = load_model(f"{name.lower()}/m").describe()
        assert described["base_url"] == f"https://{name.lower()}.example/v1"
    assert "dashscope-us" in load_model("dashscope-us/m").describe()["base_url"]
