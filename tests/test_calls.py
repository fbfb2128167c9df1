import json
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest

from elexirion_dagster.errors import Cancelled, PolicyError, StorageError
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.fake import FakeProvider, Rule
from elexirion_dagster.records import Usage
from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer
from elexirion_dagster.store.accounts.ledger import Ledger
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.journal import lines
from elexirion_dagster.store.replay import Replay

ASK = "model: fake\nretry: {max_attempts: 3, initial_s: 0}\nsteps: [{name: ask, type: llm, prompt: go}]"
PRICED = "model: anthropic/claude-sonnet-4-5\n%ssteps: [{name: ask, type: llm, prompt: go, max_tokens: 1000}]"
WITH_KEY = {"model": None, "anthropic_api_key": "not-a-key"}


class Priced(FakeProvider):
    """Bills like Anthropic's models."""

    name = "anthropic"


def priced(start, budget, rules=(), text=PRICED, **options):
    fake = Priced(rules)
    rehearsed = start(text % budget, settings=WITH_KEY, opened={"anthropic": fake}, **options)
    return rehearsed, fake


def spent(rehearsed):
    return Ledger(rehearsed.home).spent(f"run:{rehearsed.run.info.root_run}")


class Watching(FakeProvider):
    """Looks at the journal at the moment of sending."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def send(self, request, **options):
        path = next(self.folder.glob("*.jsonl"))
        self.seen = [json.loads(line)["kind"] for line in path.read_text().splitlines()]
        return super().send(request, **options)


def test_the_intent_is_on_the_disk_before_the_call_is_sent(start):
    watching = Watching()
    rehearsed = start(ASK, opened={"fake": watching})
    watching.folder = rehearsed.run.journal.path.parent
    rehearsed.all()
    assert watching.seen[-1] == "intent"


def test_the_reply_is_on_the_disk_before_it_is_used(start):
    rehearsed = start(ASK)
    rehearsed.all()
    kinds = [line["kind"] for line in rehearsed.lines()]
    assert kinds[kinds.index("intent") :] == ["intent", "reply", "step"]
    intent, reply = rehearsed.lines("intent")[0], rehearsed.lines("reply")[0]
    assert {name: intent[name] for name in ("call_id", "path", "request_hash", "occurrence", "attempt")} == {
        name: reply[name] for name in ("call_id", "path", "request_hash", "occurrence", "attempt")
    }


def test_a_reply_that_cannot_be_kept_is_not_used(start, monkeypatch):
    rehearsed = start(ASK)
    real = rehearsed.run.journal.append

    def full(kind, **fields):
        if kind == "reply":
            raise StorageError("the disk is full")
        real(kind, **fields)

    monkeypatch.setattr(rehearsed.run.journal, "append", full)
    with pytest.raises(StorageError):
        rehearsed.all()
    assert len(Replay.load(rehearsed.home, rehearsed.run.info.root_run).open_intents) == 1


def test_the_same_question_at_another_place_or_time_is_another_call(start):
    text = """
model: fake
steps:
  - {name: a, type: llm, prompt: go}
  - name: b
    type: llm
    prompt: go
    output: {x: integer}
    retry: {max_attempts: 2, on: [malformed_output], initial_s: 0}
"""
    rehearsed = start(text, rules=[Rule(text="no number")])
    rehearsed.all()
    replies = [(line["path"], line["occurrence"]) for line in rehearsed.lines("reply")]
    assert replies == [("a", 1), ("b", 1), ("b", 1), ("b", 2), ("b", 2)]
    assert len({line["request_hash"] for line in rehearsed.lines("reply")}) == 3


FAILING = [Rule(match="go", text='{"x": "text"}')]
TWICE = """
model: fake
steps:
  - name: ask
    type: llm
    prompt: go
    output: {x: integer}
    retry: {max_attempts: 2, on: [malformed_output], initial_s: 0}
