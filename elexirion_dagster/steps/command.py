"""Run a program without a shell."""

from elexirion_dagster.codebase.files import confine
from elexirion_dagster.codebase.git_config import named_folders, steps_environment
from elexirion_dagster.errors import PolicyError
from elexirion_dagster.records import StepError, StepResult
from elexirion_dagster.sandbox.hints import hint
from elexirion_dagster.shell import run as run_program
from elexirion_dagster.spec.command import CommandStep
from elexirion_dagster.steps.context import StepContext


def run(step: CommandStep, ctx: StepContext) -> StepResult:
    """Run it in the workspace; `text` is its standard output, `data` also holds exit_code and stderr.

    Each argument is rendered by itself, so a value with spaces or quotes stays one argument.
    """
    args = [ctx.render(argument) for argument in step.arguments()]
    cwd = ctx.shared.workspace if step.cwd is None else confine(ctx.shared.workspace, ctx.render(step.cwd))
    if not args[0]:
        raise PolicyError("the program's name is empty", cause="tool_denied", mend="Say which program to run.")
    given = {name: ctx.render(value) for name, value in step.env.items()}
    places = (cwd, *ctx.shared.granted, *named_folders((*args[1:], *given.values()), cwd))
    env = steps_environment(places, workspace=ctx.shared.workspace, cancelled=ctx.shared.cancelled) | given
    network = _is_literal(step, ctx) if step.network is None else step.network
    sandbox = ctx.shared.sandbox.under(step.sandbox, network=network)
    done = run_program(
        args, cwd=cwd, timeout_s=ctx.time_left_s(), env=env, cancelled=ctx.shared.cancelled, sandbox=sandbox
    )
    stdout, stderr = ctx.shared.redactor.text(done.stdout), ctx.shared.redactor.text(done.stderr)
    data = {
        "args": ctx.shared.redactor.tree(args),
        "exit_code": done.exit_code,
        "stdout": stdout,
        "stderr": stderr,
        "truncated": done.truncated,
    }
    metadata = {"isolation": done.isolation}
    if done.exit_code in step.expect_exit:
        return StepResult("succeeded", data=data, text=stdout, metadata=metadata)
    expected = ", ".join(str(code) for code in step.expect_exit)
    tail = (stderr or stdout).strip().splitlines()[-1:] or ["no output"]
    message = f"{args[0]} ended with exit code {done.exit_code}, expected {expected}: {tail[0][:300]}"
    reason = hint(done, sandbox, names_paths=True)
    error = StepError("command_failed", message, reason and ctx.shared.redactor.text(reason))
    return StepResult("failed", data=data, text=stdout, error=error, metadata=metadata)


def _is_literal(step: CommandStep, ctx: StepContext) -> bool:
    """Whether the pipeline alone says what is run: no result of a step stands in it, nor what led to an inner pipeline.

    A result may be what a model wrote, or what a program read somewhere.
    """
    templates = (*step.arguments(), *step.env.values(), *([step.cwd] if step.cwd else []))
    known = {"env", "run"} if ctx.shared.inside else {"env", "run", "inputs"}
    return all(chain[0] in known for text in templates for chain in ctx.shared.references.of_text(text))
