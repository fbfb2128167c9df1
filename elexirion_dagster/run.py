"""ONE run: its inputs, pins, limits, workspace and journal, shared by the steps that run in it."""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from elexirion_dagster.calls import Calls
from elexirion_dagster.codebase.selection import Batch
from elexirion_dagster.codebase.worktree import GitFolders
from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.expressions import Engine
from elexirion_dagster.inputs import complete_inputs, granted, readable_places, without_secrets
from elexirion_dagster.pins import RunPins, check_prices
from elexirion_dagster.progress import Progress
from elexirion_dagster.providers.base import Provider
from elexirion_dagster.providers.catalog import Providers
from elexirion_dagster.providers.pricing import own_prices
from elexirion_dagster.records import Json, StepResult, dollars
from elexirion_dagster.recovery.asked import Recovery
from elexirion_dagster.redact import Redactor
from elexirion_dagster.reservations import Allowance, Reservations
from elexirion_dagster.runner import Runner
from elexirion_dagster.scan.target import Outcome, batch_of, target_of
from elexirion_dagster.scan.under_way import ScanUnderWay
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.base import Amounts
from elexirion_dagster.spec.children import NO_PIPELINES, Pipelines, may_ask_model, pipeline_hash
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.spec.references import References
from elexirion_dagster.spec.steps import Step
from elexirion_dagster.steps.children import Children
from elexirion_dagster.steps.context import Shared, StepContext, file_text, view
from elexirion_dagster.steps.part import held_back
from elexirion_dagster.steps.partials import Partials
from elexirion_dagster.steps.scoring import record_scores
from elexirion_dagster.steps.threads import Threads
from elexirion_dagster.store.accounts.ledger import Ledger
from elexirion_dagster.store.accounts.turns import Turns
from elexirion_dagster.store.holding import Held
from elexirion_dagster.store.home import Home, open_home
from elexirion_dagster.store.journal import JournalWriter
from elexirion_dagster.store.replay import Replay
from elexirion_dagster.store.tool_log import ToolLog
from elexirion_dagster.tags import FILE_TAG, MODEL_TAG, RECOVERY_TAG, STREAM_TAG, TENANT_TAG
from elexirion_dagster.workspace import sandbox_in, workspace_of, worktree_in


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Which run this is. `root_run` is the run it continues, itself when it continues none."""

    run: str
    root_run: str
    inputs: Mapping[str, Json]
    tags: Mapping[str, str]
    trigger: str
    batch: Batch | None = None
    """What a pipeline with partitions is to scan; None: every file."""

    @property
    def account(self) -> str:
        """Where the run's budget is kept; the batches of one scan share theirs."""
        shared = self.batch.scan if self.batch else None
        return f"scan:{shared}" if shared else f"run:{self.root_run}"


