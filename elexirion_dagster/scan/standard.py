"""What a file is scanned with: rules, model, prompts. A file scanned with the same ones needs no second look."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from elexirion_dagster.codebase.ruleset import rule_set
from elexirion_dagster.pins import NO_MODEL, slot_now
from elexirion_dagster.providers.catalog import ModelRef, resolve
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.analyze import AnalyzeStep
from elexirion_dagster.spec.base import StepBase
from elexirion_dagster.spec.llm import LlmStep, Model
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.spec.steps import inner_steps, model_steps
from elexirion_dagster.steps.context import Slot
from elexirion_dagster.store.home import Home

Models = Callable[[Model | None], Sequence[ModelRef]]
Slots = Callable[[LlmStep, str], Slot]


@dataclass(frozen=True, slots=True)
class Standard:
    """Hash of the analyzers' rules; the models that review (None: none does) and the version of their prompts."""

    ruleset: str
    model: str | None
    prompt_version: str | None


def standard(pipeline: Pipeline, models: Models, slots: Slots) -> Standard:
    """The standard of a pipeline, where `models` and `slots` say what its llm steps would use."""
    tools = {tool for step in _all(pipeline.steps) if isinstance(step, AnalyzeStep) for tool in step.tools}
    asked: set[str] = set()
    versions = []
    for path, step in model_steps(pipeline.steps):
        if found := models(step.model):
            asked.add(str(found[0]))
            versions.append((path, slots(step, path).version))
    return Standard(rule_set(tools), ", ".join(sorted(asked)) or None, _one(versions))


def standard_now(pipeline: Pipeline, home: Home, settings: Settings, override: str | None) -> Standard:
    """The standard of a run that begins now; `override` is the model a user chose for it. Raises InputError."""

    def models(own: Model | None) -> Sequence[ModelRef]:
        wanted = override or own or pipeline.model
        return () if wanted == NO_MODEL else resolve(wanted, settings)

    return standard(pipeline, models, partial(slot_now, home, pipeline.name))


def _one(versions: Sequence[tuple[str, str]]) -> str | None:
    """The version of a single prompt, or a digest of those of several."""
    if len(versions) < 2:  # noqa: PLR2004 one or none
        return versions[0][1] if versions else None
    return "all:" + hashlib.sha256(repr(sorted(versions)).encode()).hexdigest()[:16]


def _all(steps: Sequence[StepBase]) -> list[StepBase]:
    return [each for step in steps for each in (step, *_all(inner_steps(step)))]
