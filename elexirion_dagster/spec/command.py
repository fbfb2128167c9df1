"""`command`: run a program without a shell."""

import re
import shlex
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from elexirion_dagster.spec.base import Effect, ProgramStep, is_unset

_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)


class CommandStep(ProgramStep):
    """Run one program in the workspace, isolated, with a deadline, resource limits and a scrubbed environment."""

    templates: ClassVar[tuple[str, ...]] = ("run", "cwd", "env")

    type: Literal["command"]
    run: str | tuple[str, ...] = Field(min_length=1)
    """Program and arguments; a string is split like a shell would *before* templates are filled in."""
    cwd: str | None = None
    """Folder to run in, inside the run's workspace; the workspace itself when absent."""
    env: dict[str, str] = {}
    """Further environment variables; nothing else is inherited but PATH and the locale."""
    expect_exit: tuple[int, ...] = (0,)
    """Exit codes that count as success."""
    network: bool | None = Field(default=None, exclude_if=is_unset)
    """Whether it has network; when absent, unless a result of another step stands in `run`, `cwd` or `env`."""

    def default_effect(self) -> Effect:
        """A program may do anything."""
        return "write"

    @model_validator(mode="after")
    def _splits(self) -> Self:
        try:
            arguments = self.arguments()
        except ValueError as error:
            raise ValueError(f"run cannot be split into arguments: {error}") from error
        if not arguments:
            raise ValueError("run names no program")
        return self

    def arguments(self) -> tuple[str, ...]:
        """Program and arguments as templates; a template never splits, whatever stands in it."""
        if not isinstance(self.run, str):
            return self.run
        templates = _TEMPLATE.findall(self.run)
        parts = shlex.split(_TEMPLATE.sub("\x00", self.run))
        left = iter(templates)
        return tuple("".join(next(left) if char == "\x00" else char for char in part) for part in parts)
