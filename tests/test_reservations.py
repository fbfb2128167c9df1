from datetime import datetime

import pytest
from priced import ASK, PRICED, WITH_KEY, Priced, priced

from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.fake import Rule
from elexirion_dagster.records import Usage
from elexirion_dagster.store.accounts.ledger import Ledger


def spent(rehearsed):
    return Ledger(rehearsed.home).spent(f"run:{rehearsed.run.info.root_run}")


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
