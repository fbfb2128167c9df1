"""Which step waits for which: dataflow for steps that only compute, order for steps with effects."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from elexirion_dagster.expressions import Engine
from elexirion_dagster.spec.base import Effect, StepBase
from elexirion_dagster.spec.children import NO_PIPELINES, Pipelines, child_of
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.spec.references import chains_of, reads_files, references, texts
from elexirion_dagster.spec.sessions import sessions
from elexirion_dagster.spec.set import SetStep
from elexirion_dagster.spec.steps import ForEachStep, PipelineStep, inner_steps

_ANY = "*"
"""Stands for every variable where a step may read any of them (`vars[name]`)."""
_RANK: dict[Effect, int] = {"pure": 0, "read": 1, "write": 2}


def effect(step: StepBase, pipelines: Pipelines = NO_PIPELINES) -> Effect:
    """What a step does to the world: its `effects`, else its type's default, else the strongest of its parts."""
    return _effect(step, pipelines, frozenset())


def _effect(step: StepBase, pipelines: Pipelines, inside: frozenset[str]) -> Effect:
    """The effect of a step inside the pipelines of these names; one that runs itself does no more than once."""
    if step.effects is not None:
        return step.effects
    own: Effect = "write" if step.output_to else step.default_effect()
    if own == "pure" and reads_files(step):
        own = "read"
    parts: tuple[StepBase, ...] = inner_steps(step)
    if isinstance(step, PipelineStep):
        child = child_of(step, pipelines)
        if child is None:
            return "write"
        named = isinstance(step.pipeline, str)
        parts = () if named and child.name in inside else child.steps
        inside |= {child.name} if named else set()
    return max((own, *(_effect(part, pipelines, inside) for part in parts)), key=_RANK.__getitem__)


def assigned(step: StepBase) -> frozenset[str]:
    """Variables that a step may assign for later ones; what a for_each assigns stays with its item."""
    if isinstance(step, SetStep):
        return frozenset(step.vars)
    if isinstance(step, ForEachStep):
        return frozenset()
    return frozenset(name for part in inner_steps(step) for name in assigned(part))


@dataclass(slots=True)
class _Program:
    """What has been seen so far, going down the list of steps."""

    engine: Engine
    names: frozenset[str]
    order: list[str] = field(default_factory=list)
    last_writes: list[str] = field(default_factory=list)
    reads_since: list[str] = field(default_factory=list)
    writers: dict[str, list[str]] = field(default_factory=dict)
    readers: dict[str, list[str]] = field(default_factory=dict)
    speakers: dict[str, str] = field(default_factory=dict)

    def dataflow(self, step: StepBase) -> set[str]:
        """Steps whose values this one needs."""
        needed: set[str] = set(step.needs)
        for chain in references(step, self.engine):
            match chain:
                case ("steps",):
                    needed |= set(self.order)
                case ("steps", name, *_) if name in self.names:
                    needed.add(name)
                case ("vars",):
                    needed |= {writer for writers in self.writers.values() for writer in writers}
                case ("vars", name, *_):
                    needed |= set(self.writers.get(name, ()))
        return needed - {step.name}

    def ordering(self, step: StepBase, kind: Effect) -> set[str]:
        """Steps that must merely be done before this one begins."""
        before = {name for var in assigned(step) for name in self.readers.get(var, []) + self.writers.get(var, [])}
        if assigned(step):
            before |= set(self.readers.get(_ANY, []))
        if kind == "write":
            before |= {*self.last_writes, *self.reads_since}
        elif kind == "read":
            before |= set(self.last_writes)
        before |= {self.speakers[session] for session in sessions(step) if session in self.speakers}
        return before - {step.name}

    def passed(self, step: StepBase, kind: Effect) -> None:
        """Take note of a step for those below it."""
        self.order.append(step.name)
        if kind == "write":
            self.last_writes, self.reads_since = [step.name], []
        elif kind == "read":
            self.reads_since.append(step.name)
        for chain in references(step, self.engine):
            if chain[0] == "vars":
                self.readers.setdefault(chain[1] if len(chain) > 1 else _ANY, []).append(step.name)
        for var in assigned(step):
            self.writers.setdefault(var, []).append(step.name)
        self.speakers |= dict.fromkeys(sessions(step), step.name)


def edges(
    steps: tuple[StepBase, ...], engine: Engine, pipelines: Pipelines = NO_PIPELINES
) -> dict[str, tuple[str, ...]]:
    """The steps each step waits for, by name, in program order.

    Values travel along every edge. An edge that only keeps order is left out where the other edges imply it.
    """
    program = _Program(engine, frozenset(step.name for step in steps))
    found: dict[str, set[str]] = {}
    for step in steps:
        kind = effect(step, pipelines)
        needed = program.dataflow(step)
        implied = _reachable(needed, found)
        order = program.ordering(step, kind) - needed
        order -= implied | _reachable(order, found)
        found[step.name] = needed | order
        program.passed(step, kind)
    position = {step.name: index for index, step in enumerate(steps)}
    return {name: tuple(sorted(deps, key=lambda dep: position.get(dep, -1))) for name, deps in found.items()}


def outputs_edges(pipeline: Pipeline, graph: dict[str, tuple[str, ...]], engine: Engine) -> tuple[str, ...]:
    """The steps that the pipeline's outputs wait for: those they refer to, and those nothing else waits for."""
    chains = {chain for text in texts(dict(pipeline.outputs)) for chain in chains_of(text, engine)}
    needed = {chain[1] for chain in chains if chain[0] == "steps" and len(chain) > 1}
    if ("steps",) in chains:
        needed = set(graph)
    if any(chain[0] == "vars" for chain in chains):
        needed |= {step.name for step in pipeline.steps if assigned(step)}
    waited_for = {dep for deps in graph.values() for dep in deps}
    return tuple(name for name in graph if name in needed or name not in waited_for)


def _reachable(start: set[str], graph: dict[str, set[str]]) -> set[str]:
    """Everything that the steps in `start` wait for, at any distance."""
    seen: set[str] = set()
    todo = [dep for name in start for dep in graph.get(name, ())]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo.extend(graph.get(name, ()))
    return seen


def cycle(graph: Mapping[str, tuple[str, ...]]) -> list[str] | None:
    """A loop in the graph as a list that begins and ends with the same name, each waiting for the next, or None."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        loop: list[str] = error.args[1]
        return loop[::-1]
    return None
