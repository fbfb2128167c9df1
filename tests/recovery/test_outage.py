"""Recoveries that wait for a provider: when, for how long, and what that counts against."""

import time
from contextlib import closing

import pytest
from test_bounds import PIPELINE, Root

from elexirion_dagster.recovery.outage import waited_s
from elexirion_dagster.recovery.plan import Plan
from elexirion_dagster.store.accounts.gates import COOL_S, FAILURES, Gates
from elexirion_dagster.store.accounts.ledger_file import LedgerFile
from elexirion_dagster.store.failures.recoveries import past
from elexirion_dagster.store.replay import Replay


class Down(Root):
    """The same, with models whose circuit breakers are open."""

    def open(self, *models, times=FAILURES):
        with closing(LedgerFile(self.home)) as ledger:
            for model in models:
                for _ in range(times):
                    Gates(ledger).tell(model, "overloaded", retry_after_s=None, probe=False)

    def close(self, *models):
        with closing(LedgerFile(self.home)) as ledger:
            for model in models:
                Gates(ledger).tell(model, None, retry_after_s=None, probe=False)

    def refused(self, *models, cause="overloaded", refused=False):
        return ("given_up", {"path": "ask", "models": list(models), "cause": cause, "refused": refused})


@pytest.fixture
def root(tmp_path, home_path):
    def make(text=PIPELINE):
        return Down(tmp_path / "pipelines", home_path, text)

    return make


def test_while_the_breaker_is_open_the_plan_is_to_wait_until_it_half_opens(root):
    one = root()
    one.open("fake/a")
    plan = one.fail("overloaded", one.refused("fake/a"))
    assert (plan.action, plan.awaits, plan.rule) == ("wait", (("fake/a",),), None)
    assert 0 < plan.due_at - time.time() <= COOL_S
    assert plan.latest_at - time.time() == pytest.approx(3600, abs=5)
    assert "fake/a takes no calls" in plan.reason


def test_a_failover_list_is_waited_for_only_if_every_model_of_it_is_open(root):
    one = root()
    one.open("fake/a")
    assert not one.fail("overloaded", one.refused("fake/a", "fake/b")).awaits
    one.open("fake/b")
    assert one.fail("overloaded", one.refused("fake/a", "fake/b")).awaits == (("fake/a", "fake/b"),)


def test_waits_count_neither_as_recoveries_nor_as_seconds_of_the_budget(root):
    one = root(PIPELINE + "limits: {max_recoveries: 1}\n")
    one.open("fake/a")
    for _ in range(5):
        assert one.fail("overloaded", one.refused("fake/a")).awaits
    one.close("fake/a")
    assert one.fail("connection").action == "continue", "the first that counts"
    assert one.fail("connection").action == "park"
    assert Replay.load(one.home, "root").seconds < 1


def test_where_recovery_is_switched_off_nothing_waits(root):
    one = root(PIPELINE + "limits: {max_recoveries: 0}\n")
    one.open("fake/a")
    assert one.fail("overloaded", one.refused("fake/a")).action == "park"


def test_all_waits_of_a_root_run_together_are_bounded_and_then_it_is_parked_with_a_report(root):
    one = root(PIPELINE + "limits: {max_wait_s: 25}\n")
    one.open("fake/a")
    plans = [one.fail("overloaded", one.refused("fake/a")) for _ in range(4)]
    assert [plan.action for plan in plans] == ["wait", "wait", "wait", "park"], "each counts as ten seconds at least"
    report = (one.home.path / "reports" / "run3" / "parked.md").read_text(encoding="utf-8")
    assert "fake/a took no calls, and all of limits.max_wait_s was waited for that" in report
    assert plans[2].latest_at - plans[0].latest_at < 0


def test_no_wait_can_be_wanted(root):
    one = root(PIPELINE + "limits: {max_wait_s: 0}\n")
    one.open("fake/a")
    assert one.fail("overloaded", one.refused("fake/a")).action == "park"


def test_the_bound_of_the_pipeline_that_failed_first_holds_and_stands_in_the_journal(root):
    one = root(PIPELINE + "limits: {max_wait_s: 77}\n")
    one.open("fake/a")
    one.fail("overloaded", one.refused("fake/a"))
    assert past(one.home, "root").decided["root"]["max_wait_s"] == 77


def test_a_call_that_a_breaker_refused_and_that_would_not_be_refused_now_goes_on_at_once_and_counts_not(root):
    one = root(PIPELINE + "limits: {max_recoveries: 1}\n")
    for _ in range(3):
        plan = one.fail("overloaded", one.refused("fake/a", refused=True))
        assert plan.awaits
        assert plan.due_at <= time.time()


@pytest.mark.parametrize("cause", ["auth", "refused", "worker_lost", "command_failed"])
def test_other_causes_wait_for_no_provider(root, cause):
    one = root()
    one.open("fake/a")
    assert not one.fail(cause, one.refused("fake/a")).awaits


@pytest.mark.parametrize(
    ("rule", "action"),
    [
        ("change: {model: fake/b}", "change"),
        ("park: true", "park"),
        ("change: {max_tokens: 9}", "wait"),
        ("wait: true", "wait"),
    ],
)
def test_a_rule_that_does_not_need_the_models_goes_before_a_wait_and_the_others_after_it(root, rule, action):
    one = root(PIPELINE + f"fallback: [{{on: [overloaded], {rule}}}]\n")
    one.open("fake/a")
    plan = one.fail("overloaded", one.refused("fake/a"))
    assert (plan.action, bool(plan.awaits)) == (action, action == "wait")
    one.close("fake/a")
    if action == "wait":
        assert one.fail("overloaded").rule == 0, "a wait has not used it up"


def test_a_wait_ends_when_the_run_that_goes_on_begins(root):
    one = root()
    one.open("fake/a")
    one.fail("overloaded", one.refused("fake/a"))
    now = time.time()
    assert waited_s(past(one.home, "root"), now + 500) == pytest.approx(500, abs=5)
    one.journal("run1", "run_started", pipeline="main", pipeline_hash="0", recovery_of="root")
    assert waited_s(past(one.home, "root"), now + 500) == pytest.approx(10, abs=5)


def test_a_plan_is_read_from_the_journal_as_it_was_written(root):
    one = root()
    one.open("fake/a")
    plan = one.fail("overloaded", one.refused("fake/a"))
    assert Plan.from_json(past(one.home, "root").decided["root"]) == plan
