import threading

import pytest
from gated import Gate

from elexirion_dagster.errors import Cancelled
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.fake import Rule
from elexirion_dagster.steps.threads import Threads

ASK = """
inputs: {items: {type: list}}
model: fake
retry: {max_attempts: 1}
steps:
  - name: each
    type: for_each
    items: "{{ inputs.items }}"
    max_parallel: %(parallel)s
    %(more)s
    steps:
      - {name: ask, type: llm, prompt: "about {{ item }}"}
"""


def ask(parallel=4, more=""):
    return ASK % {"parallel": parallel, "more": more}


def gated(start, text, parties, **options):
    gate = Gate(parties)
    return start(text, opened={"fake": gate}, **options), gate


def test_results_stand_in_item_order_whatever_order_they_came_in(one):
    rules = [Rule(match="about a", text="A", delay_s=0.2), Rule(match="about b", text="B")]
    result = one(ask(), rules=rules, items=["a", "b", "c"])
    assert [entry["item"] for entry in result.results] == ["a", "b", "c"]
    assert [entry["ask"]["text"] for entry in result.results][:2] == ["A", "B"]
    assert result.data == {"items": 3, "succeeded": 3, "degraded": 0, "skipped": 0, "failed": 0}


def test_items_are_worked_on_at_the_same_time(start):
    rehearsed, gate = gated(start, ask(parallel=6), 6, items=list(range(12)))
    assert rehearsed.all()["each"].status == "succeeded"
    assert gate.peak == 6


def test_no_more_than_max_parallel_items_are_under_way(start):
    rehearsed, gate = gated(start, ask(parallel=3), 3, items=list(range(9)))
    rehearsed.all()
    assert gate.peak == 3


def test_the_cap_on_threads_bounds_one_fan_out(start):
    text = "limits: {threads: 3}\n" + ask(parallel=50)
    rehearsed, gate = gated(start, text, 3, items=list(range(9)))
    rehearsed.all()
    assert gate.peak == 3  # the op's own among them


NESTED = """
inputs: {rows: {type: list}}
limits: {threads: 10}
steps:
  - name: outer
    type: for_each
    items: "{{ inputs.rows }}"
    as: row
    max_parallel: 20
    steps:
      - name: inner
        type: for_each
        items: "{{ range(20) | list }}"
        as: column
        max_parallel: 20
        steps:
          - {name: cell, type: set, vars: {value: "{{ row }}x{{ column }}"}}
"""


def test_nested_fan_outs_share_the_cap_and_do_not_deadlock(start):
    rehearsed = start(NESTED, rows=list(range(20)))
    before, peak, done = threading.active_count(), [0], threading.Event()

    def watch():
        while not done.is_set():
            peak[0] = max(peak[0], threading.active_count())

    watcher = threading.Thread(target=watch)
    watcher.start()
    result = rehearsed.all()["outer"]
    done.set()
    watcher.join()
    assert [entry["inner"]["results"][7]["cell"]["data"]["value"] for entry in result.results] == [
        f"{row}x7" for row in range(20)
    ]
    assert peak[0] <= before + 1 + 10


FIFTY_TIMES_FIFTY = """
model: fake
limits: {threads: 8}
steps:
  - name: rows
    type: for_each
    items: "{{ range(50) | list }}"
    max_parallel: 50
    steps:
      - name: columns
        type: for_each
        items: "{{ range(50) | list }}"
        as: column
        max_parallel: 50
        steps: [{name: cell, type: llm, prompt: "{{ item }}x{{ column }}"}]
"""


def test_fifty_times_fifty_calls_use_all_of_the_cap_and_no_more(start):
    eight = Gate(8, times=1)
    rows = start(FIFTY_TIMES_FIFTY, opened={"fake": eight}).all()["rows"]
    assert (rows.status, eight.calls, eight.peak) == ("succeeded", 2500, 8)


def test_a_permit_that_comes_free_later_is_used():
    threads = Threads(2)
    both = threading.Barrier(3)
    release = threading.Event()
    taken = threading.Barrier(4)

    def hold(_):
        taken.wait(20)
        release.wait(20)

    first = threading.Thread(target=threads.each, args=(hold, range(3)), kwargs={"max_parallel": 3})
    first.start()
    taken.wait(20)

    def work(item):
        if item == 0:
            release.set()
            first.join(20)
        else:
            both.wait(20)

    threads.each(work, range(4), max_parallel=3)
    assert both.n_waiting == 0


def test_keys_come_from_a_telling_field_the_text_or_the_position(one):
    items = [{"path": "a.py"}, {"id": 7}, "word", 3.5, [1], {"x": 1}]
    result = one(ask(), items=items)
    assert [entry["key"] for entry in result.results] == ["a.py", "7", "word", "3", "4", "5"]


def test_equal_keys_are_told_apart_also_from_keys_that_look_like_ours(one):
    result = one(ask(), items=["a", "a", "a#2", "a", "a#2"])
    keys = [entry["key"] for entry in result.results]
    assert len(set(keys)) == 5
    assert keys[:3] == ["a", "a#2", "a#2#2"]


def test_a_key_template_names_the_item(one):
    result = one(ask(more='key: "{{ item.n }}-{{ loop.index }}"'), items=[{"n": "x"}, {"n": "y"}])
    assert [entry["key"] for entry in result.results] == ["x-1", "y-2"]


def test_a_secret_never_becomes_a_key_or_a_kept_item(start):
    secret = "sk-ant-" + "a1" * 20
    rehearsed = start(ask(), items=[secret])
    result = rehearsed.all()["each"]
    assert secret not in str(result)
    assert secret not in str(rehearsed.lines())