"""


def test_a_step_that_failed_after_paid_replies_does_not_pay_them_again(start):
    first = start(TWICE, rules=FAILING)
    assert first.all()["ask"].status == "failed"
    again = start(TWICE, rules=FAILING, root=first.run.info.root_run)
    result = again.all()["ask"]
    assert (len(first.fake.requests), len(again.fake.requests)) == (4, 0)
    assert (result.usage, result.cost_usd) == (Usage(), 0.0)


class First(FakeProvider):
    """Fails as the first model and answers as the second."""

    def __init__(self, first):
        super().__init__(FAILING)
        self.first = FakeProvider([first])

    def send(self, request, **options):
        self.requests.append(request)
        return (self.first if request.model == "a" else super()).send(request, **options)


def test_a_paid_reply_of_the_second_model_is_found_though_the_first_would_answer_now(start):
    text = TWICE.replace("model: fake", "model: [fake/a, fake/b]")
    first = start(text, opened={"fake": First(Rule(error=ProviderError("", cause="auth")))})
    assert first.all()["ask"].error.cause == "malformed_output"
    well = FakeProvider(FAILING)
    again = start(text, opened={"fake": well}, root=first.run.info.root_run)
    assert again.all()["ask"].error.cause == "malformed_output"
    assert len(well.requests) == 0


@pytest.mark.parametrize(
    ("cause", "calls"),
    [("overloaded", 3), ("rate_limited", 3), ("timeout", 3), ("connection", 3), ("auth", 1), ("refused", 1)],
)
def test_only_passing_causes_are_tried_again(start, cause, calls):
    rehearsed = start(ASK, rules=[Rule(error=ProviderError("no", cause=cause))])
    assert rehearsed.all()["ask"].error.cause == cause
    assert [line["attempt"] for line in rehearsed.lines("intent")] == list(range(1, calls + 1))
    assert len({line["call_id"] for line in rehearsed.lines("intent")}) == calls


def test_a_failed_attempt_and_the_reply_after_it_are_both_on_record(start):
    rules = [Rule(error=ProviderError("busy", cause="overloaded", status=529), times=1), Rule(text="now")]
    rehearsed = start(ASK, rules=rules)
    assert rehearsed.all()["ask"].text == "now"
    (failed,) = rehearsed.lines("call_failed")
    assert (failed["cause"], failed["status"], failed["billed"], failed["cost_usd"]) == ("overloaded", 529, False, 0.0)


@pytest.mark.parametrize(("retry_after_s", "max_s", "calls"), [(0.05, 1, 2), (0.05, 0.01, 1), (3600, 30, 1)])
def test_a_server_s_wish_to_wait_is_kept_up_to_a_bound(start, retry_after_s, max_s, calls):
    text = (
        f"model: fake\nretry: {{max_attempts: 2, initial_s: 0, max_s: {max_s}}}\n"
        f"steps: [{{name: ask, type: llm, prompt: go}}]"
    )
    error = ProviderError("later", cause="rate_limited", retry_after_s=retry_after_s)
    begun = time.monotonic()
    rehearsed = start(text, rules=[Rule(error=error, times=1), Rule(text="now")])
    assert rehearsed.all()["ask"].status == ("succeeded" if calls == 2 else "failed")
    assert len(rehearsed.lines("intent")) == calls
    assert time.monotonic() - begun >= (retry_after_s if calls == 2 else 0)


def test_no_attempt_begins_that_the_deadline_would_cut(start):
    text = "model: fake\nretry: {initial_s: 60, max_s: 60}\nsteps: [{name: ask, type: llm, prompt: go, timeout_s: 20}]"
    rehearsed = start(text, rules=[Rule(error=ProviderError("busy", cause="overloaded"))])
    assert rehearsed.all()["ask"].error.cause == "overloaded"
    assert len(rehearsed.lines("intent")) == 1


def test_a_slow_answer_is_cut_at_the_deadline(start):
    text = "model: fake\nretry: {max_attempts: 1}\nsteps: [{name: ask, type: llm, prompt: go, timeout_s: 0.2}]"
    assert start(text, rules=[Rule(text="late", delay_s=30)]).all()["ask"].error.cause == "timeout"


def test_cancelling_ends_the_wait_between_attempts(start):
    text = "model: fake\nretry: {initial_s: 60, max_s: 60}\nsteps: [{name: ask, type: llm, prompt: go}]"
    rehearsed = start(text, rules=[Rule(error=ProviderError("busy", cause="overloaded"))])
    threading.Timer(0.2, rehearsed.run.cancel).start()
    with pytest.raises(Cancelled):
        rehearsed.all()
    assert len(rehearsed.lines("intent")) == 1


def test_a_budget_holds_the_upper_bound_and_settles_at_what_it_was(start):
    rehearsed, _ = priced(start, "budget: {usd: 1}\n", [Rule(text="ok", usage=Usage(1000, 100))])
    result = rehearsed.all()["ask"]
    (intent,) = rehearsed.lines("intent")
    assert result.cost_usd == pytest.approx(0.0045)
    assert intent["max_usd"] > 0.015
    assert (spent(rehearsed).usd, spent(rehearsed).reserved_usd) == (pytest.approx(0.0045), 0)


def test_a_call_that_could_exceed_the_budget_is_refused_before_anything_is_sent(start):
    rehearsed, fake = priced(start, "budget: {usd: 0.01}\n")
    result = rehearsed.all()["ask"]
    assert (result.error.cause, len(fake.requests), rehearsed.lines("intent")) == ("budget_exceeded", 0, [])
    assert "budget" in result.error.mend
    assert spent(rehearsed).usd == 0


CROWD = """
model: anthropic/claude-sonnet-4-5
%s
steps:
  - name: all
    type: for_each
    items: "{{ range(25) | list }}"
    as: n
    max_parallel: 25
    on_error: collect
    steps: [{name: ask, type: llm, prompt: "{{ n }}", max_tokens: 1000}]
