"""What models cost: the table, the user's own, and what is done with a price."""

from __future__ import annotations

import json
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from command import run
from said_server import SaidServer

from flames.analysis.cost import measure_spending
from flames.collect.limits import Prices
from flames.collect.settings import AskSettings
from flames.models.load import ModelOptions, load_model
from flames.models.prices import find_price, load_prices, prices_file
from flames.models.profiles import user_file
from flames.records import Verdict
from flames.scorers.asking import ModelAnswer, answer_usage, total_usage


@pytest.fixture(autouse=True)
def own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    monkeypatch.setenv("DEEPSEEK_API_KEY", "a-key")
    monkeypatch.chdir(tmp_path)


ENTRY = {
    "provider": "openai", "model": "gpt-x", "currency": "EUR", "in": 3, "out": 4,
    "date": date(2026, 1, 2), "source": "contract",
}  # fmt: skip


def table(**changes: Any) -> str:
    entry = {name: value for name, value in {**ENTRY, **changes}.items() if value is not None}
    lines = (f"{n} = {json.dumps(v) if isinstance(v, str) else v}" for n, v in entry.items())
    return "[[prices]]\n" + "\n".join(lines) + "\n"


def settings_of(spec: str, **given: Any) -> AskSettings:
    return AskSettings(**given).under(load_model(spec, ModelOptions()).terms)  # type: ignore[attr-defined]


def test_every_bundled_price_has_its_date_and_source() -> None:
    prices = load_prices()
    assert len({price.name for price in prices}) == len(prices) > 10
    assert {price.currency for price in prices} == {"CNY", "USD"}
    for price in prices:
        assert price.source.startswith("https://")
        assert date(2026, 1, 1) <= price.date <= date(2026, 12, 31)
        assert price.batch is None or (price.batch_source or "").startswith("https://")


def test_a_price_is_found_by_preset_and_model() -> None:
    found = find_price("minimax", "minimax-m2.7")
    assert found is not None
    assert (found.price_in, found.price_out, found.currency) == (2.1, 8.4, "CNY")
    assert find_price("openai", "MiniMax-M2.7") is None
    assert find_price("deepseek", "no-such-model") is None


def test_what_comes_before_the_table() -> None:
    known = settings_of("openai/gpt-4.1")
    assert known.prices == Prices(2, 8, "USD")
    assert "2026-05-07" in (known.price_source or "")
    halved = known.in_batches()
    assert halved.prices == Prices(1, 4, "USD")
    assert (halved.price_source or "").endswith(", × 0.5 in batches")
    assert halved.in_batches() == halved
    unknown = settings_of("deepseek/deepseek-flash")
    assert unknown.in_batches() == unknown  # no price of batches is documented
    by_hand = settings_of("openai/gpt-4.1", price_in=1.0, price_out=2.0)
    assert by_hand.prices == Prices(1, 2, "")
    assert by_hand.price_source is None
    assert by_hand.in_batches() == by_hand
    user_file().parent.mkdir(parents=True)
    user_file().write_text(
        '[mine]\nmodel = "openai/gpt-4.1"\nprice_in = 5\nprice_out = 6\ncurrency = "CNY"\n'
        '[plain]\nmodel = "openai/gpt-4.1"\nprice_in = 5\nprice_out = 6\n'
        '[slow]\nmodel = "openai/gpt-4.1"\nrpm = 10\n'
    )
    assert settings_of("mine").prices == Prices(5, 6, "CNY")
    assert settings_of("plain").prices == Prices(5, 6, "")  # not the table's currency
    assert settings_of("slow").prices == Prices(2, 8, "USD")
    assert settings_of("slow").rpm == 10
    user_file().write_text('[mine]\nmodel = "openai/gpt-4.1"\ncurrency = "CNY"\n')
    assert run("ask", "mine") == 2


