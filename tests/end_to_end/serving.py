"""A running `elexirion up`, seen from outside."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

PATIENCE_S = 90
SHADOWED = "shadowed"
"""What modules write that lie in the folder where `elexirion up` was started, once something imports them."""
FINISHED = {"SUCCESS", "FAILURE", "CANCELED"}

SLOW = """
name: slow
inputs: {seconds: {type: integer, default: 300}}
steps:
  - {name: sleeps, type: command, run: [sleep, "{{ inputs.seconds }}"]}
  - {name: after, type: set, needs: [sleeps], vars: {x: 1}}
"""
NAPS = """
name: naps
steps:
  - {name: first, type: set, vars: {x: 1}}
  - {name: naps, type: command, needs: [first], run: [sleep, '6']}
"""
WHERE = """
name: where
env: [WHERE]
steps:
  - {name: looks, type: set, vars: {where: "{{ env.WHERE }}"}}
outputs: {where: "{{ vars.where }}"}
"""
FALLS_BACK = """
name: falls_back
steps:
  - {name: looks, type: command, run: [ls, /there/is/no/such/place]}
fallback:
  - {on: [command_failed], run: stands_in}
"""
STANDS_IN = """
name: stands_in
steps:
  - {name: stands, type: set, vars: {x: 1}}
"""
BREAKS = """
name: breaks
steps:
  - {name: looks, type: command, run: [ls, /there/is/no/such/place]}
"""

MENDS = """
name: mends
inputs: {folder: {type: path}}
steps:
  - {name: first, type: set, vars: {x: 20}}
  - {name: second, type: command, run: [cat, "{{ inputs.folder }}/number"]}
outputs: {sum: "{{ vars.x + (steps.second.text | int) }}"}
"""

_AGAIN = """
mutation Again($params: ReexecutionParams!) { launchRunReexecution(reexecutionParams: $params) { __typename
  ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
"""
_LAUNCH = """
mutation Launch($params: ExecutionParams!) { launchRun(executionParams: $params) { __typename
  ... on LaunchRunSuccess { run { runId } }
  ... on RunConfigValidationInvalid { errors { message } }
  ... on PythonError { message } } }
"""
_RUN = """
query Run($id: ID!) { runOrError(runId: $id) { ... on Run { status tags { key value }
  stepStats { stepKey status startTime endTime } } } }
"""
_METADATA = """
query Events($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events { __typename
  ... on ExecutionStepOutputEvent { stepKey metadataEntries { label __typename
    ... on TextMetadataEntry { text } ... on MarkdownMetadataEntry { mdStr } ... on PathMetadataEntry { path }
    ... on IntMetadataEntry { intRepr } ... on FloatMetadataEntry { floatValue } } } } } } }
"""
_TERMINATE = "mutation Stop($id: String!) { terminateRun(runId: $id) { __typename } }"
_TAGGED = """
{ runsOrError(limit: 1000) { ... on Runs { results { runId status pipelineName tags { key value } } } } }
"""
_LOCATIONS = """
{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus
  locationOrLoadError { __typename ... on RepositoryLocation { repositories { jobs { name description } } }
  ... on PythonError { message } } } } } }
