"""What `partitions`, `repos` and `on` ask of the rest of a pipeline."""

from collections.abc import Iterator

from elexirion_dagster.errors import ExpressionError
from elexirion_dagster.expressions import Engine
from elexirion_dagster.spec.files import FilesStep
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.spec.steps import Step, inner_steps

BATCH = "batch"
"""The key beside the inputs in the config of a job with partitions."""
_DUE = "Write {name: due, type: files, list: {git: due}}, and use steps.due.data.files below."
_WITHOUT = "Add partitions: {by: file}, or write git: tracked."
_NAMED = 'Write repo: "{{ inputs.repo }}", with repo an input of type path.'

Fault = tuple[tuple[str | int, ...], str, str | None, bool]


def repo_input(pipeline: Pipeline, engine: Engine) -> str | None:
    """The input of type path that `partitions.repo` is; None where it is anything else."""
    if pipeline.partitions is None:
        return None
    try:
        chains = list(engine.references(pipeline.partitions.repo))
    except ExpressionError:
        return None
    match chains:
        case [("inputs", name)] if name in pipeline.inputs and pipeline.inputs[name].type == "path":
            bare = pipeline.partitions.repo.replace(" ", "")
            return str(name) if bare == f"{{{{inputs.{name}}}}}" else None
    return None


def is_due(step: Step) -> bool:
    """Whether a step lists the files that a run is to scan."""
    return isinstance(step, FilesStep) and step.list_ is not None and step.list_.git == "due"


def faults(pipeline: Pipeline, engine: Engine) -> Iterator[Fault]:
    """Place, message, mend of everything that cannot work, and (True) of what merely has no effect."""
    due = [index for index, step in enumerate(pipeline.steps) if is_due(step)]
    inside = [index for index, step in enumerate(pipeline.steps) if any(map(_holds_due, inner_steps(step)))]
    for index in inside:
        yield ("steps", index), "`git: due` stands at the top level only, where it is listed once per run", _DUE, False
    if pipeline.partitions is None:
        for index in due:
            yield ("steps", index), "`git: due` needs `partitions`, which say which files there are", _WITHOUT, False
        for key in ("repos", "on"):
            if getattr(pipeline, key):
                message = f"`{key}` is understood but nothing acts on it without `partitions`"
                yield (key,), message, "Add partitions: {by: file}.", True
        return
    if len(due) != 1:
        yield (
            ("partitions",),
            f"partitions need one step that lists what to scan, there are {len(due)}",
            _DUE,
            False,
        )
    if repo_input(pipeline, engine) is None:
        yield (
            ("partitions", "repo"),
            "repo is not one input of type path, and nothing else may be read",
            _NAMED,
            False,
        )
    if BATCH in pipeline.inputs:
        message = f"the input {BATCH!r} has the name under which a run's files stand in its config"
        yield ("inputs", BATCH), message, "Choose another name.", False
    if pipeline.on and pipeline.schedule is None and any(one.required for one in pipeline.inputs.values()):
        required = next(name for name, one in pipeline.inputs.items() if one.required)
        message = f"a run that a push starts has nobody to ask for the input {required!r}"
        yield ("inputs", required), message, "Give it a default.", False


def _holds_due(step: Step) -> bool:
    return is_due(step) or any(map(_holds_due, inner_steps(step)))
