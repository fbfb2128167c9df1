"""ONE run: its inputs, pins, limits, workspace and journal, shared by the steps that run in it."""

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from elexirion_dagster.calls import Calls
from elexirion_dagster.codebase.files import read_text
from elexirion_dagster.errors import ElexirionError, InputError
from elexirion_dagster.expressions import Engine
from elexirion_dagster.providers.catalog import ModelRef, Providers, resolve
from elexirion_dagster.records import Json, StepResult
from elexirion_dagster.redact import Redactor
from elexirion_dagster.runner import Runner
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.llm import LlmStep, Model
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.spec.references import References
from elexirion_dagster.spec.steps import Step
from elexirion_dagster.steps.context import Shared, Slot, StepContext, view
from elexirion_dagster.steps.threads import Threads
from elexirion_dagster.store.home import Home, open_home, storage_error
from elexirion_dagster.store.journal import JournalWriter
from elexirion_dagster.store.ledger import Ledger, Limit
from elexirion_dagster.store.prompts import Stale, current, slot_hash
from elexirion_dagster.store.replay import Replay

MODEL_TAG = "elexirion/model"
ROOT_RUN_TAG = "elexirion/root_run"
PIPELINE_TAG = "elexirion/pipeline"
RECOVERY_TAG = "elexirion/recovery_of"
TENANT_TAG = "elexirion/tenant"
TRIGGER_TAG = "elexirion/trigger"
CLI = "cli"
"""Value of TRIGGER_TAG of a run that works in the user's own terminal."""
NO_MODEL = "none"
PROGRESS_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Which run this is. `root_run` is the run it continues, itself when it continues none."""

    run: str
    root_run: str
    inputs: Mapping[str, Json]
    tags: Mapping[str, str]
    trigger: str


class Run:
    """A pipeline under way in this process. Thread-safe; `close` ends it."""

    def __init__(self, pipeline: Pipeline, info: RunInfo, settings: Settings) -> None:
        self.pipeline = pipeline
        self.info = info
        self.settings = settings
        self.cancelled = threading.Event()
        home = open_home(settings.home)
        self._replay = Replay.load(home, info.root_run)
        self.journal = JournalWriter(home, root_run=info.root_run, run=info.run)
        self._pins = _Pins(pipeline, info, settings, self._replay, self.journal)
        self.inputs = self._pins.fixed("inputs", complete_inputs(pipeline, info.inputs))
        self._started_at = self._pins.fixed("started_at", datetime.now(UTC).isoformat(timespec="seconds"))
        self._providers = Providers(settings)
        redactor = Redactor(secrets=_secrets(settings))
        granted = tuple(Path(self.inputs[name]).resolve() for name in self._path_inputs() if self.inputs[name])
        self._engine = Engine(lazy=lambda record, name: _file_text(record, name, granted))
        self._runner = Runner(self._replay)
        seconds = pipeline.budget.seconds
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self.limits = _limits(pipeline, info, settings)
        self._shared = Shared(
            engine=self._engine,
            references=References(self._engine),
            calls=Calls(
                journal=self.journal,
                replay=self._replay,
                ledger=Ledger(home),
                limits=self.limits,
                providers=self._providers,
                redactor=redactor,
                cancelled=self.cancelled,
            ),
            pins=self._pins,
            journal=self.journal,
            redactor=redactor,
            threads=Threads(pipeline.limits.threads or settings.max_threads),
            retry=pipeline.retry,
            workspace=_workspace(home, info.run),
            granted=granted,
            cancelled=self.cancelled,
            ceiling="no ceiling set" if pipeline.budget.usd is None else f"at most ${pipeline.budget.usd:.2f}",
            progress=lambda *_: None,
        )
        self.journal.append(
            "run_started",
            durable=True,
            pipeline=pipeline.name,
            pipeline_hash=pipeline_hash(pipeline),
            description=pipeline.description,
            inputs=redactor.tree(dict(self.inputs)),
            trigger=info.trigger,
            recovery_of=info.tags.get(RECOVERY_TAG),
            tenant=info.tags.get(TENANT_TAG),
            tags=dict(info.tags),
        )

    def _path_inputs(self) -> list[str]:
        return [name for name, declared in self.pipeline.inputs.items() if declared.type == "path"]

    def scope(self, upstream: Mapping[str, StepResult]) -> dict[str, Any]:
        """What templates see after the steps in `upstream`, which stand in program order."""
        variables = {name: value for result in upstream.values() for name, value in result.vars.items()}
        return {
            "inputs": self.inputs,
            "steps": {name: view(result) for name, result in upstream.items()},
            "vars": variables,
            "run": {"id": self.info.root_run, "started_at": self._started_at, "pipeline": self.pipeline.name},
            **({"env": self._pins.env} if self.pipeline.env else {}),
        }

    def step(
        self, step: Step, upstream: Mapping[str, StepResult], *, listen: Callable[[str], None] | None = None
    ) -> StepResult:
        """Run one top-level step; `listen` gets a line of progress at most once a second."""
        shared = replace(self._shared, progress=_Progress(self.journal, listen))
        ctx = StepContext(
            path=step.name,
            names=(step.name,),
            scope=self.scope(upstream),
            shared=shared,
            run_step=self._runner,
            deadline=self._deadline,
        )
        return self._runner(step, ctx)

    def outputs(self, upstream: Mapping[str, StepResult]) -> dict[str, Json]:
        """Evaluate and record the pipeline's outputs. Raises ExpressionError."""
        outputs = self._engine.evaluate_tree(dict(self.pipeline.outputs), self.scope(upstream))
        self.journal.append("outputs", durable=True, outputs=outputs)
        found: dict[str, Json] = outputs
        return found

    def facts(self) -> dict[str, Json]:
        """What a report says about a run whose steps are all done, besides its outputs."""
        return {
            "pipeline": self.pipeline.name,
            "title": self.pipeline.name.replace("_", " ").capitalize(),
            "run_id": self.info.run,
            "status": "succeeded",
            "model": ", ".join(sorted(self._shared.calls.models)) or None,
            "calls": self._shared.calls.total.attempts,
            "cost_usd": self._shared.calls.total.cost_usd,
            "started_at": self._started_at,
            "duration_s": round((datetime.now(UTC) - datetime.fromisoformat(self._started_at)).total_seconds(), 3),
        }

    def cancel(self) -> None:
        """Tell everything under way to stop soon: children are ended, no further call is sent."""
        self.cancelled.set()

    def close(self) -> None:
        """Let go of connections and the journal file."""
        self._providers.close()
        self.journal.close()