"""


@dataclass
class Ui:
    """A running `elexirion up`."""

    process: subprocess.Popen[str]
    port: int
    home: Path
    environ: dict[str, str]
    said: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, query: str, **variables: Any) -> Any:
        """The data of a GraphQL query."""
        body = {"query": query, "variables": variables}
        answer = httpx.post(f"{self.url}/graphql", json=body, timeout=60, trust_env=False).json()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def locations(self) -> dict[str, Any]:
        entries = self.ask(_LOCATIONS)["workspaceOrError"]["locationEntries"]
        return {entry["name"]: entry["locationOrLoadError"] for entry in entries}

    def launch(self, job: str, inputs: dict[str, Any]) -> Any:
        """What launching a run with these inputs answers."""
        selector = {
            "repositoryLocationName": "elexirion_dagster",
            "repositoryName": "__repository__",
            "pipelineName": job,
        }
        params = {"selector": selector, "runConfigData": json.dumps(inputs), "mode": "default"}
        return self.ask(_LAUNCH, params=params)["launchRun"]

    def started(self, job: str, **inputs: Any) -> str:
        """The id of a run that was launched."""
        answer = self.launch(job, inputs)
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return answer["run"]["runId"]

    def resumed(self, run_id: str, strategy: str = "FROM_FAILURE") -> str:
        """The id of a run that continues a failed one; with ALL_STEPS of one that does everything anew."""
        params = {"parentRunId": run_id, "strategy": strategy}
        answer = self.ask(_AGAIN, params=params)["launchRunReexecution"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return answer["run"]["runId"]

    def run(self, run_id: str) -> Any:
        return self.ask(_RUN, id=run_id)["runOrError"]

    def finished(self, run_id: str) -> Any:
        """The run once it has ended."""
        return wait_for(lambda: found if (found := self.run(run_id))["status"] in FINISHED else None)

    def recoveries(self, run_id: str) -> list[Any]:
        """The runs that were started because this one failed."""
        rows = self.ask(_TAGGED)["runsOrError"]["results"]
        wanted = {"key": "elexirion/recovery_of", "value": run_id}
        return [row for row in rows if wanted in row["tags"]]

    def metadata(self, run_id: str) -> dict[str, dict[str, Any]]:
        """What each op shows, by label."""
        shown = {}
        for event in self.ask(_METADATA, id=run_id)["logsForRun"]["events"]:
            if event["__typename"] == "ExecutionStepOutputEvent":
                shown[event["stepKey"]] = {entry["label"]: _value(entry) for entry in event["metadataEntries"]}
        return shown

    def terminate(self, run_id: str) -> str:
        return self.ask(_TERMINATE, id=run_id)["terminateRun"]["__typename"]

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def program(self, word: str) -> psutil.Process | None:
        """The first of the children whose command has this word."""
        for child in self.children():
            with suppress(psutil.Error):  # it may have ended meanwhile
                if word in " ".join(child.cmdline()):
                    return child
        return None

    def journal(self, run_id: str) -> list[dict[str, Any]]:
        """Every line of a root run; each must be whole."""
        texts = [file.read_text(encoding="utf-8") for file in sorted((self.home / "journal" / run_id).glob("*.jsonl"))]
        assert all(text.endswith("\n") for text in texts if text)  # a file may just have been made
        return [json.loads(line) for text in texts for line in text.splitlines()]

    def stop(self) -> int:
        """What Ctrl-C does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@contextmanager
def up(folder: Path, environ: Mapping[str, str]) -> Iterator[Ui]:
    """`elexirion up`, started in a folder and ready; ended with the block."""
    port = free_port()
    command = [sys.executable, "-P", "-m", "elexirion_dagster.cli.main", "up", "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=folder, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    running = Ui(process, port, Path(environ["ELEXIRION_HOME"]), dict(environ))
    assert process.stderr is not None
    reader = threading.Thread(target=lambda: running.said.extend(process.stderr), daemon=True)  # type: ignore[arg-type]
    reader.start()
    try:
        wait_for(lambda: any("ready: " in line for line in running.said) or process.poll() is not None)
        assert process.poll() is None, running.said
        yield running
    finally:
        running.stop()
        reader.join(10)
        process.stderr.close()


def _value(entry: dict[str, Any]) -> Any:
    return next((entry[name] for name in ("text", "mdStr", "path", "intRepr", "floatValue") if name in entry), None)


def wait_for(look: Callable[[], Any]) -> Any:
    """What `look` gives once it gives something."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.3)
    raise AssertionError("nothing came in time")


def command(process: psutil.Process) -> list[str]:
    """The words of a process; none once it has ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
