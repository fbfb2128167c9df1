import threading
import time

import pytest

from elexirion_dagster.errors import InputError, PolicyError
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.fake import FakeProvider, Rule
from elexirion_dagster.rehearsal.script import Rate, Script
from elexirion_dagster.rehearsal.server import RehearsalServer
from elexirion_dagster.store.accounts.gates import FAILURES

EACH = """
model: {model}
retry: {{max_attempts: {attempts}, initial_s: 0}}
steps:
  - name: each
    type: for_each
    items: "{{{{ range({items}) | list }}}}"
    max_parallel: {items}
    on_error: collect
    steps: [{{name: ask, type: llm, prompt: "about {{{{ item }}}}"}}]
"""


def each(*, model="fake", items=8, attempts=3):
    return EACH.format(model=model, items=items, attempts=attempts)


def local(server, rates=""):
    return {"model": None, "local_base_url": f"{server.base_url}/v1", "rates": rates}


class Ill(FakeProvider):
    """The model `a` is ill; `b` answers."""

    def send(self, request, **options):
        if request.model == "a":
            self.requests.append(request)
            raise ProviderError("busy", cause="overloaded")
        return super().send(request, **options)


def test_waiting_for_a_turn_is_no_attempt_and_no_call_of_a_limited_rate_gets_a_429(start):
    with RehearsalServer(Script(rate=Rate(requests_per_s=40, burst=10))) as server:
        rehearsed = start(each(model="local/m", items=40), settings=local(server, "local=40rps"))
        rehearsed.all()
        assert (server.count, server.refused) == (40, 0)
    assert [line["attempt"] for line in rehearsed.lines("intent")] == [1] * 40
    assert len(rehearsed.lines("reply")) == 40


def test_slots_hold_over_two_runs_at_once(start):
    with RehearsalServer(Script(latency_ms=50)) as server:
        runs = [start(each(model="local/m", items=12), settings=local(server, "local=4slots")) for _ in range(2)]
        threads = [threading.Thread(target=run.all) for run in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (server.count, server.peak_in_flight) == (24, 4)
    assert {run.results["each"].status for run in runs} == {"succeeded"}


def test_a_server_s_wish_to_wait_is_heeded_by_another_run(start):
    later = ProviderError("later", cause="rate_limited", retry_after_s=0.5)
    first = start(each(items=1, attempts=1), rules=[Rule(error=later)])
    first.all()
    told = time.monotonic()
    second = start(each(items=4))
    assert second.all()["each"].status == "succeeded"
    assert time.monotonic() - told >= 0.4


def test_once_the_first_model_is_ill_a_list_goes_to_the_second_without_asking_it(start):
    ill = Ill()
    text = each(model="[fake/a, fake/b]", items=1, attempts=FAILURES)
    for _ in range(3):
        assert start(text, opened={"fake": ill}).all()["each"].status == "succeeded"
    assert [request.model for request in ill.requests] == ["a"] * FAILURES + ["b"] * 3


def test_a_single_ill_model_fails_with_its_cause_and_is_spared_further_calls(start):
    text = each(model="fake/a", items=30, attempts=1).replace("initial_s: 0", "initial_s: 0, max_s: 0")
    text = text.replace("max_parallel: 30", "max_parallel: 1")
    ill = Ill()
    rehearsed = start(text, opened={"fake": ill})
    result = rehearsed.all()["each"]
    errors = [entry["ask"]["error"] for entry in result.results]
    assert {error["cause"] for error in errors} == {"overloaded"}
    assert "failed 5 times in a row" in errors[-1]["message"]
    assert len(ill.requests) == len(rehearsed.lines("intent")) == FAILURES


def test_a_call_that_waits_for_its_turn_reserves_nothing_yet(start):
    text = "budget: {tokens: 6000}\n" + each(items=5)
    rehearsed = start(text, settings={"rates": "fake=20rps"})
    assert rehearsed.all()["each"].status == "succeeded"


def test_a_limit_for_a_provider_that_does_not_exist_is_refused_with_the_nearest(start):
    with pytest.raises(InputError, match="'antropic'") as refused:
        start(each(), settings={"rates": "antropic/claude=1rps"})
    assert "anthropic" in refused.value.mend


def test_an_unknown_price_is_mended_by_a_file_of_own_prices(start, tmp_path):
    row = '{"input": 1, "output": 1, "cache_read": 1, "cache_write": 1, "context_window": 9000, "max_output": 5000}'
    prices = tmp_path / "prices.json"
    prices.write_text(f'{{"models": {{"anthropic/of-tomorrow": {row}}}}}')
    text = "budget: {usd: 1}\nmodel: anthropic/of-tomorrow\nsteps: [{name: ask, type: llm, prompt: go}]"

    def asked(**settings):
        priced = FakeProvider()
        priced.name = "anthropic"
        settings = {"model": None, "anthropic_api_key": "not-a-key", **settings}
        return start(text, settings=settings, opened={"anthropic": priced}).all()["ask"]

    with pytest.raises(PolicyError) as refused:
        asked()
    assert "ELEXIRION_PRICES" in refused.value.mend
    answered = asked(prices=prices)
    assert answered.status == "succeeded"
    assert answered.cost_usd == pytest.approx(answered.usage.total_tokens / 1e6)
