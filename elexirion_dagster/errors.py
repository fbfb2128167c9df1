"""One root error, the closed list of causes, and the few kinds of failure that callers tell apart."""

from dataclasses import dataclass
from typing import Literal, get_args

Cause = Literal[
    "overloaded",
    "rate_limited",
    "timeout",
    "connection",
    "auth",
    "billing",
    "model_not_found",
    "refused",
    "truncated",
    "context_exceeded",
    "malformed_output",
    "max_turns",
    "tool_denied",
    "budget_exceeded",
    "command_failed",
    "check_failed",
    "bad_input",
    "bad_pipeline",
    "storage",
    "worker_lost",
    "cancelled",
    "unknown",
]
"""Why something failed. Retry, fallback and reports key on this word, never on message text."""

CAUSES: tuple[Cause, ...] = get_args(Cause)


class ElexirionError(Exception):
    """Anything that went wrong in words a user can act on.

    `message` says what was expected and what came, `mend` how to put it right.
    """

    def __init__(self, message: str, *, cause: Cause = "unknown", mend: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.cause: Cause = cause
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.message}\n  {self.mend}" if self.mend else self.message


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a document: where it is (1-based line and column), what is wrong, how to mend it."""

    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    mend: str | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        head = f"{place}: {self.message}" if place else self.message
        return f"{head}\n  {self.mend}" if self.mend else head


class PipelineError(ElexirionError):
    """A pipeline document that cannot be used; carries every problem found, each with its position."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems), cause="bad_pipeline")
        self.problems = tuple(problems)


class InputError(ElexirionError):
    """A value handed in from outside (an argument, an input, a path) that cannot be used."""

    def __init__(self, message: str, *, mend: str | None = None) -> None:
        super().__init__(message, cause="bad_input", mend=mend)


class ExpressionError(ElexirionError):
    """A template or condition that cannot be evaluated: unresolved, hostile, or beyond its bounds."""

    def __init__(self, message: str, *, mend: str | None = None) -> None:
        super().__init__(message, cause="bad_input", mend=mend)


class PolicyError(ElexirionError):
    """A limit the user set says no: a budget, a refused tool, a path outside what was granted."""


class StorageError(ElexirionError):
    """The home cannot be read or written: full disk, read-only folder, newer format."""

    def __init__(self, message: str, *, mend: str | None = None) -> None:
        super().__init__(message, cause="storage", mend=mend)


class Cancelled(ElexirionError):  # noqa: N818 - the name of the cause
    """The run was told to stop while this was under way."""

    def __init__(self, message: str = "the run was cancelled") -> None:
        super().__init__(message, cause="cancelled")


def unreadable(error: Exception) -> str:
    """Why a file or folder could not be opened, to stand after its name."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "does not exist"
    return f"cannot be read: {error.strerror if isinstance(error, OSError) else error}"
