"""What a file is scanned with: rules, model, prompts. A file scanned with the same ones needs no second look."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from elexirion_dagster.codebase.ruleset import rule_set
from elexirion_dagster.pins import Choice, choice_now
from elexirion_dagster.providers.catalog import ModelRef, resolve
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.analyze import AnalyzeStep
from elexirion_dagster.spec.base import StepBase
from elexirion_dagster.spec.children import Pipelines, child_of, every_step, reached
from elexirion_dagster.spec.llm import LlmStep, Model
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.spec.steps import ForEachStep, PipelineStep, SwitchStep, branch_name, inner_steps
from elexirion_dagster.store.home import Home
from elexirion_dagster.tags import NO_MODEL

Models = Callable[[Model | None], Sequence[ModelRef]]
Slots = Callable[[LlmStep, str, str], Choice]
"""What a slot is for the items of a run.

Called with a step, the path of names that identifies its prompt, and the pipeline whose prompts it is among.
"""


@dataclass(frozen=True, slots=True)
class Standard:
    """Hash of the analyzers' rules; the models that review (None: none does) and the version of their prompts.

    While canaries run, some files are reviewed with other versions: `prompts` says which.
    """

    ruleset: str
    model: str | None
    prompt_version: str | None
    prompts: tuple["Used", ...] = ()

    def version_of(self, path: str) -> str | None:
        """The version of the prompts that a file is reviewed with."""
        return _one([(used.name, used.choice.of(path if used.per_item else None).version) for used in self.prompts])

    def versions(self) -> frozenset[str | None]:
        """With any of these, a file needs no second look: what is in use, and where a canary runs, what is on trial."""
        return frozenset({self.prompt_version, *map(_one, product(*(used.versions() for used in self.prompts)))})


@dataclass(frozen=True, slots=True)
class Used:
    """The prompt of one step, by pipeline and path of names; `per_item`: the step stands in a loop over items."""

    name: str
    choice: Choice
    per_item: bool

    def versions(self) -> list[tuple[str, str]]:
        """Name and version, for each that items of a run may get."""
        return [(self.name, slot.version) for slot in (self.choice.base, self.choice.trial) if slot is not None]


def standard(pipeline: Pipeline, pipelines: Pipelines, models: Models, slots: Slots) -> Standard:
    """The standard of a pipeline and those it may run; `models` and `slots` say what their llm steps would use."""
    documents = (pipeline, *reached(pipeline.steps, pipelines).values())
    steps = [step for document in documents for step in every_step(document.steps)]
    tools = {tool for step in steps if isinstance(step, AnalyzeStep) for tool in step.tools}
    asked: set[str] = set()
    prompts = []
    for one in _asking(pipeline.steps, pipelines, _Around(pipeline.name, (), None, frozenset({pipeline.name}))):
        if found := models(one.model):
            asked.add(str(found[0]))
            choice = slots(one.step, one.name_path, one.pipeline)
            prompts.append(Used(f"{one.pipeline}/{one.name_path}", choice, one.per_item))
    base = _one([(used.name, used.choice.base.version) for used in prompts])
    return Standard(rule_set(tools), ", ".join(sorted(asked)) or None, base, tuple(prompts))


def standard_now(
    pipeline: Pipeline, pipelines: Pipelines, home: Home, settings: Settings, override: str | None
) -> Standard:
    """The standard of a run that begins now; `override` is the model a user chose for it. Raises InputError."""

    def models(own: Model | None) -> Sequence[ModelRef]:
        wanted = override or own or pipeline.model
        return () if wanted == NO_MODEL else resolve(wanted, settings)

    def slots(step: LlmStep, name_path: str, among: str) -> Choice:
        return choice_now(home, step, among, name_path)

    return standard(pipeline, pipelines, models, slots)


@dataclass(frozen=True, slots=True)
class _Asking:
    """An llm step: its word for a model (None: the run's), and where its prompt is kept."""

    step: LlmStep
    model: Model | None
    pipeline: str
    name_path: str
    per_item: bool


@dataclass(frozen=True, slots=True)
class _Around:
    """What holds around some steps: pipeline and path of names of their prompts, model, pipelines under way, a loop."""

    pipeline: str
    names: tuple[str, ...]
    model: Model | None
    under_way: frozenset[str]
    per_item: bool = False


def _asking(steps: Iterable[StepBase], pipelines: Pipelines, around: _Around) -> Iterator[_Asking]:
    """Every llm step at any depth, those of pipelines that are run too, each once."""
    for step in steps:
        names = (*around.names, step.name)
        if isinstance(step, LlmStep):
            yield _Asking(step, step.model or around.model, around.pipeline, ".".join(names), around.per_item)
        elif isinstance(step, SwitchStep):
            for case, inner in {**step.cases, "default": step.default}.items():
                yield from _asking(inner, pipelines, replace(around, names=(*names, branch_name(step, case))))
        elif isinstance(step, PipelineStep):
            yield from _inside(step, pipelines, replace(around, names=names))
        else:
            per_item = around.per_item or isinstance(step, ForEachStep)
            yield from _asking(inner_steps(step), pipelines, replace(around, names=names, per_item=per_item))


def _inside(step: PipelineStep, pipelines: Pipelines, around: _Around) -> Iterator[_Asking]:
    child, named = child_of(step, pipelines), isinstance(step.pipeline, str)
    if child is None or (named and child.name in around.under_way):
        return
    model = child.model if "model" in child.model_fields_set else around.model
    inside = replace(around, model=model)
    if named:
        inside = _Around(child.name, (), model, around.under_way | {child.name}, around.per_item)
    yield from _asking(child.steps, pipelines, inside)


def _one(versions: Sequence[tuple[str, str]]) -> str | None:
    """The version of a single prompt, or a digest of those of several."""
    if len(versions) < 2:  # noqa: PLR2004 one or none
        return versions[0][1] if versions else None
    return "all:" + hashlib.sha256(repr(sorted(versions)).encode()).hexdigest()[:16]