class _Progress:
    """Thins progress to one line a second and path, into the journal and to whoever listens."""

    def __init__(self, journal: JournalWriter, listen: Callable[[str], None] | None) -> None:
        self._journal = journal
        self._listen = listen
        self._last: dict[str, float] = {}
        self._lock = threading.Lock()

    def __call__(self, path: str, done: int, failed: int, total: int, note: str | None) -> None:
        with self._lock:
            now = time.monotonic()
            if done < total and now - self._last.get(path, 0.0) < PROGRESS_EVERY_S:
                return
            self._last[path] = now
        self._journal.append("progress", path=path, done=done, failed=failed, total=total, note=note)
        if self._listen is not None:
            tail = f", {failed} failed" if failed else ""
            self._listen(f"{path}: {done} of {total}{tail}{f', {note}' if note else ''}")


class _Pins:
    """Models, prompts and inputs as they were when the root run began; a later run of the same root reuses them."""

    def __init__(
        self, pipeline: Pipeline, info: RunInfo, settings: Settings, replay: Replay, journal: JournalWriter
    ) -> None:
        self._pipeline = pipeline
        self._override = info.tags.get(MODEL_TAG)
        self._settings = settings
        self._home = open_home(settings.home)
        self._pinned = dict(replay.pins)
        self._journal = journal
        self._lock = threading.RLock()
        self._slots: dict[str, Slot] = {}
        self._models: dict[str, tuple[ModelRef, ...]] = {}

    @property
    def env(self) -> Mapping[str, str]:
        """The environment variables that the pipeline lists."""
        return {name: self._settings.environ.get(name, "") for name in self._pipeline.env}

    def fixed(self, name: str, value: Json) -> Json:
        """The pinned value of this name; `value` is pinned when there is none."""
        with self._lock:
            if name not in self._pinned:
                self._pinned[name] = value
                self._journal.append("pin", durable=True, name=name, value=value)
            return self._pinned[name]

    def models(self, model: Model | None) -> tuple[ModelRef, ...]:
        """The models behind a `model` word, resolved once per root run."""
        wanted = self._override or model or self._pipeline.model
        key = str(wanted)
        with self._lock:
            if key not in self._models:
                refs = () if wanted == NO_MODEL else resolve(wanted, self._settings)
                pinned = self.fixed(f"model:{key}", [asdict(ref) for ref in refs])
                self._models[key] = tuple(ModelRef(**ref) for ref in pinned)
            return self._models[key]

    def slot(self, step: LlmStep, name_path: str) -> Slot:
        """The step's slot: the promoted version if there is one for this YAML, else the YAML's own text."""
        with self._lock:
            if name_path not in self._slots:
                self._slots[name_path] = self._find(step, name_path)
            return self._slots[name_path]

    def _find(self, step: LlmStep, name_path: str) -> Slot:
        examples = tuple((example.prompt, example.answer) for example in step.examples)
        base = slot_hash(step.system, [{"prompt": prompt, "answer": answer} for prompt, answer in examples])
        found = current(self._home, self._pipeline.name, name_path, base_hash=base)
        slot = Slot(step.system, examples, f"yaml:{base[:12]}")
        if isinstance(found, Stale):
            slot = replace(slot, note="the promoted prompt is stale: the YAML's own text changed since it was derived")
        elif found is not None:
            tried = tuple((example["prompt"], example["answer"]) for example in found.examples)
            slot = Slot(found.instructions, tried, found.hash)
        pinned = self.fixed(f"prompt:{name_path}", slot.version)
        if pinned != slot.version:
            raise ElexirionError(
                f"the prompt of {name_path} was {pinned} when this run began and is {slot.version} now",
                cause="bad_pipeline",
                mend="Start a new run.",
            )
        return slot


