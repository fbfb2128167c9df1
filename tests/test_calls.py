import json
import threading
import time

import pytest
from priced import ASK

from elexirion_dagster.errors import Cancelled, StorageError
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.fake import FakeProvider, Rule
from elexirion_dagster.records import Usage
from elexirion_dagster.store.replay import Replay


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
