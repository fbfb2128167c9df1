import json

import pytest
from priced import PRICED, WITH_KEY, Priced, priced

from elexirion_dagster.errors import PolicyError
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.fake import Rule
from elexirion_dagster.records import Usage
from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer

UNPRICED = PRICED.replace("claude-sonnet-4-5", "claude-of-tomorrow")


@pytest.mark.parametrize("budget", ["budget: {usd: 100}\n", "budget: {call: {usd: 100}}\n"])
def test_a_run_with_a_dollar_budget_and_an_unknown_price_does_not_begin(start, budget):
    with pytest.raises(PolicyError, match="price of anthropic/claude-of-tomorrow is not known") as refused:
        priced(start, budget, text=UNPRICED)
    assert refused.value.cause == "budget_exceeded"
    assert "ELEXIRION_PRICES" in refused.value.mend
    free, _ = priced(start, "budget: {tokens: 100000, call: {tokens: 100000}}\n", text=UNPRICED)
    assert (free.all()["ask"].status, free.results["ask"].cost_usd) == ("succeeded", None)


def test_a_price_is_asked_for_where_a_budget_in_dollars_holds_and_nowhere_else(start):
    steps = """
model: anthropic/claude-of-tomorrow
steps:
  - {name: free, type: llm, prompt: go}
  - name: each
    type: for_each
    items: [1]
    budget: {usd: 1}
    steps: [{name: ask, type: llm, prompt: go, model: anthropic/%s}]
"""
    rehearsed, _ = priced(start, "claude-sonnet-4-5", text=steps)
    assert rehearsed.all()["each"].status == "succeeded"
    with pytest.raises(PolicyError, match="step ask"):
        priced(start, "claude-of-tomorrow", text=steps)


def test_a_price_of_zero_is_how_to_begin_all_the_same(start, tmp_path):
    row = dict.fromkeys(("input", "output", "cache_read", "cache_write"), 0)
    prices = tmp_path / "prices.json"
    model = {**row, "context_window": 9000, "max_output": 9000}
    prices.write_text(json.dumps({"models": {"anthropic/claude-of-tomorrow": model}}))
    settings = {**WITH_KEY, "prices": prices}
    rehearsed = start(UNPRICED % "budget: {usd: 0.01}\n", settings=settings, opened={"anthropic": Priced()})
    assert (rehearsed.all()["ask"].status, rehearsed.results["ask"].cost_usd) == ("succeeded", 0.0)


def test_a_model_that_is_not_configured_is_told_by_its_step_and_not_by_the_budget(start):
    text = """
model: fake
budget: {usd: 1}
steps:
  - {name: never, type: llm, prompt: go, model: gemini/gemini-2.5-flash, when: "{{ 1 > 2 }}"}
  - {name: ask, type: llm, prompt: go}
"""
    assert [result.status for result in start(text).all().values()] == ["skipped", "succeeded"]


class Counting(Priced):
    """Counts a quarter of the bytes, as real tokenizers do, unless it is told to fail."""

    def __init__(self, rules=(), failure=None):
        super().__init__(rules)
        self.counts = 0
        self.failure = failure

    def count_tokens(self, request, **_options):
        self.counts += 1
        if self.failure is not None:
            raise self.failure
        return len(request.messages[-1].content[0].text) // 4


LONG = (
    "model: anthropic/claude-sonnet-4-5\n%ssteps: [{name: ask, type: llm, prompt: '"
    + "word " * 2000
    + "', max_tokens: 100}]"
)
"""10,000 bytes, 2,500 tokens: bounds of $0.039 and $0.0115."""


def counting(start, budget, failure=None):
    counting = Counting([Rule(text="ok", usage=Usage(2500, 100))], failure)
    return start(LONG % budget, settings=WITH_KEY, opened={"anthropic": counting}), counting


@pytest.mark.parametrize("budget", ["usd: 0.02", "tokens: 4000", "call: {usd: 0.02}", "call: {tokens: 4000}"])
def test_where_the_byte_bound_does_not_fit_the_provider_s_count_is_held(start, budget):
    rehearsed, provider = counting(start, f"budget: {{{budget}}}\n")
    assert rehearsed.all()["ask"].status == "succeeded"
    (intent,) = rehearsed.lines("intent")
    assert 2600 < intent["max_tokens"] < 3000
    assert (provider.counts, len(provider.requests)) == (1, 1)


def test_an_ordinary_call_is_not_counted(start):
    for budget in ("", "budget: {usd: 0.05, tokens: 20000}\n"):
        rehearsed, provider = counting(start, budget)
        assert rehearsed.all()["ask"].status == "succeeded"
        assert provider.counts == 0


def test_no_count_is_asked_for_where_no_input_however_short_would_fit(start):
    rehearsed, provider = counting(start, "budget: {usd: 0.001}\n")
    assert rehearsed.all()["ask"].error.cause == "budget_exceeded"
    assert provider.counts == 0


def test_a_count_that_is_too_large_refuses_with_the_count(start):
    rehearsed, provider = counting(start, "budget: {tokens: 2000}\n")
    error = rehearsed.all()["ask"].error
    assert "this call may need 2757" in error.message
    assert (provider.counts, len(provider.requests), error.cause) == (1, 0, "budget_exceeded")


@pytest.mark.parametrize("cause", ["timeout", "rate_limited", "auth"])
def test_a_count_that_fails_leaves_the_byte_bound(start, cause):
    rehearsed, provider = counting(start, "budget: {tokens: 4000}\n", ProviderError("no", cause=cause))
    error = rehearsed.all()["ask"].error
    assert "this call may need 101" in error.message
    assert (provider.counts, len(provider.requests), error.cause) == (1, 0, "budget_exceeded")


def test_real_clients_count_over_their_sockets(start):
    with RehearsalServer(Script.model_validate({"answers": [{"text": "ok"}]})) as server:
        settings = {"model": None, "anthropic_api_key": "not-a-key", "anthropic_base_url": server.base_url}
        result = start(LONG % "budget: {usd: 0.02}\n", settings=settings).all()["ask"]
        assert [request.path for request in server.requests] == ["/v1/messages/count_tokens", "/v1/messages"]
    assert result.status == "succeeded"
