import json
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elexirion_dagster.providers.pricing import cost_usd, price, upper_bound
from elexirion_dagster.records import (
    Message,
    Request,
    TextBlock,
    ThinkingBlock,
    Tool,
    ToolResultBlock,
    ToolUseBlock,
    Usage,
)

TABLE = json.loads(files("elexirion_dagster.providers").joinpath("prices.json").read_text(encoding="utf-8"))


def request(text, **fields):
    return Request(**{"model": "claude-opus-4-5", "messages": (Message("user", (TextBlock(text),)),), **fields})


def test_the_four_buckets_are_billed_apart():
    usage = Usage(1_000_000, 1_000_000, 1_000_000, 1_000_000)
    assert cost_usd("anthropic", "claude-opus-4-5", usage) == 5.0 + 25.0 + 0.5 + 6.25


def test_a_dated_snapshot_costs_what_its_name_costs():
    assert price("anthropic", "claude-opus-4-5-20251101") == price("anthropic", "claude-opus-4-5") is not None


def test_a_long_request_is_billed_at_the_long_rates_as_a_whole():
    short, long = Usage(50_000, 0, 50_000, 0), Usage(50_000, 0, 50_001, 0)
    assert cost_usd("anthropic", "claude-haiku-5-5", short) == pytest.approx(0.0055)
    assert cost_usd("anthropic", "claude-haiku-5-5", long) == pytest.approx(0.0275, rel=1e-4)


@pytest.mark.parametrize("provider", ["local", "fake", "embedded"])
def test_models_that_run_here_cost_nothing(provider):
    assert cost_usd(provider, "whatever", Usage(9, 9)) == 0.0
    assert upper_bound(provider, request("x")).usd == 0.0


def test_an_unknown_price_is_none_and_not_zero():
    assert cost_usd("anthropic", "claude-unheard-of", Usage(9, 9)) is None
    assert upper_bound("anthropic", request("x", model="claude-unheard-of")).usd is None


@given(st.text(), st.integers(1, 10_000))
def test_no_usage_of_one_token_per_byte_exceeds_the_bounds(text, max_tokens):
    asked = request(text, max_tokens=max_tokens)
    size = len(text.encode(errors="replace"))
    assert upper_bound("anthropic", asked).tokens >= size + max_tokens
    for usage in (Usage(size, max_tokens), Usage(0, max_tokens, size, 0), Usage(0, max_tokens, 0, size)):
        assert cost_usd("anthropic", asked.model, usage) <= upper_bound("anthropic", asked).usd


@pytest.mark.parametrize(
    "more",
    [
        {"system": "s" * 5000},
        {"tools": (Tool("t" * 5000, "", {}),)},
        {"tools": (Tool("", "d" * 5000, {}),)},
        {"tools": (Tool("", "", {"x": "i" * 5000}),)},
        {"output_schema": {"x": "o" * 5000}},
        {"messages": (Message("user", (ToolResultBlock("t", "r" * 5000),)),)},
        {"messages": (Message("assistant", (ToolUseBlock("t", "n", {"x": "u" * 5000}),)),)},
        {"messages": (Message("assistant", (ThinkingBlock({"x": "h" * 5000}),)),)},
    ],
)
def test_every_part_of_a_request_counts(more):
    assert upper_bound("anthropic", request("", max_tokens=1, **more)).tokens > 5000


def test_the_bound_in_dollars_stops_at_the_context_window():
    known = price("anthropic", "claude-opus-4-5")
    ceiling = (known.context_window * known.rates.cache_write + 10 * known.rates.output) / 1e6
    assert upper_bound("anthropic", request("x" * 10_000_000, max_tokens=10)).usd == pytest.approx(ceiling)


@pytest.mark.parametrize("name", TABLE["models"])
def test_every_row_of_the_table_can_be_read(name):
    provider, _, model = name.partition("/")
    known = price(provider, model)
    assert 0 < known.rates.cache_read <= known.rates.input <= known.rates.cache_write <= known.rates.output
    assert 0 < known.max_output < known.context_window


def test_the_table_says_when_and_where_it_comes_from():
    assert TABLE["date"] >= "2026-01-01"
    assert "litellm" in TABLE["source"]


@pytest.mark.parametrize("name", ["gemini/gemini-2.5-flash-001", "gemini-legacy/gemini-2.5-flash"])
def test_a_snapshot_and_the_older_sdk_cost_what_the_model_costs(name):
    assert price(*name.split("/")) == price("gemini", "gemini-2.5-flash") is not None