"""
ONE_BOUND = 0.0151
"""A little more than what one call of these can cost."""


def test_calls_that_fit_one_after_the_other_wait_for_those_under_way_instead_of_being_refused(start):
    rules = [Rule(text="ok", usage=Usage(10, 1))]
    rehearsed, fake = priced(start, "budget: {usd: %s}" % (2 * ONE_BOUND), rules, text=CROWD)
    assert rehearsed.all()["all"].error is None
    assert len(fake.requests) == 25


def test_a_call_that_fits_only_if_nothing_was_spent_is_refused_without_waiting(start):
    rules = [Rule(text="ok", usage=Usage(1000, 100))]  # 0.0045 each
    rehearsed, fake = priced(start, "budget: {usd: %s}" % (ONE_BOUND + 0.005), rules, text=CROWD)
    causes = {
        result["ask"]["error"]["cause"] for result in rehearsed.all()["all"].results if result["status"] == "failed"
    }
    assert causes == {"budget_exceeded"}
    assert 1 <= len(fake.requests) <= 3


def test_tokens_are_bounded_too(start):
    rehearsed = start("budget: {tokens: 100}\n" + ASK)
    assert rehearsed.all()["ask"].error.cause == "budget_exceeded"


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


NESTED = """
model: anthropic/claude-sonnet-4-5
budget: {usd: 1}
steps:
  - name: each
    type: for_each
    items: "{{ range(4) | list }}"
    max_parallel: 1
    on_error: collect
    %s
    steps: [{name: ask, type: llm, prompt: "about {{ item }}", max_tokens: 1000, %s}]
