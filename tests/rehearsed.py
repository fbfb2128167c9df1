"""One pipeline run in this process, without Dagster: its steps in program order, on a scripted model."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.providers.base import Provider
from elexirion_dagster.providers.fake import FakeProvider, Rule
from elexirion_dagster.records import StepResult
from elexirion_dagster.run import Run, RunInfo
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.journal import lines


class Rehearsed:
    """A run under way: `step` runs one, `all` every one until a failure."""

    def __init__(self, run: Run, fake: FakeProvider, home: Home) -> None:
        self.run = run
        self.fake = fake
        self.home = home
        self.results: dict[str, StepResult] = {}

    def all(self) -> dict[str, StepResult]:
        """The results by name, as JSON sends them from op to op."""
        for step in self.run.pipeline.steps:
            result = self.run.step(step, self.results)
            self.results[step.name] = StepResult.from_json(result.to_json())
            if result.status == "failed" and not step.continue_on_error:
                break
        return self.results

    def lines(self, kind: str | None = None) -> list[dict[str, Any]]:
        """What the journal has, of one kind if asked."""
        found = lines(self.home, self.run.info.root_run)
        return [line for line in found if kind in (None, line["kind"])]


Start = Callable[..., Rehearsed]


@pytest.fixture(name="start")
def start_run(home_path: Path):
    """Open a run of a pipeline text; `steps:` alone will do."""
    runs: list[Run] = []

    def start(
        text: str,
        *,
        rules: Sequence[Rule] = (),
        root: str | None = None,
        tags: Mapping[str, str] = {},
        settings: Mapping[str, Any] = {},
        opened: Mapping[str, Provider] = {},
        **inputs: Any,
    ) -> Rehearsed:
        if "name:" not in text.split("steps:", maxsplit=1)[0]:
            text = f"name: rehearsed\n{text}"
        pipeline = load_string(text).pipeline
        run = f"run-{uuid.uuid4().hex[:8]}"
        fake = FakeProvider(rules)
        made = Run(
            pipeline,
            RunInfo(run, root or run, inputs, tags, "test"),
            Settings(**{"home": home_path, "model": "fake", **settings}),
            opened={"fake": fake, **opened},
        )
        runs.append(made)
        return Rehearsed(made, fake, Home(home_path))

    yield start
    for run in runs:
        run.close()


@pytest.fixture(name="one")
def run_one(start: Start):
    """Run a pipeline of one step and return its result."""

    def one(text: str, **options: Any) -> StepResult:
        return list(start(text, **options).all().values())[-1]

    return one
