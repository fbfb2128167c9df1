import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from elexirion_dagster.errors import Cancelled, StorageError
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.fake import FakeProvider, Rule
from elexirion_dagster.records import Usage
from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.journal import lines
from elexirion_dagster.store.ledger import Ledger
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


def test_tokens_are_bounded_too(start):
    rehearsed = start("budget: {tokens: 100}\n" + ASK)
    assert rehearsed.all()["ask"].error.cause == "budget_exceeded"


def test_an_unknown_price_under_a_dollar_budget_is_refused_before_anything_is_sent(start):
    text = PRICED.replace("claude-sonnet-4-5", "claude-of-tomorrow")
    rehearsed, fake = priced(start, "budget: {usd: 100}\n", text=text)
    result = rehearsed.all()["ask"]
    assert (result.error.cause, len(fake.requests)) == ("budget_exceeded", 0)
    assert "price" in result.error.message
    free, _ = priced(start, "", text=text)
    assert (free.all()["ask"].status, free.results["ask"].cost_usd) == ("succeeded", None)


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