"""
DEAR = [Rule(text="ok", usage=Usage(10, 1000))]
"""A call of $0.01503, its bound is below $0.0154."""


def test_a_step_s_budget_covers_all_its_items_and_counts_in_the_run_s(start):
    rehearsed, fake = priced(start, "budget: {usd: 0.04}", DEAR, text=NESTED.replace(", %s}]", "}]"))
    result = rehearsed.all()["each"]
    assert [entry["status"] for entry in result.results] == ["succeeded", "succeeded", "failed", "failed"]
    error = result.results[2]["ask"]["error"]
    assert error["cause"] == "budget_exceeded"
    assert "the step each may spend $0.04" in error["message"]
    ledger, root = Ledger(rehearsed.home), rehearsed.run.info.root_run
    assert ledger.spent(f"step:{root}:each").usd == ledger.spent(f"run:{root}").usd == pytest.approx(0.03006)
    assert len(fake.requests) == 2


def test_a_budget_inside_a_loop_is_one_of_each_item(start):
    rehearsed, _ = priced(start, "budget: {usd: 0.016}", DEAR, text=NESTED.replace("    %s\n", ""))
    assert rehearsed.all()["each"].data["succeeded"] == 4
    root = rehearsed.run.info.root_run
    assert Ledger(rehearsed.home).spent(f"step:{root}:each[3].ask").usd == pytest.approx(0.01503)


def test_the_closest_of_nested_budgets_holds(start):
    text = NESTED.replace("    %s\n", "    budget: {tokens: 100}\n")
    result = priced(start, "budget: {usd: 0.016}", DEAR, text=text)[0].all()["each"]
    assert "the step each may spend 100 tokens" in result.error.message


def test_a_step_s_budget_goes_on_where_the_run_is_continued(start):
    text = NESTED.replace(", %s}]", "}]")
    first, _ = priced(start, "budget: {usd: 0.04}", DEAR, text=text)
    first.all()
    again, fake = priced(start, "budget: {usd: 0.04}", DEAR, text=text, root=first.run.info.root_run)
    assert again.all()["each"].data["succeeded"] == 2
    assert len(fake.requests) == 0
    raised, fake = priced(start, "budget: {usd: 0.08}", DEAR, text=text, root=first.run.info.root_run)
    assert raised.all()["each"].data["succeeded"] == 4
    assert len(fake.requests) == 2


@pytest.mark.parametrize("limit", ["budget: {usd: 0.001}", "budget: {call: {usd: 0.001}}", "budget: {tokens: 9}"])
def test_a_budget_of_a_step_refuses_before_anything_is_sent(start, limit):
    text = PRICED.replace("max_tokens: 1000}", "max_tokens: 1000, %s}").replace("%ssteps", "steps")
    rehearsed, fake = priced(start, limit, text=text)
    assert rehearsed.all()["ask"].error.cause == "budget_exceeded"
    assert (len(fake.requests), rehearsed.lines("intent")) == (0, [])


def test_one_call_may_not_need_more_than_its_ceiling_however_much_is_left(start):
    rehearsed, fake = priced(start, "budget: {usd: 9, call: {tokens: 500}}\n")
    error = rehearsed.all()["ask"].error
    assert (error.cause, len(fake.requests), spent(rehearsed).usd) == ("budget_exceeded", 0, 0)
    assert "one call may spend 500 tokens, this one may need 10" in error.message
    assert "budget.call" in error.mend


@pytest.mark.parametrize("budget", ["seconds: 0.2", "call: {seconds: 0.2}"])
def test_a_budget_s_seconds_end_a_call(start, budget):
    text = (
        f"model: fake\nretry: {{max_attempts: 1}}\nsteps: [{{name: ask, type: llm, prompt: go, budget: {{{budget}}}}}]"
    )
    assert start(text, rules=[Rule(text="late", delay_s=60)]).all()["ask"].error.cause == "timeout"


def test_a_day_s_budget_counts_in_tokens_too_and_in_the_day_of_the_call(start, monkeypatch):
    days = iter(["2026-11-22T23:59:59+00:00", "2026-11-23T00:00:01+00:00"])

    class Clock(datetime):
        @classmethod
        def now(cls, _zone=None):
            return datetime.fromisoformat(next(days))

    monkeypatch.setattr("elexirion_dagster.reservations.datetime", Clock)
    text = "model: fake\nsteps: [{name: a, type: llm, prompt: one}, {name: b, type: llm, prompt: two}]"
    rehearsed = start(text, settings={"budget_tokens_per_day": 5000}, rules=[Rule(text="ok", usage=Usage(3, 4))])
    assert [result.status for result in rehearsed.all().values()] == ["succeeded"] * 2
    ledger = Ledger(rehearsed.home)
    assert [ledger.spent(f"day:2026-11-{day}").tokens for day in (22, 23)] == [7, 7]


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


def test_what_is_no_error_of_ours_leaves_the_call_counted_at_its_bound(start):
    class Broken(Priced):
        def send(self, request, **options):
            super().send(request, **options)
            raise ZeroDivisionError("a fault in the provider's own code")

    rehearsed = start(PRICED % "budget: {usd: 1}\n", settings=WITH_KEY, opened={"anthropic": Broken()})
    assert rehearsed.all()["ask"].error.cause == "unknown"
    bound = rehearsed.lines("intent")[0]["max_usd"]
    assert (spent(rehearsed).usd, spent(rehearsed).reserved_usd) == (pytest.approx(bound), 0)


@pytest.mark.parametrize(
    ("error", "usd"),
    [
        (ProviderError("no", cause="auth"), 0.0),
        (ProviderError("cut", cause="connection", usage=Usage(1000, 0)), 0.003),
        (ProviderError("gone", cause="connection", billed=True), "bound"),
    ],
)
def test_a_failed_attempt_counts_as_what_it_may_have_cost(start, error, usd):
    rehearsed, _ = priced(start, "retry: {max_attempts: 1}\nbudget: {usd: 1}\n", [Rule(error=error)])
    result = rehearsed.all()["ask"]
    bound = rehearsed.lines("intent")[0]["max_usd"]
    assert spent(rehearsed).usd == pytest.approx(bound if usd == "bound" else usd)
    assert spent(rehearsed).reserved_usd == 0
    assert result.cost_usd == (None if usd == "bound" else pytest.approx(usd))


def test_items_side_by_side_never_exceed_the_budget_together(start):
    text = """
