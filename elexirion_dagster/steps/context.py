"""What a step is given: its scope, its deadline, and the run's shared means."""

import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from elexirion_dagster.calls import Calls
from elexirion_dagster.codebase.files import read_text
from elexirion_dagster.errors import Cancelled, ElexirionError, InputError, PolicyError
from elexirion_dagster.expressions import Engine
from elexirion_dagster.providers.catalog import ModelRef
from elexirion_dagster.records import Json, StepError, StepResult
from elexirion_dagster.redact import Redactor
from elexirion_dagster.reservations import Allowance
from elexirion_dagster.sandbox.policy import Sandbox
from elexirion_dagster.spec.base import Budget, Retry
from elexirion_dagster.spec.files import MAX_FILE_KB
from elexirion_dagster.spec.llm import LlmStep, Model
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.spec.references import References
from elexirion_dagster.spec.steps import Step
from elexirion_dagster.steps.children import Children
from elexirion_dagster.steps.part import Part
from elexirion_dagster.steps.partials import Partials
from elexirion_dagster.steps.threads import Threads
from elexirion_dagster.store.journal import JournalWriter
from elexirion_dagster.store.sessions import Sessions
from elexirion_dagster.store.tool_log import ToolLog
from elexirion_dagster.templating.keyed import Keyed

Scope = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Slot:
    """What optimisation may rewrite of an llm step, as it stands for this run."""

    system: str | None
    examples: tuple[tuple[str, Json], ...]
    version: str
    note: str | None = None


class Pins(Protocol):
    """What was settled when the root run began: which models, which prompts."""

    @property
    def no_model(self) -> str:
        """Why no model is asked, where `models` is empty."""

    def models(self, model: Model | None) -> tuple[ModelRef, ...]:
        """The models behind a step's `model` (None: the pipeline's) in failover order; empty when none is there."""

    def slot(self, step: LlmStep, name_path: str, item: str | None) -> Slot:
        """The slot of the step at a path of names such as `review.look`, for this item (None: for the run)."""

    def env(self, pipeline: Pipeline) -> Mapping[str, str]:
        """The environment variables that a pipeline lists, as far as they are set."""

    def inside(self, pipeline: Pipeline, *, named: bool) -> "Pins":
        """The same for the steps of a pipeline inside; a named one keeps its prompts under its own name."""


class View(dict[str, Json]):
    """A step result as templates see it; remembers digests of its parts."""

    __slots__ = ("digests",)

    def __init__(self, fields: Mapping[str, Json]) -> None:
        super().__init__(fields)
        self.digests: dict[tuple[str, ...], str] = {}


def view(result: StepResult) -> View:
    """A result in the form that `steps.<name>` has in templates."""
    fields = result.to_json()
    del fields["vars"], fields["metadata"]
    if result.results is None:
        del fields["results"]
    else:
        fields["results"] = Keyed(result.results)
    return View(fields)


def file_text(record: Mapping[str, Json], name: str, granted: tuple[Path, ...]) -> str:
    """The `.text` of a listed file, read when it is rendered; the list has bounded its size already."""
    if name != "text" or not {"root", "path", "blob"} <= record.keys():
        raise KeyError(name)
    return read_text(record, granted=granted, max_kb=MAX_FILE_KB)


@dataclass(frozen=True, slots=True)
class Shared:
    """What all steps of one run share."""

    root_run: str
    engine: Engine
    references: References
    calls: Calls
    pins: Pins
    journal: JournalWriter
    redactor: Redactor
    threads: Threads
    retry: Retry
    workspace: Path
    granted: tuple[Path, ...]
    cancelled: threading.Event
    ceiling: str
    """What the run may spend on model calls, in words."""
    progress: Callable[[str, int, int, int, str | None], None]
    """Called with path, items done, items failed, items in all, and a note."""
    partials: Partials
    """Hears the answers of model calls while they come in."""
    children: Children
    under_way: tuple[str, ...]
    """The pipelines around the step, the run's own first; inline ones have no name that could be met again."""
    inside: str
    """Path of the pipeline step around the step; nothing at the top."""
    sessions: Sessions
    tool_log: ToolLog
    sandbox: Sandbox
    """What programs of this run may see and reach."""
    part: Part | None = None
    """Which part of the items of a top-level for_each this run works on; None: all."""
    due: Callable[[], dict[str, Json]] | None = None
    """Lists the files that a run with partitions scans; None for any other run."""


