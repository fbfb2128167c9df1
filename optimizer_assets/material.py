"""What an optimisation works with: its rows in parts, its task, who judges, what must not leave."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from elexirion_dagster.errors import InputError
from elexirion_dagster.expressions import Engine
from elexirion_dagster.prompting.parse import checker
from elexirion_dagster.prompting.render import build_request
from elexirion_dagster.providers.base import Capabilities
from elexirion_dagster.providers.catalog import ModelRef
from elexirion_dagster.records import Json, Request
from elexirion_dagster.redact import Redactor
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.learning import JudgeMetric
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.learned.labels import labelled
from elexirion_dagster.store.learned.learning import Row, rows
from optimizer_assets.asking.asker import Asker
from optimizer_assets.rows.splits import Split, split
from optimizer_assets.scoring.judge import Judge
from optimizer_assets.scoring.metrics import Scored, metric_of
from optimizer_assets.searching.optimizers import rounds_of_reflection
from optimizer_assets.subject import Subject, judges_of, models_of
from optimizer_assets.task import Task
from optimizer_assets.told import Began

_JUDGE_TOKENS = 1_000


class LateJudge:
    """A metric that asks a model; the way to the model is opened after the task is known."""

    def __init__(self) -> None:
        self.judge: Judge | None = None

    def __call__(self, row: Row, answer: Json) -> Scored:
        """What the judge says of an answer."""
        if self.judge is None:
            raise AssertionError("the judge is asked once the optimisation has begun")
        return self.judge(row, answer)


@dataclass(frozen=True, slots=True)
class Material:
    """All that an optimisation of a slot works with."""

    subject: Subject
    task: Task
    parts: Split
    began: Began
    redactor: Redactor
    settings: Settings
    late: LateJudge

    def judge_with(self, asker: Asker) -> None:
        """Let the judge, where the metric is one, ask through this way to the models."""
        metric = self.subject.optimize.metric
        if not isinstance(metric, JudgeMetric):
            return
        judges = judges_of(self.subject, metric, self.settings)

        def ask(system: str, question: str, schema: Mapping[str, Json]) -> str:
            def build(model: ModelRef, able: Capabilities) -> Request:
                return build_request(
                    model=model.model,
                    user=question,
                    system=system,
                    output_schema=schema,
                    native_schema=able.output_schema,
                    max_tokens=_JUDGE_TOKENS,
                    temperature=0.0,
                )

            return asker.channel.ask("judge", judges, build).text

        calls = self.subject.optimize.budget.calls
        self.late.judge = Judge(metric.judge.prompt, ask, engine=Engine(), calls=calls)


def gathered(subject: Subject, settings: Settings, home: Home) -> Material:
    """Rows, task and redactor of a slot. Raises InputError where there is too little to learn from, or no model."""
    models, teachers = models_of(subject, settings)
    parts = split(rows_of(subject, home), subject.optimize)
    late = LateJudge()
    slot, optimize = subject.slot, subject.optimize
    task = Task(
        pipeline=slot.pipeline,
        step=slot.step,
        spec=slot.spec,
        models=models,
        teachers=teachers,
        settings=optimize,
        metric=metric_of(optimize, Engine(), late),
        base=subject.base,
        base_hash=subject.base_hash,
    )
    if rounds_of_reflection(task, len(parts.train)) and find_spec("dspy") is None:
        raise InputError(
            f"instructions for {task.address} are written through dspy, which is not installed",
            mend="pip install 'elexirion[optimizer]', or `optimizer: bootstrap`, which tries examples and given texts.",
        )
    redactor = Redactor(secrets=settings.secrets(subject.pipeline.env))
    return Material(subject, task, parts, _began(task, parts), redactor, settings, late)


def rows_of(subject: Subject, home: Home) -> tuple[Row, ...]:
    """What runs left and what people labelled; a label goes before what a run answered to the same."""
    slot = subject.slot
    ran = rows(home, slot.pipeline, slot.step)
    named = subject.pipeline.examples.get(slot.step)
    if named is None:
        return ran
    schema = slot.spec.output_schema()
    labels = labelled(
        subject.file.parent / named,
        slot.pipeline,
        slot.step,
        paths=slot.inputs(Engine()),
        check=None if schema is None else checker(schema),
    )
    known = {row.key for row in labels}
    return (*(row for row in ran if row.key not in known), *labels)


def _began(task: Task, parts: Split) -> Began:
    budget = task.settings.budget
    return Began(
        address=task.address,
        parts={"train": len(parts.train), "validation": len(parts.validation), "holdout": len(parts.holdout)},
        dropped=dict(parts.dropped),
        models=tuple(map(str, task.models)),
        teachers=tuple(map(str, task.teachers)),
        usd=budget.usd,
        calls=budget.calls,
        iterations=budget.iterations,
    )
