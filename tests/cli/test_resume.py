"""`elexirion run`, killed, and what `resume`, `runs` and `show` make of it."""

import json
import signal
import time

import pytest

pytestmark = pytest.mark.slow
TEXT = """
name: waits
model: fake
steps:
  - {name: ask, type: llm, prompt: hello}
  - name: holds
    type: command
    needs: [ask]
    run: [sh, -c, "touch begun; while ! test -e go; do sleep 0.1; done; cat go"]
outputs: {said: "{{ steps.ask.text }} {{ steps.holds.text }}"}
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT], ids=lambda number: number.name)
def test_a_run_that_was_ended_goes_on_from_the_terminal_and_pays_nothing_again(
    start_elexirion, elexirion, tmp_path, home_path, end
):
    (tmp_path / "waits.yaml").write_text(TEXT, encoding="utf-8")
    process = start_elexirion("run", "waits.yaml")
    said = next(line for line in process.stderr if line.startswith("run "))
    run_id = said.split()[1].rstrip(";")
    assert f"elexirion resume {run_id}" in said
    workspace = home_path / "runs" / run_id
    deadline = time.monotonic() + 120
    while not (workspace / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(end)
    said = process.communicate(timeout=120)[1]
    (workspace / "go").write_text("at last", encoding="utf-8")
    command = f"resume it with: elexirion resume {run_id}"
    if end is signal.SIGINT:
        assert (process.returncode, command in said) == (130, True)

    (row,) = json.loads(elexirion("runs", "--json").stdout)
    assert (row["run"], row["status"]) == (run_id, "lost" if end is signal.SIGKILL else "cancelled")
    assert f"elexirion resume {run_id}" in elexirion("show", run_id[:8]).stdout

    done = elexirion("resume", run_id[:8], "--json", cwd=home_path)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert (outcome["status"], outcome["resume"], outcome["outputs"]["said"][-7:]) == ("succeeded", None, "at last")
    texts = [file.read_text() for file in home_path.glob(f"journal/{run_id}/*.jsonl")]
    kinds = [json.loads(line)["kind"] for text in texts for line in text.splitlines()]
    assert kinds.count("reply") == 1
    assert elexirion("resume", run_id).returncode == 2
    shown = json.loads(elexirion("show", run_id, "--json").stdout)
    assert [one["trigger"] for one in shown["lineage"]] == ["cli", "resume"]
