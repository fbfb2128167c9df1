"""A pipeline whose model, played by the rehearsal server, answers well under one system text and badly else."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from elexirion_dagster.rehearsal.script import Answer, Script
from elexirion_dagster.rehearsal.server import RehearsalServer

KINDS = ("red", "green", "blue")
BETTER = "Look twice."
ADDRESS = "sorting/sort"
SETTINGS = "{metric: {exact: kind}, objectives: [quality], optimizer: bootstrap, budget: {iterations: 2}"
PIPELINE = """\
name: sorting
model: local/any
inputs: {{text: {{type: string}}}}
steps:
  - name: sort
    type: llm
    system: Sort it.
    prompt: "{{{{ inputs.text }}}}"
    output: {{kind: {{enum: [red, green, blue]}}}}
    optimize: {optimize}
examples: {{sort: sorted.jsonl}}
"""


def text(number: int) -> str:
    """Something to sort that is like nothing else."""
    return f"{hashlib.sha256(str(number).encode()).hexdigest()[:40]}"


def label(number: int) -> str:
    return json.dumps({"inputs": {"text": text(number)}, "expected": {"kind": KINDS[number % 3]}})


@dataclass
class Learnable:
    """Where the pipeline lies, and the server that plays its model; `calls` counts what was asked."""

    folder: Path
    server: RehearsalServer

    @property
    def file(self) -> Path:
        return self.folder / "pipelines_yaml" / "sorting.yaml"

    @property
    def calls(self) -> int:
        return self.server.count

    def write(
        self, *, optimize: str = f"{SETTINGS}, instructions: [{BETTER}]}}", labels: list[str] | None = None
    ) -> None:
        """Put pipeline and labels where they are found."""
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text(PIPELINE.format(optimize=optimize))
        rows = [label(number) for number in range(180)] if labels is None else labels
        (self.file.parent / "sorted.jsonl").write_text("\n".join(rows) + "\n")


@pytest.fixture(name="learnable")
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Learnable]:
    """Under BETTER every answer is right; under another text, or with examples, all is red."""
    knows = [Answer(match=f"{BETTER}\n{text(number)}", data={"kind": KINDS[number % 3]}) for number in range(180)]
    with RehearsalServer(Script(answers=(*knows, Answer(data={"kind": "red"})))) as server:
        monkeypatch.setenv("ELEXIRION_LOCAL_URL", f"{server.base_url}/v1")
        monkeypatch.chdir(tmp_path)
        made = Learnable(tmp_path, server)
        made.write()
        yield made
