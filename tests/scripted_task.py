"""The scripted task for tests: a slot that can be learned, rows, and an asker over a scripted model."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import scripted
from elexirion_dagster.expressions import Engine
from elexirion_dagster.providers.base import Provider
from elexirion_dagster.providers.catalog import ModelRef
from elexirion_dagster.redact import Redactor
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.base import Retry
from elexirion_dagster.spec.learning import Optimize
from elexirion_dagster.spec.llm import LlmStep
from elexirion_dagster.store.learned.learning import Row
from optimizer_assets.asking.asker import Asker
from optimizer_assets.scoring.metrics import metric_of
from optimizer_assets.task import Candidate, Task

AT_ONCE = Retry(initial_s=0, max_s=0)
ROWS = scripted.rows(60, 0)
TRAIN, VALIDATION = ROWS[:30], ROWS[30:]


def task_of(spec: LlmStep | None = None, *, model: str = "fake/scripted", metric: Any = None, **settings: Any) -> Task:
    """The task of a step, the scripted one's by default, without waits between attempts."""
    step = (spec or scripted.step()).model_copy(update={"retry": AT_ONCE})
    optimize = Optimize(**settings)
    models = (ModelRef(*model.split("/", 1)),)
    base = Candidate(step.system, tuple((example.prompt, example.answer) for example in step.examples))
    return Task(
        pipeline="rehearsed",
        step=step.name,
        spec=step,
        models=models,
        teachers=models,
        settings=optimize,
        metric=metric or metric_of(optimize, Engine(), None),
        base=base,
        base_hash="base",
    )


@contextmanager
def asking(
    home: Path,
    task: Task,
    model: Provider | None,
    rows: Sequence[Row] = ROWS,
    *,
    settings: Mapping[str, Any] = {},
    **options: Any,
) -> Iterator[Asker]:
    """An asker that is entered, over this model, or over configured ones."""
    opened = {} if model is None else {model.name: model}
    where = Settings(home=home, **settings)
    with Asker(task, where, rows, opened=opened, **{"redactor": Redactor(), **options}) as asker:
        yield asker
