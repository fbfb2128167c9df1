"""What a pipeline's `score` says of its answers, once its steps are done."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from elexirion_dagster.errors import Cancelled, ElexirionError, StorageError
from elexirion_dagster.records import Json
from elexirion_dagster.spec.base import StepBase
from elexirion_dagster.spec.learning import Score, as_score
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.spec.slots import SlotSpec, slots
from elexirion_dagster.spec.steps import ForEachStep, SwitchStep, WhileStep, branch_name
from elexirion_dagster.steps.context import Scope, Shared

_DONE = ("succeeded", "degraded")


@dataclass(frozen=True, slots=True)
class _Answer:
    """One answer of a slot: where it was given, and what is seen from there."""

    path: str
    scope: Scope


def record_scores(pipeline: Pipeline, scope: Scope, shared: Shared, *, prefix: str = "") -> tuple[str, ...]:
    """Journal the scores of every answer whose values are there; what cannot be a score is journaled as an error.

    `prefix` goes before the paths of the pipeline's steps. Returns the first error of each score that has one.
    """
    errors: dict[str, str] = {}
    places = {slot.step: slot for slot in slots(pipeline)} if pipeline.score else {}
    for name, score in pipeline.score.items():
        for answer in _answers(places[score.of], scope):
            found = _scored(name, score, answer.scope, shared)
            if found is None:
                continue
            value, error = found[0], None if found[1] is None else shared.redactor.text(found[1])
            if error is not None:
                errors.setdefault(name, f"{prefix}{answer.path}: {error}")
            shared.journal.append(
                "score",
                later=True,
                pipeline=pipeline.name,
                step=score.of,
                path=prefix + answer.path,
                name=name,
                source="expression",
                value=value,
                error=error,
            )
    return tuple(errors.values())


def _scored(name: str, score: Score, scope: Scope, shared: Shared) -> tuple[float | None, str | None] | None:
    """A score or why there is none; None where a step that it refers to did not come that far."""
    chains = shared.engine.references(score.value)
    if any(chain[0] in ("steps", "vars") and chain[1:] and chain[1] not in scope[chain[0]] for chain in chains):
        return None
    try:
        value = shared.redactor.tree(shared.engine.evaluate(score.value, scope))
        return as_score(value, score.value), None
    except (Cancelled, StorageError):
        raise
    except ElexirionError as error:
        used = [scope["steps"][chain[1]] for chain in chains if chain[0] == "steps" and chain[1:]]
        if any(step["status"] not in _DONE for step in used):
            return None
        return None, f"score {name}: {error.message}"


def _answers(slot: SlotSpec, scope: Scope) -> Iterator[_Answer]:
    """Every answer that a slot gave, in the order of items and turns."""
    last = slot.spec.name
    for answer in _inside(slot.around, tuple(slot.step.split(".")), _Answer("", scope)):
        result = answer.scope["steps"].get(last)
        if result is not None and result["status"] != "skipped":
            yield _Answer(f"{answer.path}{last}", answer.scope)


def _inside(around: tuple[StepBase, ...], names: tuple[str, ...], outer: _Answer) -> Iterator[_Answer]:
    """What is seen from inside these composites; of `names`, the first is the outermost composite's."""
    if not around:
        yield outer
        return
    step, *others = around
    result = outer.scope["steps"].get(step.name)
    if result is None:
        return
    rest = names[2:] if isinstance(step, SwitchStep) else names[1:]
    for label, views, local in _parts(step, result, names):
        scope = {**outer.scope, **local, "steps": {**outer.scope["steps"], **views}}
        yield from _inside(tuple(others), rest, _Answer(f"{outer.path}{step.name}[{label}].", scope))


def _parts(
    step: StepBase, result: Mapping[str, Json], names: tuple[str, ...]
) -> Iterator[tuple[str, Mapping[str, Json], Mapping[str, Json]]]:
    """Items, turns or the branch taken: label in paths, inner results by name, names of its own."""
    match step:
        case ForEachStep():
            entries = result.get("results") or []
            for index, entry in enumerate(entries):
                loop = {"index": index + 1, "index0": index, "length": len(entries), "key": entry["key"]}
                yield str(entry["key"]), _inner(step, entry), {step.as_: entry["item"], "loop": loop}
        case WhileStep():
            for entry in result.get("results") or []:
                loop = {"index": entry["index"], "index0": entry["index"] - 1}
                yield str(entry["index"]), _inner(step, entry), {"loop": loop}
        case SwitchStep() if isinstance(result["data"], Mapping):
            case = result["data"]["case"]
            if branch_name(step, case) == names[1]:
                yield case, result["data"]["steps"], {}


def _inner(step: ForEachStep | WhileStep, entry: Mapping[str, Json]) -> dict[str, Json]:
    return {inner.name: entry[inner.name] for inner in step.steps if inner.name in entry}
