"""Choose one of several lists of steps by a value."""

from elexirion_dagster.records import Json, StepResult
from elexirion_dagster.spec.steps import SwitchStep, branch_name
from elexirion_dagster.steps.context import StepContext
from elexirion_dagster.steps.sequence import run_sequence, with_inner


def run(step: SwitchStep, ctx: StepContext) -> StepResult:
    """Run the chosen branch; `data` holds `case` and, under `steps`, the inner steps by name; `text` is the last's."""
    value = ctx.shared.redactor.text(_word(ctx.evaluate(step.value)))
    case = value if value in step.cases else "default"
    steps = step.cases.get(value, step.default)
    if not steps:
        return StepResult("skipped", reason=f"no case for {value!r} and no default")
    sequel = run_sequence(steps, ctx, suffix=f"[{case}]", scope=ctx.scope, names=(branch_name(step, case),))
    data = {"case": case, "value": value, "steps": dict(sequel.views)}
    text = sequel.last.text if sequel.last else None
    return with_inner(StepResult("succeeded", data=data, text=text), sequel)


def _word(value: Json) -> str:
    """A value as a case is written in YAML."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
