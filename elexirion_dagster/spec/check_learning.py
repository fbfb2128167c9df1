"""What may be wrong with the way a pipeline learns: scores, labelled examples, what is to be optimised."""

from collections.abc import Iterator, Mapping

from elexirion_dagster.errors import ExpressionError
from elexirion_dagster.expressions import Engine
from elexirion_dagster.spec.base import StepBase
from elexirion_dagster.spec.children import every_step
from elexirion_dagster.spec.issues import Issue, Path, meant, unknown
from elexirion_dagster.spec.learning import ExactMetric, ExpressionMetric, F1Metric, JudgeMetric
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.spec.slots import SlotSpec, slots, unlearnable
from elexirion_dagster.spec.steps import PipelineStep, inner_names, inner_steps

_METRIC_NAMES = ("inputs", "answer", "expected")
_NO_LLM = "There is no llm step whose prompt is this pipeline's own."


def check_learning(pipeline: Pipeline, engine: Engine) -> Iterator[Issue]:
    """Everything wrong with `score.of`, `examples` and `optimize`; the templates of scores are checked elsewhere."""
    if not (pipeline.score or pipeline.examples or _optimizes(pipeline)):
        return
    known = {slot.step: slot for slot in slots(pipeline)}
    for name, score in pipeline.score.items():
        yield from _check_place(("score", name, "of"), score.of, known)
        if score.of in known and any(isinstance(step, PipelineStep) for step in known[score.of].around):
            message = f"{score.of} stands in an inline pipeline, whose values nobody outside sees"
            yield Issue(("score", name, "of"), message, "Put that pipeline into a file of its own, with its score.")
    for step in pipeline.examples:
        yield from _check_place(("examples", step), step, known)
        if step in known and (why := unlearnable(known[step].spec)):
            yield Issue(("examples", step), f"labelled rows of {step} would never be used: {why}", "Remove them.")
    yield from dict.fromkeys(_check_optimize(pipeline, known, engine))


def _optimizes(pipeline: Pipeline) -> bool:
    steps = every_step(pipeline.steps)
    return pipeline.optimize is not None or any(getattr(step, "optimize", None) is not None for step in steps)


def _check_place(at: Path, step: str, known: Mapping[str, SlotSpec]) -> Iterator[Issue]:
    if step not in known:
        yield unknown(at, f"{step!r} is no llm step of this pipeline", step, known, _NO_LLM)


def _check_optimize(pipeline: Pipeline, known: Mapping[str, SlotSpec], engine: Engine) -> Iterator[Issue]:
    for slot in known.values():
        why = unlearnable(slot.spec)
        if slot.spec.optimize is not None and why is not None:
            yield Issue(
                (*slot.at, "optimize"), f"the prompt of {slot.step} cannot be optimised: {why}", "Remove optimize."
            )
        elif slot.optimize is not None:
            own = slot.spec.optimize is not None and "metric" in slot.spec.optimize.model_fields_set
            yield from _check_metric(slot, (*slot.at, "optimize", "metric") if own else ("optimize", "metric"), engine)
    if pipeline.optimize is not None and not any(slot.optimize for slot in known.values()):
        message = "there is no llm step whose prompt could be optimised: none is here, or they use tools or sessions"
        yield Issue(("optimize",), message, "Remove it.", warning=True)


def _check_metric(slot: SlotSpec, at: Path, engine: Engine) -> Iterator[Issue]:
    match slot.optimize.metric if slot.optimize else None:
        case ExactMetric(exact=field):
            yield from _check_field(slot, field, (*at, "exact"))
        case F1Metric(f1=field):
            yield from _check_field(slot, field, (*at, "f1"))
        case ExpressionMetric(expression=template):
            yield from _check_template(template, (*at, "expression"), engine)
        case JudgeMetric(judge=judge):
            yield from _check_template(judge.prompt, (*at, "judge", "prompt"), engine)


def _check_field(slot: SlotSpec, field: str, at: Path) -> Iterator[Issue]:
    schema = slot.spec.output_schema()
    if schema is None:
        yield Issue(at, f"{slot.step} answers in free text, which has no field {field!r}", "Give the step an output.")
        return
    name = field.split(".", maxsplit=1)[0]
    if schema.get("additionalProperties") is False and name not in schema["properties"]:
        yield unknown(at, f"the output of {slot.step} has no field {name!r}", name, schema["properties"])


def _check_template(template: str, at: Path, engine: Engine) -> Iterator[Issue]:
    try:
        engine.check(template)
        chains = engine.references(template)
    except ExpressionError as error:
        yield Issue(at, error.message, error.mend)
        return
    for root in sorted({chain[0] for chain in chains} - set(_METRIC_NAMES)):
        yield Issue(at, f"{root!r} is not defined here", meant(root, _METRIC_NAMES))


def seen_beside(slot: SlotSpec) -> tuple[dict[str, StepBase], frozenset[str]]:
    """The inner steps, and the names, that a score of this slot sees besides those of the run."""
    steps: dict[str, StepBase] = {inner.name: inner for step in slot.around for inner in inner_steps(step)}
    return steps, frozenset(name for step in slot.around for name in inner_names(step))