def _workspace(home: Home, run: str) -> Path:
    """The run's own folder, made if need be."""
    folder = home.workspace(run)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, folder) from error
    return folder.resolve()


def _file_text(record: Mapping[str, Json], name: str, granted: tuple[Path, ...]) -> str:
    """The `.text` of a listed file, read when it is rendered."""
    if name != "text" or not {"root", "path", "blob"} <= set(record):
        raise KeyError(name)
    return read_text(record, granted=granted)


def complete_inputs(pipeline: Pipeline, given: Mapping[str, Json]) -> dict[str, Json]:
    """Given inputs with defaults filled in and paths made absolute. Raises InputError naming the input."""
    unknown = [name for name in given if name not in pipeline.inputs]
    if unknown:
        known = ", ".join(pipeline.inputs) or "none"
        raise InputError(f"{pipeline.name} has no input {unknown[0]!r}", mend=f"Its inputs: {known}.")
    complete: dict[str, Json] = {}
    for name, declared in pipeline.inputs.items():
        if name not in given and declared.required:
            raise InputError(f"{pipeline.name} needs the input {name} ({declared.type})", mend=f"Give {name}=…")
        value = given.get(name, declared.default)
        if name in given and not declared.accepts(value):
            allowed = f" out of {list(declared.enum)}" if declared.enum else ""
            raise InputError(f"the input {name} must be a {declared.type}{allowed}, got {value!r}")
        complete[name] = str(Path(value).expanduser().absolute()) if declared.type == "path" and value else value
    return complete


def pipeline_hash(pipeline: Pipeline) -> str:
    """SHA-256 of the pipeline's canonical form."""
    return hashlib.sha256(pipeline.model_dump_json(by_alias=True).encode()).hexdigest()


def _limits(pipeline: Pipeline, info: RunInfo, settings: Settings) -> tuple[Limit, ...]:
    limits = []
    if pipeline.budget.usd is not None or pipeline.budget.tokens is not None:
        limits.append(Limit(f"run:{info.root_run}", pipeline.budget.usd, pipeline.budget.tokens))
    if settings.budget_usd_per_day is not None:
        limits.append(Limit(f"day:{datetime.now(UTC).date()}", settings.budget_usd_per_day, None))
    return tuple(limits)


def _secrets(settings: Settings) -> list[str]:
    keys = (settings.anthropic_api_key, settings.local_api_key)
    return [key.get_secret_value() for key in keys if key is not None]
