import json

import pytest

from elexirion_dagster.errors import InputError
from elexirion_dagster.providers.pricing import cost_usd, own_prices, price, upper_bound
from elexirion_dagster.records import Message, Request, TextBlock, Usage

ROW = {"input": 1, "output": 2, "cache_read": 0.5, "cache_write": 1.5, "context_window": 1000, "max_output": 100}
ASKED = Request("hosted", (Message("user", (TextBlock("x"),)),), max_tokens=10)


@pytest.fixture
def own(tmp_path):
    def own(**models):
        file = tmp_path / "prices.json"
        file.write_text(json.dumps({"models": models}))
        return own_prices(file)

    return own


def test_own_prices_go_before_the_known_ones_and_add_to_them(own):
    prices = own(**{"anthropic/claude-opus-4-5": ROW, "anthropic/claude-of-tomorrow": ROW})
    for model in ("claude-opus-4-5", "claude-opus-4-5-20251101", "claude-of-tomorrow"):
        assert cost_usd("anthropic", model, Usage(1_000_000, 1_000_000), prices) == 3.0
    assert price("anthropic", "claude-haiku-4-5", prices) == price("anthropic", "claude-haiku-4-5")


def test_a_server_that_is_not_here_can_be_given_a_price(own):
    prices = own(**{"local/hosted": ROW})
    assert cost_usd("local", "hosted", Usage(1_000_000, 0), prices) == 1.0
    assert upper_bound("local", ASKED, prices).usd > 0
    assert cost_usd("local", "another", Usage(1_000_000, 0), prices) == 0.0


def test_without_a_file_there_are_none():
    assert own_prices(None) == {}


@pytest.mark.parametrize(
    "change", [{"input": -1}, {"input": "free"}, {"output": float("nan")}, {"cache_read": None}, {"context_window": 0}]
)
def test_a_price_that_would_break_a_budget_is_refused_with_the_form_that_is_right(own, change):
    with pytest.raises(InputError, match=r"the price of 'local/hosted' in .* cannot be used: ") as refused:
        own(**{"local/hosted": {**ROW, **change}})
    assert '"context_window"' in refused.value.mend


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not JSON"),
        ("[]", "has no object 'models'"),
        ("{}", "has no object 'models'"),
        ('{"models": []}', "has no object 'models'"),
        ('{"models": {"a/b": 3}}', "cannot be used"),
        ('{"models": {"a/b": {}}}', "cannot be used"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, text, why):
    file = tmp_path / "prices.json"
    file.write_text(text)
    with pytest.raises(InputError, match=why) as refused:
        own_prices(file)
    assert str(file) in refused.value.message


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        own_prices(tmp_path / "none.json")