def test_results_are_found_by_key_in_a_later_step(start):
    text = ask() + "  - {name: pick, type: set, vars: {found: \"{{ steps.each.results['b'].ask.text }}\"}}\n"
    rules = [Rule(match="about b", text="the one")]
    assert start(text, rules=rules, items=["a", "b"]).all()["pick"].data == {"found": "the one"}


def test_a_wave_is_done_before_the_next_begins(start):
    rehearsed = start(ask(parallel=10, more="batch_size: 3"), items=list(range(9)))
    rehearsed.all()
    lines = [line for line in rehearsed.lines() if line["kind"] in ("intent", "reply")]
    waves = [int(line["path"].split("[")[1].split("]")[0]) // 3 for line in lines]
    assert waves == sorted(waves)


def test_fail_stops_the_others_and_fails_with_the_item_s_cause(one):
    rules = [Rule(match="about 1", error=ProviderError("no", cause="auth"))]
    result = one(ask(parallel=1), rules=rules, items=["0", "1", "2", "3"])
    assert result.status == "failed"
    assert result.error.cause == "auth"
    assert result.data["failed"] == 1
    assert [entry["key"] for entry in result.results] == ["0", "1"]


def test_skip_leaves_failed_items_out_and_collect_keeps_them(one):
    rules = [Rule(match="about 1", error=ProviderError("no", cause="auth"))]
    skipped = one(ask(more="on_error: skip"), rules=rules, items=["0", "1", "2"])
    collected = one(ask(more="on_error: collect"), rules=rules, items=["0", "1", "2"])
    assert (skipped.status, [entry["key"] for entry in skipped.results]) == ("succeeded", ["0", "2"])
    assert [entry["status"] for entry in collected.results] == ["succeeded", "failed", "succeeded"]
    assert collected.results[1]["ask"]["error"]["cause"] == "auth"


@pytest.mark.parametrize("on_error", ["fail", "skip", "collect"])
def test_when_all_items_failed_the_whole_failed(one, on_error):
    rules = [Rule(error=ProviderError("no", cause="billing"))]
    result = one(ask(more=f"on_error: {on_error}"), rules=rules, items=["0", "1"])
    assert (result.status, result.error.cause) == ("failed", "billing")


def test_skipped_items_make_the_whole_skipped_for_their_reason(one):
    result = one(ask(), settings={"model": None}, tags={"elexirion/model": "none"}, items=["0", "1"])
    assert result.status == "skipped"
    assert "no model was wanted" in result.reason


def test_no_items_succeed_with_no_results(one):
    result = one(ask(), items=[])
    assert (result.status, result.results) == ("succeeded", [])


def test_items_that_are_no_list_are_refused(one):
    text = "steps: [{name: each, type: for_each, items: {a: 1}, steps: [{name: s, type: set, vars: {x: 1}}]}]"
    result = one(text)
    assert (result.error.cause, "must be a list" in result.error.message) == ("bad_input", True)


def test_cancelling_ends_the_fan_out_and_sends_nothing_more(start):
    rules = [Rule(text="late", delay_s=30)]
    rehearsed = start(ask(parallel=2), rules=rules, items=list(range(20)))
    threading.Timer(0.2, rehearsed.run.cancel).start()
    with pytest.raises(Cancelled):
        rehearsed.all()
    assert len(rehearsed.lines("intent")) == 2
    assert {line["cause"] for line in rehearsed.lines("call_failed")} == {"cancelled"}


def test_items_that_the_deadline_left_over_failed_with_a_timeout_and_the_others_are_kept(one):
    rules = [Rule(match="about 0", text="in time"), Rule(text="late", delay_s=30)]
    result = one(ask(parallel=1, more="timeout_s: 0.3\n    on_error: collect"), rules=rules, items=["0", "1", "2"])
    assert [entry["status"] for entry in result.results] == ["succeeded", "failed", "failed"]
    assert {entry["ask"]["error"]["cause"] for entry in result.results[1:]} == {"timeout"}


def test_variables_of_an_item_stay_with_it(start):
    text = """
inputs: {items: {type: list}}
steps:
  - {name: before, type: set, vars: {x: outside}}
  - name: each
    type: for_each
    items: "{{ inputs.items }}"
    steps:
      - {name: mine, type: set, vars: {x: "{{ item }} after {{ vars.x }}"}}
      - {name: seen, type: set, vars: {y: "{{ vars.x }}"}}
  - {name: after, type: set, vars: {z: "{{ vars.x }}"}}
"""
    results = start(text, items=["a", "b"]).all()
    assert [entry["seen"]["data"]["y"] for entry in results["each"].results] == ["a after outside", "b after outside"]
    assert results["after"].data == {"z": "outside"}


def test_costs_count_only_steps_that_asked_a_model(one):
    text = """
inputs: {items: {type: list}}
model: fake
steps:
  - name: each
    type: for_each
    items: "{{ inputs.items }}"
    steps:
      - {name: plain, type: set, vars: {x: 1}}
      - {name: ask, type: llm, prompt: "about {{ item }}"}
"""
    result = one(text, items=["a", "b"])
    assert result.cost_usd == 0.0
    assert result.usage.total_tokens > 0


def test_a_thread_from_elsewhere_waits_for_a_permit_unless_the_run_is_cancelled():
    threads, cancelled, entered = Threads(1), threading.Event(), threading.Event()

    def enter():
        with threads.seat(deadline=None, cancelled=cancelled):
            entered.set()

    with threads.seat(deadline=None, cancelled=cancelled):
        waiting = threading.Thread(target=enter)
        waiting.start()
        assert not threads.take()
        cancelled.set()
        assert entered.wait(20)
    waiting.join(20)
    assert threads.take()
