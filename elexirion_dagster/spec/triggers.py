"""What starts a pipeline by itself, and what happens after it failed."""

from typing import Literal, Self

from pydantic import Field, model_validator

from elexirion_dagster.errors import Cause
from elexirion_dagster.records import Json
from elexirion_dagster.spec.base import Name, Spec


class Schedule(Spec):
    """A cron schedule; stopped until a user starts it in Dagster."""

    cron: str
    """Five cron fields."""
    timezone: str = "UTC"
    """IANA time zone name."""


class Fallback(Spec):
    """One rule: after a failure with one of these causes, do this."""

    on: tuple[Cause, ...] = Field(min_length=1)
    """The causes this rule answers."""
    change: dict[str, Json] | None = None
    """Run again with these keys changed (model, limits)."""
    run: Name | None = None
    """Run another pipeline with the same inputs."""
    split: bool | None = None
    """Run again with half the items in each run."""
    wait: bool | None = None
    """Run again when the server said it would be ready."""
    park: bool | None = None
    """Leave it to a person, with a report."""

    @model_validator(mode="after")
    def _one_action(self) -> Self:
        if len(self.model_fields_set - {"on"}) != 1:
            raise ValueError("a fallback has `on` and exactly one of change, run, split, wait, park")
        return self


class Partitions(Spec):
    """One Dagster partition per file of a repository."""

    by: Literal["file"]
    """What a partition stands for."""
    repo: str = "{{ inputs.repo }}"
    """The repository, as a template over inputs."""
    include: tuple[str, ...] = ()
    """Glob patterns of the files."""
    exclude: tuple[str, ...] = ()
    """Glob patterns left out."""
    languages: tuple[str, ...] = ()
    """Only files in these languages."""
    max_file_kb: int = Field(default=1024, ge=1)
    """Larger files are left out."""
    files_per_run: int = Field(default=50, ge=1, le=1000)
    """Files in one run."""