model: anthropic/claude-sonnet-4-5
%s
steps:
  - name: each
    type: for_each
    items: "{{ range(20) | list }}"
    max_parallel: 20
    on_error: collect
    steps: [{name: ask, type: llm, prompt: "about {{ item }}", max_tokens: 1000}]
"""
    usage = Usage(10, 1000)
    rehearsed, fake = priced(start, "budget: {usd: 0.1}", [Rule(text="ok", usage=usage, delay_s=0.02)], text=text)
    result = rehearsed.all()["each"]
    assert spent(rehearsed).usd <= 0.1
    assert 0 < len(fake.requests) < 20
    causes = {entry["ask"]["error"]["cause"] for entry in result.results if entry["status"] == "failed"}
    assert causes == {"budget_exceeded"}


def test_a_later_run_of_the_same_root_goes_on_with_the_same_budget(start):
    text = """
model: anthropic/claude-sonnet-4-5
%s
inputs: {last: {type: string, default: go}}
steps: [{name: a, type: llm, prompt: one, max_tokens: 1000}, {name: b, type: llm, prompt: two, max_tokens: 1000}]
"""
    rules = [Rule(match="one", text="ok", usage=Usage(10, 1000)), Rule(error=ProviderError("no", cause="auth"))]
    first, _ = priced(start, "budget: {usd: 0.03}", rules, text=text)
    first.all()
    again, fake = priced(start, "budget: {usd: 0.03}", text=text, root=first.run.info.root_run)
    assert again.all()["b"].error.cause == "budget_exceeded"
    assert len(fake.requests) == 0


def test_no_secret_reaches_the_home(start):
    key, other = "sk-ant-" + "k3y" * 12, "ghp_" + "c4n4ry" * 6
    text = """
inputs: {q: {type: string}, more: {type: object}}
env: [EXTRA]
model: fake
steps:
  - {name: ask, type: llm, prompt: "{{ inputs.q }} {{ inputs.more }} {{ env.EXTRA }}"}
  - {name: typed, type: llm, prompt: "again {{ inputs.q }}", output: {echo: string}}
  - {name: each, type: for_each, items: ["{{ inputs.q }}"], steps: [{name: s, type: set, vars: {x: "{{ item }}"}}]}
  - {name: rows, type: transform, from: ["{{ inputs.q }}"], ops: [{map: {q: "{{ item }}"}}]}
  - {name: which, type: switch, value: "{{ inputs.q }}", cases: {a: [{name: s, type: set, vars: {x: 1}}]}}
  - {name: fails, type: command, run: [sh, -c, "echo {{ inputs.q }} >&2; exit 1"], continue_on_error: true}
outputs: {q: "{{ inputs.q }}", rows: "{{ steps.rows.data }}"}
"""
    rules = [
        Rule(match="again", data={"echo": f"you said {other}"}),
        Rule(error=ProviderError(f"bad key {key}", cause="overloaded"), times=1),
        Rule(text=f"{key} and {other}"),
    ]
    rehearsed = start(
        "retry: {initial_s: 0}\n" + text,
        rules=rules,
        settings={"anthropic_api_key": key, "environ": {"EXTRA": other}},
        q=f"use {key}",
        more={"password": "hunter2hunter2", "list": [other]},
    )
    results = rehearsed.all()
    outputs = rehearsed.run.outputs(results)
    assert len(results) == 6
    kept = b"".join(file.read_bytes() for file in rehearsed.home.path.rglob("*") if file.is_file())
    seen = (json.dumps([result.to_json() for result in results.values()]) + json.dumps(outputs)).encode()
    sent = str(list(rehearsed.fake.requests)).encode()
    for secret in (key, other, "hunter2hunter2"):
        for place in (kept, seen, sent):
            assert secret.encode() not in place
    assert b"[redacted:" in kept


DRIVER = """
import json, os, signal, sys
from pathlib import Path
import elexirion_dagster.providers.anthropic  # once, before the forks
from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.run import Run, RunInfo
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.journal import JournalWriter

