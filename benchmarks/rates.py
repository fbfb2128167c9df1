"""500 calls against a server that takes 20 a second, from one process and from ten: how much of that rate is used.

`python -m benchmarks.rates` prints it and ends with 1 when less than 95 % was used, a call failed, or more than 2 % got
a 429.
"""

import json
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.rehearsal.script import Rate, Script
from elexirion_dagster.rehearsal.server import RehearsalServer
from elexirion_dagster.run import Run, RunInfo
from elexirion_dagster.settings import Settings

CALLS, PER_S, BURST = 500, 20, 5
LEAST_USED, MOST_REFUSED = 0.95, 0.02
PIPELINE = """
name: rates
inputs: {numbers: {type: list}}
model: local/rehearsal-script
steps:
  - {name: warm, type: llm, prompt: Are you there?, max_tokens: 64}
  - name: each
    type: for_each
    items: "{{ inputs.numbers }}"
    max_parallel: 50
    steps: [{name: ask, type: llm, prompt: "Number {{ item }}", max_tokens: 64}]
"""


def main() -> int:
    print(machine())
    print(f"{CALLS} calls, the server takes {PER_S}/s (burst {BURST}), ELEXIRION_RATES=local={PER_S}rps")
    return 0 if all([measured(1), measured(10)]) else 1


def measured(processes: int) -> bool:
    """Print one round; whether it is good enough."""
    script = Script(latency_ms=200, rate=Rate(requests_per_s=PER_S, burst=BURST))
    with tempfile.TemporaryDirectory() as home, RehearsalServer(script) as server:
        command = [sys.executable, "-m", "benchmarks.rates", home, server.base_url, str(CALLS // processes)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        clients = [subprocess.Popen(command, **pipes) for _ in range(processes)]
        for client in clients:
            assert client.stdout is not None
            assert client.stdout.readline() == "ready\n"
        started = time.time()
        for client in clients:
            assert client.stdin is not None
            client.stdin.write("go\n")
            client.stdin.flush()
        ends = [json.loads(client.communicate()[0]) for client in clients]
    seconds = max(end["at"] for end in ends) - started
    failed = sum(end["failed"] for end in ends)
    used, refused = CALLS / seconds / PER_S, server.refused / server.count
    print(
        f"{processes:3} processes: {seconds:5.1f} s, {used:.1%} of the rate, {failed} failed, {refused:.1%} got a 429"
    )
    return used >= LEAST_USED and failed == 0 and refused <= MOST_REFUSED


def client(home: str, url: str, calls: int) -> None:
    """One process: its share of the calls, begun when told to, warm; prints when it was done and how many failed."""
    pipeline = load_string(PIPELINE).pipeline
    settings = Settings.model_validate(
        {"home": Path(home), "local_base_url": f"{url}/v1", "rates": f"local={PER_S}rps"}
    )
    run_id = uuid.uuid4().hex
    run = Run(pipeline, RunInfo(run_id, run_id, {"numbers": list(range(calls))}, {}, "benchmark"), settings)
    assert run.step(pipeline.steps[0], {}).status == "succeeded"
    print("ready", flush=True)
    sys.stdin.readline()
    result = run.step(pipeline.steps[1], {})
    at = time.time()
    run.close()
    print(json.dumps({"at": at, "failed": sum(entry["status"] != "succeeded" for entry in result.results or [])}))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        client(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    else:
        sys.exit(main())
