import io
import json
import re

import pytest
from rich.console import Console

from elexirion_dagster.cli.live import _Bars, _Lines, figures
from elexirion_dagster.operations.following import Following, State, Step


def progress(path, done, total, *, failed=0, note=None):
    return {"kind": "progress", "path": path, "done": done, "failed": failed, "total": total, "note": note}


def test_a_followed_journal_gives_whole_lines_once(tmp_path):
    following = Following(tmp_path)
    file = tmp_path / "run.1.jsonl"
    file.write_text(json.dumps({"v": 1, "kind": "pin"}) + "\nno line\n" + '{"v": 1, "kind": "to', encoding="utf-8")
    assert [line["kind"] for line in following.lines()] == ["pin"]
    with file.open("a", encoding="utf-8") as stream:
        stream.write('rn"}\n')
    assert [line["kind"] for line in following.lines()] == ["torn"]
    assert list(following.lines()) == []


def test_a_step_is_under_way_until_its_result_is_there():
    state = State()
    state.take(progress("analyze", 3, 9, failed=1, note="4 findings"))
    assert state.running == {"analyze": Step(3, 1, 9, "4 findings")}
    state.take({"kind": "step", "path": "review[a.py].look"})
    assert state.steps_done == 0
    state.take({"kind": "step", "path": "analyze"})
    assert (state.running, state.steps_done) == ({}, 1)


def test_what_a_step_says_before_its_first_item_is_a_notice():
    state = State()
    state.take(progress("review", 0, 20, note="20 items go to fake/parrot, at most $0.50"))
    state.take(progress("review", 0, 20, note="something later"))
    assert state.notices == ["review: 20 items go to fake/parrot, at most $0.50"]


@pytest.mark.parametrize(
    ("costs", "expected"),
    [([0.25, 0.5], ["2 calls", "$0.7500"]), ([0.25, None], ["2 calls", "cost unknown"]), ([], [])],
)
def test_calls_and_cost_are_added_up_and_an_unknown_price_is_said(costs, expected):
    state = State()
    for cost in costs:
        state.take({"kind": "reply", "path": "a", "cost_usd": cost})
    assert figures(state) == expected


def test_findings_and_failed_calls_are_counted():
    state = State()
    state.take({"kind": "findings", "findings": [{}, {}]})
    state.take({"kind": "call_failed", "path": "a", "cause": "overloaded"})
    assert figures(state) == ["2 findings", "0 calls", "$0.0000", "1 failed call"]


def test_a_terminal_shows_a_bar_for_the_run_and_one_per_step_and_keeps_notices():
    stream = io.StringIO()
    bars = _Bars(Console(file=stream, force_terminal=True, width=110, color_system=None), steps=5)
    state = State(steps_done=2, findings=30, calls=3, cost_usd=0.01)
    state.running["analyze"] = Step(204, 2, 834, "470 findings")
    bars.say("review: 20 items go to fake/parrot, at most $0.50")
    bars.show(state)
    bars.close()
    seen = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    for words in ("at most $0.50", "2/5", "30 findings, 3 calls, $0.0100", "204/834", "470 findings, 2 failed", "left"):
        assert words in seen


def test_without_a_terminal_there_are_few_plain_lines():
    stream = io.StringIO()
    lines = _Lines(Console(file=stream, width=110), steps=5)
    state = State(steps_done=2, findings=30)
    state.running["analyze"] = Step(204, 0, 834, None)
    lines.show(state)
    assert stream.getvalue() == ""
    lines.due = 0.0
    lines.show(state)
    lines.due = 0.0
    lines.show(state)
    assert stream.getvalue() == "2 of 5 steps done; analyze 204 of 834; 30 findings\n"


def partial(path, *, text=None, note=None):
    return {"kind": "partial", "path": path, "text": text, "note": note}


def test_lines_of_an_answer_are_notices_that_cannot_steer_a_terminal():
    state = State()
    state.take(partial("ask", text="one\n\x1b[31mtwo\ttabs\x07"))
    assert state.notices == ["ask | one", "ask | [31mtwo\ttabs"]


def test_an_attempt_that_fails_after_text_was_shown_takes_it_back():
    state = State()
    failed = {"kind": "call_failed", "path": "ask", "cause": "connection"}
    state.take(failed)
    assert state.notices == []
    state.take(partial("ask", text="one"))
    state.take(failed)
    assert state.notices[1:] == ["ask | this attempt failed (connection), its text does not count"]
    state.take(partial("ask", text="one"))
    state.take({"kind": "reply", "path": "ask", "cost_usd": 0.0})
    state.take(failed)
    assert len(state.notices) == 3


@pytest.mark.parametrize("end", [{"kind": "reply", "cost_usd": 0.0}, {"kind": "call_failed", "cause": "timeout"}])
def test_how_far_long_calls_are_stands_beside_the_cost_until_a_call_ends(end):
    state = State()
    state.take(partial("ask", note="ask: 8 s, 400 characters so far"))
    assert figures(state) == ["ask: 8 s, 400 characters so far"]
    state.take({"path": "ask", **end})
    assert state.asking is None
