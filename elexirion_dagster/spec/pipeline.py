"""The root of a pipeline document."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from elexirion_dagster.records import Json
from elexirion_dagster.spec.base import Budget, Name, Retry, Spec
from elexirion_dagster.spec.inputs import Input
from elexirion_dagster.spec.learning import Optimize, Score, StepPath
from elexirion_dagster.spec.limits import Limits
from elexirion_dagster.spec.llm import Model
from elexirion_dagster.spec.steps import Step
from elexirion_dagster.spec.triggers import Fallback, Partitions, Schedule
from elexirion_dagster.spec.workspace import Workspace

TagKey = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9_.-]{1,63}/)?[A-Za-z0-9_.-]{1,63}$")]


class Pipeline(Spec):
    """One pipeline: one YAML file, one Dagster job."""

    name: Name
    """The file's stem."""
    description: str | None = None
    """Shown in Dagster, Markdown allowed."""
    version: str | int | float | None = None
    """The author's own version word; recorded, not interpreted."""
    tags: dict[TagKey, Annotated[str, StringConstraints(max_length=256)]] = {}
    """Tags of the Dagster job and its runs."""
    inputs: dict[Name, Input] = {}
    """Declared inputs: the job's whole config."""
    env: tuple[str, ...] = ()
    """Environment variables that templates may read as `env.<NAME>`."""
    workspace: Workspace | None = None
    """Where the run writes; a folder of its own when absent."""
    model: Model = "auto"
    """Model of the llm steps that name none."""
    budget: Budget = Budget()
    """What one run may spend, its recoveries included."""
    limits: Limits = Limits()
    """What one run may use of the machine, and how often it is recovered."""
    steps: tuple[Step, ...] = Field(min_length=1)
    """What to do."""
    outputs: dict[Name, Json] = {}
    """Templates of the run's results; `findings` among them makes the run write a report."""
    asset: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*$")] | None = None
    """Asset key that a run materialises, such as `scan/nightly_scan`."""
    partitions: Partitions | None = None
    """One Dagster partition per file."""
    repos: tuple[str, ...] = ()
    """Repositories a schedule goes through."""
    schedule: Schedule | None = None
    """When to run by itself."""
    on: Literal["push"] | None = None
    """What event runs it by itself."""
    retry: Retry = Retry()
    """How model calls and failed leaf steps are tried again where a step says nothing."""
    fallback: tuple[Fallback, ...] = ()
    """What to do after a failed run."""
    score: dict[Name, Score] = {}
    """Expressions that score what a step answered, evaluated when the run ends."""
    optimize: Optimize | None = None
    """How prompts are improved where an llm step says nothing."""
    examples: dict[StepPath, Annotated[str, StringConstraints(min_length=1)]] = {}
    """Files of labelled rows by llm step: `.jsonl`, `.yaml` or `.csv`, relative to this file and below its folder."""
