"""100 files, each asked of a model that takes a second, in two scheduled batches; beside a plain script over the SDK.

`python -m benchmarks.reviews [FILES] [SECONDS]`: a schedule's tick starts two runs with half of the files each, 50
calls of each run at once. The ideal is one call's time, as all of them fit at once.
"""

import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anthropic

from benchmarks.machine import machine
from benchmarks.served import Served, served
from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer

PIPELINE = """
name: reviews
inputs: {{repo: {{type: path, default: "{code}"}}}}
model: anthropic/claude-sonnet-5-5
asset: scan/reviews
partitions: {{by: file, repo: "{{{{ inputs.repo }}}}", files_per_run: {half}}}
schedule: {{cron: "* * * * *"}}
steps:
  - {{name: due, type: files, list: {{git: due}}}}
  - name: review
    type: for_each
    items: "{{{{ steps.due.data.files }}}}"
    as: file
    key: "{{{{ file.path }}}}"
    max_parallel: 50
    steps: [{{name: look, type: llm, prompt: "{{{{ file.text }}}}", max_tokens: 100}}]
"""
START = """
mutation Start($schedule: ScheduleSelector!) { startSchedule(scheduleSelector: $schedule) { __typename
  ... on PythonError { message } } }
"""
_MOST_S = 300


def repository(folder: Path, files: int) -> None:
    """A git repository with so many small files."""
    folder.mkdir()
    for number in range(files):
        (folder / f"file_{number}.py").write_text(f"def number_{number}():\n    return {number}\n", encoding="utf-8")
    me = ["-c", "user.name=Bench", "-c", "user.email=bench@example.org"]
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], [*me, "commit", "-qm", "some"]):
        command = ["git", *words]
        subprocess.run(command, cwd=folder, check=True)


def plain(server: RehearsalServer, texts: list[str]) -> float:
    """Seconds that a thread pool over the SDK takes."""
    client = anthropic.Anthropic(api_key="rehearsal", base_url=server.base_url, max_retries=0)

    def ask(text: str) -> None:
        client.messages.create(model="claude-sonnet-5-5", max_tokens=100, messages=[{"role": "user", "content": text}])

    begun = time.perf_counter()
    with ThreadPoolExecutor(len(texts)) as pool:
        list(pool.map(ask, texts))
    return time.perf_counter() - begun


def scheduled(one: Served, runs: int) -> tuple[float, float]:
    """Seconds from the tick's first run to the last one's end, and from the first op."""
    schedule = {"repositoryLocationName": one.location, "repositoryName": "__repository__"}
    answer = one.ask(START, schedule={**schedule, "scheduleName": "reviews_schedule"})
    assert answer["startSchedule"]["__typename"] == "ScheduleStateResult", answer
    deadline = time.monotonic() + _MOST_S
    found: dict[str, dict[str, object]] = {}
    while len(found) < runs or any(row["status"] != "SUCCESS" for row in found.values()):
        assert time.monotonic() < deadline, json.dumps(found)
        time.sleep(0.5)
        found = one.runs()
    rows = list(found.values())
    ended = max(row["endTime"] for row in rows)
    first_op = min(step["startTime"] for row in rows for step in row["stepStats"])
    return ended - min(row["startTime"] for row in rows), ended - first_op


def main(files: int, seconds: float) -> None:
    print(machine())
    with tempfile.TemporaryDirectory() as name, RehearsalServer(Script(latency_ms=round(seconds * 1000))) as server:
        code = Path(name) / "code"
        repository(code, files)
        texts = [file.read_text(encoding="utf-8") for file in sorted(code.glob("*.py"))]
        by_script = plain(server, texts)
        environ = {"ANTHROPIC_API_KEY": "rehearsal", "ANTHROPIC_BASE_URL": server.base_url}
        text = PIPELINE.format(code=code, half=(files + 1) // 2)
        with served({"reviews": text}, environ=environ) as one:
            whole, ops = scheduled(one, 2)
    print(
        f"{files} files, {seconds:.1f} s a call: plain script {by_script:.2f} s, two runs {whole:.2f} s from start to"
    )
    print(
        f"end, {ops:.2f} s from their first op: {whole / by_script:.1f} x the script, {whole / seconds:.1f} x the ideal"
    )


if __name__ == "__main__":
    words = sys.argv[1:]
    main(int(words[0]) if words else 100, float(words[1]) if words[1:] else 1.0)