home, url = sys.argv[1:]
pipeline = load_string('''
name: killed
model: anthropic/claude-sonnet-4-5
budget: {usd: 5}
steps:
  - {name: a, type: llm, prompt: question a}
  - {name: b, type: llm, prompt: "after {{ steps.a.text }}"}
  - name: each
    type: for_each
    items: [x, y]
    max_parallel: 1
    steps: [{name: look, type: llm, prompt: "look at {{ item }}"}]
  - {name: e, type: llm, prompt: question e}
''').pipeline
settings = Settings(home=Path(home), anthropic_api_key="not-a-key", anthropic_base_url=url)

def work(run, root, when, number):
    count = 0
    real = JournalWriter.append
    def append(self, kind, **fields):
        nonlocal count
        count += 1
        if when == "before" and count == number:
            (Path(home) / "killed").write_text(kind)
            os.kill(os.getpid(), signal.SIGKILL)
        real(self, kind, **fields)
        if when == "after" and count == number:
            (Path(home) / "killed").write_text(kind)
            os.kill(os.getpid(), signal.SIGKILL)
    JournalWriter.append = append
    done = {}
    begun = Run(pipeline, RunInfo(run, root, {}, {}, "test"), settings)
    for step in pipeline.steps:
        done[step.name] = begun.step(step, done)
        assert done[step.name].status == "succeeded", done
    begun.close()

def forked(*arguments):
    pid = os.fork()
    if pid == 0:
        try:
            work(*arguments)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

for line in sys.stdin:
    when, number = line.split()
    root = f"root-{when}-{number}"
    first = forked(root, root, when, int(number))
    second = forked(root + "-again", root, "never", 0) if first == -signal.SIGKILL else None
    killed = (Path(home) / "killed").read_text() if second is not None else None
    print(json.dumps({"first": first, "second": second, "killed": killed}), flush=True)
"""


def test_after_a_kill_between_any_two_journal_lines_no_kept_reply_is_paid_again(tmp_path, environ):
    home = tmp_path / "home"
    home.mkdir()
    with RehearsalServer(Script()) as server:
        command = [sys.executable, "-c", DRIVER, str(home), server.base_url]
        driver = subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        seen = []
        for number in range(1, 100):
            rounds = [killed_and_resumed(driver, server, when, number) for when in ("after", "before")]
            if None in rounds:
                break
            seen += rounds
        driver.stdin.close()
        driver.wait(30)
        driver.stdout.close()
    assert len(seen) > 40
    for when, kind, calls, home_calls in seen:
        in_flight = when == "before" and kind == "reply"
        assert calls == 5 + in_flight, (when, kind)
        assert home_calls == 5
    assert {kind for _, kind, _, _ in seen} == {"pin", "run_started", "intent", "reply", "step", "progress"}
    check_possibly_paid(Home(home))


def killed_and_resumed(driver, server, when, number):
    """Let a run die at one place and another go on from there; None when there are no so many lines."""
    before = server.count
    driver.stdin.write(f"{when} {number}\n")
    driver.stdin.flush()
    told = json.loads(driver.stdout.readline())
    if told["second"] is None:
        assert told["first"] == 0
        return None
    assert told["second"] == 0
    root = f"root-{when}-{number}"
    replies = [line for line in lines(Home(Path(driver.args[3])), root) if line["kind"] == "reply"]
    return when, told["killed"], server.count - before, len(replies)


def check_possibly_paid(home):
    """A call that was announced and never ended stands in the budget at its upper bound."""
    roots = [path.name for path in home.journal.iterdir()]
    opened = {root: Replay.load(home, root).open_intents for root in roots}
    assert any(opened.values())
    ledger = Ledger(home)
    for root, intents in opened.items():
        assert ledger.spent(f"run:{root}").usd >= sum(intent.max_usd for intent in intents)
        assert ledger.spent(f"run:{root}").reserved_usd == 0
