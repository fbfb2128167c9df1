"""Run a program without a shell."""

from elexirion_dagster.codebase.files import confine
from elexirion_dagster.codebase.git import GUARD
from elexirion_dagster.errors import PolicyError
from elexirion_dagster.records import StepError, StepResult
from elexirion_dagster.shell import run as run_program
from elexirion_dagster.spec.command import CommandStep
from elexirion_dagster.steps.context import StepContext


def run(step: CommandStep, ctx: StepContext) -> StepResult:
    """Run it in the workspace; `text` is its standard output, `data` also holds exit_code and stderr.

    Each argument is rendered by itself, so a value with spaces or quotes stays one argument.
    """
    args = [ctx.render(argument) for argument in step.arguments()]
    cwd = ctx.shared.workspace if step.cwd is None else confine(ctx.shared.workspace, ctx.render(step.cwd))
    # The workspace is the home: in a scanned tree a program would otherwise load what lies in .local or .config there.
    env = {"HOME": str(ctx.shared.workspace), **GUARD, **{name: ctx.render(value) for name, value in step.env.items()}}
    if not args[0]:
        raise PolicyError("the program's name is empty", cause="tool_denied", mend="Say which program to run.")
    done = run_program(args, cwd=cwd, timeout_s=ctx.time_left_s(), env=env, cancelled=ctx.shared.cancelled)
    stdout, stderr = ctx.shared.redactor.text(done.stdout), ctx.shared.redactor.text(done.stderr)
    data = {
        "args": ctx.shared.redactor.tree(args),
        "exit_code": done.exit_code,
        "stdout": stdout,
        "stderr": stderr,
        "truncated": done.truncated,
    }
    if done.exit_code in step.expect_exit:
        return StepResult("succeeded", data=data, text=stdout)
    expected = ", ".join(str(code) for code in step.expect_exit)
    tail = (stderr or stdout).strip().splitlines()[-1:] or ["no output"]
    message = f"{args[0]} ended with exit code {done.exit_code}, expected {expected}: {tail[0][:300]}"
    return StepResult("failed", data=data, text=stdout, error=StepError("command_failed", message))