@dataclass(frozen=True, slots=True)
class Item:
    """The item that a step works for: what is said of it is said again when it comes again. Files go by their path."""

    key: str
    is_file: bool

    @classmethod
    def within(cls, outer: "Item | None", key: str, value: Json) -> "Item":
        """The item of a loop; whatever a file is cut into goes by the file."""
        if isinstance(value, Mapping) and isinstance(value.get("path"), str):
            return cls(value["path"], is_file=True)
        if outer is None:
            return cls(key, is_file=False)
        return outer if outer.is_file else cls(f"{outer.key}/{key}", is_file=False)


@dataclass(frozen=True, slots=True)
class StepContext:
    """One step's place in a run. `path` names it with item keys (`review[src/a.py].look`), `names` without."""

    path: str
    names: tuple[str, ...]
    scope: Scope
    shared: Shared
    run_step: Callable[[Step, "StepContext"], StepResult]
    allowance: Allowance
    deadline: float | None = None
    item: Item | None = None

    def evaluate(self, value: Json) -> Json:
        """A template's value, or a list or map with every template inside evaluated."""
        return self.shared.engine.evaluate_tree(value, self.scope)

    def render(self, template: str) -> str:
        """A template as text."""
        return self.shared.engine.render(template, self.scope)

    def value(self, chain: Sequence[str]) -> Json:
        """What a chain of names leads to, lazily read fields included. Raises ElexirionError when it leads nowhere."""
        found: Json = self.scope
        for name in chain:
            if not isinstance(found, Mapping) or name not in found:
                return self.evaluate(f"{{{{ {'.'.join(chain)} }}}}")
            found = found[name]
        return found

    def inside(self, suffix: str, names: Sequence[str], scope: Scope) -> "StepContext":
        """The context of an inner step; `suffix` is what its path adds, the last of `names` is its own."""
        return StepContext(
            path=f"{self.path}{suffix}.{names[-1]}",
            names=(*self.names, *names),
            scope=scope,
            shared=self.shared,
            run_step=self.run_step,
            allowance=self.allowance,
            deadline=self.deadline,
            item=self.item,
        )

    def slot(self, step: LlmStep) -> Slot:
        """What a step that asks a model says here."""
        return self.shared.pins.slot(step, ".".join(self.names), self.item.key if self.item else None)

    def conversation(self, session: str) -> str:
        """The name under which a session is kept: inside a pipeline step it is one of its own."""
        if not self.shared.inside:
            return session
        return f"{session}_in_{hashlib.sha256(self.shared.inside.encode()).hexdigest()[:12]}"

    def told(self, error: ElexirionError) -> StepError:
        """An error as a result carries it, secrets left out."""
        text = self.shared.redactor.text
        return StepError(error.cause, text(error.message), error.mend and text(error.mend))

    def under(self, budget: Budget | None) -> "StepContext":
        """This context under the step's own budget too, in an account that recoveries of the run go on with."""
        if budget is None:
            return self
        allowance = self.allowance.under(f"step:{self.shared.root_run}:{self.path}", budget)
        end = None if budget.seconds is None else time.monotonic() + budget.seconds
        ends = [at for at in (self.deadline, end) if at is not None]
        return replace(self, allowance=allowance, deadline=min(ends, default=None))

    def time_left_s(self, most: float = 3600.0) -> float:
        """Seconds until the deadline, at most `most`. Raises ElexirionError (timeout) when there are none."""
        left = most if self.deadline is None else min(most, self.deadline - time.monotonic())
        if left <= 0:
            raise ElexirionError(
                f"{self.path} ran out of time", cause="timeout", mend="Raise timeout_s or budget.seconds."
            )
        return left

    def go_on(self) -> None:
        """Raise Cancelled or a timeout if this step must not go on."""
        if self.shared.cancelled.is_set():
            raise Cancelled
        self.time_left_s()

    def readable(self, path: str) -> Path:
        """An existing place that this run may read: in its workspace or below a `path` input.

        Relative paths are looked up in the workspace. Raises PolicyError when it lies outside.
        """
        try:
            real = (self.shared.workspace / path).resolve()
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(f"{path!r} is no usable path: {error}", mend="Name an existing place.") from error
        if not any(real.is_relative_to(root) for root in (self.shared.workspace, *self.shared.granted)):
            raise PolicyError(
                f"{path} lies outside what this run may read",
                cause="tool_denied",
                mend="Declare it as an input of type path, or copy it into the workspace.",
            )
        return real
