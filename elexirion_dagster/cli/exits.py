"""Exit codes."""

from elexirion_dagster.errors import Cause

DONE, FAILED, BAD_INPUT, REFUSED, CANCELLED = 0, 1, 2, 3, 130
_CODES: dict[Cause, int] = {
    "bad_input": BAD_INPUT,
    "bad_pipeline": BAD_INPUT,
    "budget_exceeded": REFUSED,
    "tool_denied": REFUSED,
    "cancelled": CANCELLED,
}


def exit_code(cause: Cause | None) -> int:
    """2 the input was wrong, 3 a policy said no, 130 cancelled, 1 any other failure."""
    return FAILED if cause is None else _CODES.get(cause, FAILED)


def run_exit_code(status: str, cause: Cause | None) -> int:
    """The exit code of a run that was started: a run that failed is 1 unless a policy ended it."""
    if status == "succeeded":
        return DONE
    code = exit_code(cause)
    return FAILED if code == BAD_INPUT else code