class Run:
    """A pipeline under way in this process. Thread-safe; `close` ends it.

    `opened` are providers that are ready already and go before the configured ones; `pipelines` are those that its
    steps may run. After `close`, `kept` says where work was left and why, `unscored` which scores were none.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        info: RunInfo,
        settings: Settings,
        *,
        opened: Mapping[str, Provider] = MappingProxyType({}),
        pipelines: Pipelines = NO_PIPELINES,
    ) -> None:
        self.pipeline, self._pipelines = pipeline, pipelines
        self.info = info
        self.settings = settings
        self.cancelled = threading.Event()
        self._well, self._results = dict[str, bool](), dict[str, StepResult]()
        self.kept: str | None = None
        self.unscored: tuple[str, ...] = ()
        self._recovery = Recovery.from_tags(info.tags)
        self.redactor = Redactor(secrets=settings.secrets(*(one.env for one in (pipeline, *pipelines.values()))))
        complete = complete_inputs(pipeline, without_secrets(info.inputs, self.redactor))
        self._prices = own_prices(settings.prices)
        home = open_home(settings.home)
        self._replay = Replay.load(home, info.root_run)
        journal = JournalWriter(home, root_run=info.root_run, run=info.run, tenant=info.tags.get(TENANT_TAG))
        with ExitStack() as opening:
            self.journal = opening.enter_context(journal)
            self._ledger = opening.enter_context(closing(Ledger(home)))
            self._providers = opening.enter_context(closing(Providers(settings, opened)))
            self._pins = self._pinned(home)
            self.inputs = self._settled(complete)
            self._started_at = self._pins.fixed("started_at", lambda: datetime.now(UTC).isoformat())
            chosen, self._budget = info.tags.get(MODEL_TAG), self._recovery.within(pipeline.budget)
            self._runner = Runner(self._replay, model=chosen, pipelines=pipelines, recovery=self._recovery)
            self._deadline = _deadline(self._budget, self._replay.seconds)
            workspace = opening.enter_context(workspace_of(home, info.root_run))
            worktree = opening.enter_context(self._worktree(workspace))
            self.scan = self._begin_scan(opening, home, workspace.folder)
            self._shared = self._share(workspace.folder, worktree)
            self._announce()
            check_prices(pipeline, pipelines, self._pins, self._prices, day=_day(settings))
            self._opened = opening.pop_all()

    @property
    def is_part(self) -> bool:
        """Whether it works on a part of the items only; what follows them, and the outputs, are another run's."""
        return self._recovery.part is not None

    @cached_property
    def _held_back(self) -> frozenset[str]:
        return held_back(self.pipeline.steps, self._shared.engine, self._pipelines) if self.is_part else frozenset()

    def _pinned(self, home: Home) -> RunPins:
        given, chosen = (self.pipeline, self.settings, home, self.journal), self.info.tags.get(MODEL_TAG)
        return RunPins(*given, pinned=self._replay.pins, override=chosen, recovery=self._recovery)

    def _settled(self, complete: dict[str, Json]) -> dict[str, Json]:
        """The inputs as they were when the root run began, masked by what is known of secrets today."""
        given = without_secrets(complete, self.redactor)
        pinned: dict[str, Json] = self._pins.fixed(self._pins.inputs_name, lambda: given)
        same = self.redactor.tree(pinned) == self.redactor.tree(given)  # paths were pinned with masks before
        return given if same else without_secrets(pinned, self.redactor)

    def _worktree(self, workspace: Held) -> AbstractContextManager[GitFolders | None]:
        """The workspace as the worktree that the pipeline asks for."""
        wanted = self.pipeline.workspace
        if wanted is None:
            return nullcontext()
        return worktree_in(
            workspace,
            Path(Engine().render(wanted.worktree_of, {"inputs": self.inputs})),
            granted(self.pipeline, self.inputs),
            self._pins.fixed,
            is_done=self._is_done,
            kept=partial(self._left, workspace.folder),
        )

    def _begin_scan(self, opening: ExitStack, home: Home, workspace: Path) -> ScanUnderWay | None:
        """The scan that a pipeline with partitions is; held, so that no other begins meanwhile."""
        if self.pipeline.partitions is None:
            return None
        given = batch_of(self.pipeline, self.inputs, self.info.batch)
        pinned = self._pins.fixed("batch", lambda: None if given is None else given.to_json())
        target = target_of(self.pipeline, self.inputs, None if pinned is None else Batch.from_json(pinned))
        if target is None:
            return None
        scan = ScanUnderWay(self.pipeline, self._pipelines, target, workspace, self.cancelled)
        opening.callback(lambda: scan.tidy(done=self._is_done()))
        opening.enter_context(scan.held(home, self.info.run))
        return scan

    def _left(self, worktree: Path, why: str | None) -> None:
        """Note what became of the worktree: why it is kept, or None where it was removed."""
        self.kept = f"the worktree {worktree} is kept: {why}" if why else None
        self.journal.append("workspace", path=str(worktree), kept=why)

    def _is_done(self) -> bool:
        """Whether every step came out well, in this run or in one that it continues, and the outputs too."""
        wanted = [*(step.name for step in self.pipeline.steps), *(["outputs"] if self.pipeline.outputs else [])]
        return not self.is_part and all(self._well.get(name, name in self._replay.finished) for name in wanted)

    def _share(self, workspace: Path, git: GitFolders | None) -> Shared:
        """What all steps of this run share."""
        threads = self._recovery.threads(self.pipeline.limits.threads or self.settings.max_threads)
        places = (*granted(self.pipeline, self.inputs), workspace)
        engine = Engine(lazy=lambda record, name: file_text(record, name, places))
        return Shared(
            root_run=self.info.root_run,
            engine=engine,
            references=References(engine),
            calls=Calls(
                journal=self.journal,
                replay=self._replay,
                reservations=Reservations(self._ledger, self._prices, _day(self.settings)),
                turns=Turns(self._ledger.file, self.settings.rates),
                prices=self._prices,
                providers=self._providers,
                redactor=self.redactor,
                cancelled=self.cancelled,
            ),
            pins=self._pins,
            journal=self.journal,
            redactor=self.redactor,
            threads=Threads(threads),
            retry=self.pipeline.retry,
            workspace=workspace,
            granted=places,
            cancelled=self.cancelled,
            ceiling="no ceiling set" if self._budget.usd is None else f"at most {dollars(self._budget.usd)}",
            progress=lambda *_: None,
            partials=Partials(self.redactor, lambda *_: None, None),
            children=Children(self._pipelines, engine),
            under_way=(self.pipeline.name,),
            inside="",
            sessions=self._pins.sessions(self._replay, self.info.root_run),
            tool_log=ToolLog(self.journal, self._replay),
            sandbox=sandbox_in(workspace, git, readable_places(self.pipeline, self.inputs), self.settings),
            part=self._recovery.part,
            due=None if self.scan is None else self.scan.files,
        )

    def _announce(self) -> None:
        """The journal's first word about this run."""
        self.journal.append(
            "run_started",
            durable=True,
            pipeline=self.pipeline.name,
            pipeline_hash=pipeline_hash(self.pipeline, self._pipelines),
            description=self.pipeline.description and self.redactor.text(self.pipeline.description),
            inputs=self.redactor.tree(self.inputs),
            trigger=self.info.trigger,
            file=self.info.tags.get(FILE_TAG),
            recovery_of=self.info.tags.get(RECOVERY_TAG),
            tags=self.redactor.tree(dict(self.info.tags)),
        )

    @cached_property
    def _model(self) -> str | None:
        """The model that the pipeline's `model` leads to; one that cannot be found is told by the step that asks it."""
        if not may_ask_model(self.pipeline.steps, self._pipelines):
            return None
        try:
            models = self._pins.models(None)
        except ElexirionError:
            return None
        return str(models[0]) if models else None

    def scope(self, upstream: Mapping[str, StepResult]) -> dict[str, Any]:
        """What templates see after the steps in `upstream`, which stand in program order."""
        variables = {name: value for result in upstream.values() for name, value in result.vars.items()}
        return {
            "inputs": self.inputs,
            "steps": {name: view(result) for name, result in upstream.items()},
            "vars": variables,
            "run": {
                "id": self.info.root_run,
                "started_at": self._started_at,
                "pipeline": self.pipeline.name,
                "model": self._model,
            },
            **({"env": self._pins.env(self.pipeline)} if self.pipeline.env else {}),
        }

    def step(
        self, step: Step, upstream: Mapping[str, StepResult], *, listen: Callable[[str], None] | None = None
    ) -> StepResult:
        """Run one top-level step; `listen` gets a line of progress at most once a second."""
        if step.name in self._held_back:
            return StepResult("skipped", reason=f"left to the run that puts the parts together: {self._recovery.part}")
        streams = STREAM_TAG in self.info.tags
        progress = Progress(self.journal, listen, streams=streams)
        with Partials(self.redactor, progress.tell, progress.show if streams else None) as partials:
            ctx = StepContext(
                path=step.name,
                names=(step.name,),
                scope=self.scope(upstream),
                shared=replace(self._shared, progress=progress, partials=partials),
                run_step=self._runner,
                allowance=Allowance().under(self.info.account, self._budget),
                deadline=self._deadline,
            )
            with self._shared.threads.seat(deadline=self._deadline, cancelled=self.cancelled):
                result = self._runner(step, ctx)
        if self.pipeline.score and not self.is_part:
            self._results |= {**upstream, step.name: result}
        self._well[step.name] = result.status != "failed" or step.continue_on_error
        return result

    def outputs(self, upstream: Mapping[str, StepResult]) -> dict[str, Json]:
        """Evaluate and record the pipeline's outputs. Raises ExpressionError."""
        found = self._shared.engine.evaluate_tree(dict(self.pipeline.outputs), self.scope(upstream))
        outputs: dict[str, Json] = self.redactor.tree(found)
        self.journal.append("outputs", durable=True, outputs=outputs)
        self._well["outputs"] = True
        return outputs

    def scanned(self, upstream: Mapping[str, StepResult]) -> list[Outcome]:
        """What came of each file of a run with partitions; the journal knows when this returns."""
        if self.scan is None:
            return []
        found = self.scan.outcomes(upstream, self.redactor.text)
        for fields in self.scan.lines(found, self._pins.models, self._pins.choice):
            self.journal.append("scanned", durable=True, **fields)
        return found

    def suppress(self) -> None:
        """Write down what the scanned repository's own file suppresses. Raises InputError that names file and line."""
        if self.scan is not None:
            self.journal.append("suppressions", durable=True, **self.scan.suppressions(self.redactor))

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
        """Score what was answered, as far as its values are there; let go of connections and the journal file."""
        with self._opened:
            names = [step.name for step in self.pipeline.steps if step.name in self._results]
            if done := {name: self._results.pop(name) for name in names}:
                self.unscored = record_scores(self.pipeline, self.scope(done), self._shared)


def _deadline(budget: Amounts, spent_s: float) -> float | None:
    return None if budget.seconds is None else time.monotonic() + budget.seconds - spent_s


def _day(settings: Settings) -> Amounts:
    return Amounts(usd=settings.budget_usd_per_day, tokens=settings.budget_tokens_per_day)
