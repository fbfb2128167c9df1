import json
import subprocess
import sys
from pathlib import Path

import pytest

from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer
from elexirion_dagster.store.accounts.ledger import Ledger
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.journal import lines
from elexirion_dagster.store.replay import Replay

pytestmark = pytest.mark.slow

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