def test_a_table_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.toml").write_text(table(), "utf-8")
    assert run("models", "prices", "--from", "mine.toml", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == str(prices_file())
    [price] = told["prices"]
    assert (price["name"], price["in"], price["date"]) == ("openai/gpt-x", 3.0, "2026-01-02")
    assert tomllib.loads(prices_file().read_text("utf-8"))["prices"][0]["out"] == 4
    assert find_price("openai", "gpt-4.1") is None
    assert settings_of("openai/gpt-x").prices == Prices(3, 4, "EUR")
    assert run("models", "prices", "--lang", "zh") == 0
    assert "自己的价格表" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (table(currency="yuan"), "prices.1.currency"),
        (table(**{"in": -1}), "prices.1.in"),
        (table(batch=2), "prices.1.batch"),
        (table(source=None), "prices.1.source"),
        (table(date=None), "prices.1.date"),
        (table(provider="nobody"), "unknown provider 'nobody'; one of: openai"),
        (table(colour="red"), "prices.1.colour"),
        (table() + table(model="GPT-X"), "openai/GPT-X is there twice"),
        ("prices = 3\n", "a table of prices is a list of [[prices]]"),
        (table().replace("[[prices]]", "[[price]]"), "unknown key `price`"),
        ("[[prices\n", "is no TOML"),
    ],
)
def test_a_wrong_table_changes_nothing(
    text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.toml").write_text(text, "utf-8")
    assert run("models", "prices", "--from", "mine.toml") == 2
    said = capsys.readouterr().err
    assert said.startswith("flames: error: mine.toml: ")
    assert message in said
    assert not prices_file().exists()


def test_a_run_is_estimated_budgeted_and_reported_in_its_currency(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with SaidServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        words = ["--prompts", "quick", "--scorer", "lexical", "--out", "run"]
        assert run("run", "openai/gpt-4.1", *words, "--max-cost", "0.006") == 3
        said = capsys.readouterr().err
        assert "USD" in said.split("it will stop before it costs ")[1].partition("(")[0]
        assert "prices: 2026-05-07, https://" in said
        assert "the budget of 0.006 USD is spent" in said
        assert run("run", "openai/gpt-4.1", *words, "--resume") == 0
        capsys.readouterr()
        assert run("run", "openai/no-such", "--prompts", "quick", "--max-cost", "1") == 2
        assert "none is known for this model" in capsys.readouterr().err
        assert run("ask", "openai/no-such", "--prompts", "quick", "--out", "other") == 0
        assert "cost unknown: no price is known for openai/no-such" in capsys.readouterr().err
    manifest = json.loads(Path("run/manifest.json").read_text("utf-8"))
    assert {session["currency"] for session in manifest["sessions"]} == {"USD"}
    report = json.loads(Path("run/report.json").read_text("utf-8"))
    cost = 24 * (20 * 2 + 30 * 8) / 1e6
    assert report["conditions"]["cost"] == pytest.approx(cost)
    assert report["conditions"]["currency"] == "USD"
    assert f"cost {cost:.4g} USD" in Path("run/report.md").read_text("utf-8")

    manifest["sessions"][0]["currency"] = "CNY"  # the price changed in between
    Path("run/manifest.json").write_text(json.dumps(manifest), "utf-8")
    assert run("report", "run") == 0
    report = json.loads(Path("run/report.json").read_text("utf-8"))
    assert report["conditions"]["cost"] is None


def test_currencies_are_never_added() -> None:
    answer = ModelAnswer("ok", "3", tokens_in=100, tokens_out=10)
    verdicts = [
        Verdict(
            prompt_id=str(n), model="m", scorer="s@1", dimension="Safety", score=3,
            judging=answer_usage([answer], Prices(1, 2, currency)),
        )
        for n, currency in enumerate(("USD", "CNY"))
    ]  # fmt: skip
    assert "cost" not in total_usage(verdicts)
    assert total_usage(verdicts[:1])["currency"] == "USD"
    assert total_usage(verdicts)["requests"] == 2
    [mixed] = measure_spending(verdicts)
    assert (mixed.cost, mixed.currency) == (None, None)
    [one] = measure_spending(verdicts[1:])
    assert (one.cost, one.currency) == (pytest.approx(120e-6), "CNY")
