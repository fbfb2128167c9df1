"""What starts a pipeline by itself, and what happens after it failed."""

import re
from typing import Literal, Self, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from elexirion_dagster.errors import Cause
from elexirion_dagster.spec.base import Name, Spec
from elexirion_dagster.spec.changes import Change

_CRON_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_CRON_PART = re.compile(r"(\*|(\d+)(-(\d+))?)(/(\d+))?")


Action = Literal["change", "run", "split", "wait", "park"]


class Schedule(Spec):
    """A cron schedule; stopped until a user starts it in Dagster."""

    cron: str
    """Five cron fields."""
    timezone: str = "UTC"
    """IANA time zone name."""

    @field_validator("cron")
    @classmethod
    def _cron_is_valid(cls, cron: str) -> str:
        fields = cron.split()
        if len(fields) != len(_CRON_FIELDS):
            raise ValueError(f"a cron schedule has five fields such as '0 2 * * *', {cron!r} has {len(fields)}")
        for field, (name, low, high) in zip(fields, _CRON_FIELDS, strict=True):
            if not all(_cron_part_fits(part, low, high) for part in field.split(",")):
                raise ValueError(f"{field!r} is no {name} of a cron schedule ({low} to {high}, with * , - and /)")
        if not _date_comes(fields[2], fields[3]):
            raise ValueError(f"day {fields[2]} of month {fields[3]} never comes")
        return cron

    @field_validator("timezone")
    @classmethod
    def _timezone_exists(cls, timezone: str) -> str:
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{timezone!r} is no time zone such as UTC or Europe/Berlin") from error
        return timezone


def _date_comes(days: str, months: str) -> bool:
    """Whether one of the months has one of the days; steps and stars are taken to."""
    if not (days + months).replace(",", "").replace("-", "").isdigit():
        return True
    first = min(int(part.split("-")[0]) for part in days.split(","))
    bounds = (tuple(map(int, part.split("-"))) for part in months.split(","))
    return any(first <= _DAYS[month - 1] for bound in bounds for month in range(bound[0], bound[-1] + 1))


def _cron_part_fits(part: str, low: int, high: int) -> bool:
    match = _CRON_PART.fullmatch(part)
    if match is None or match[6] == "0":
        return False
    numbers = [int(number) for number in (match[2], match[4]) if number]
    return all(low <= number <= high for number in numbers) and numbers == sorted(numbers)


class Fallback(Spec):
    """One rule: after a failure with one of these causes, do this."""

    on: tuple[Cause, ...] = Field(min_length=1)
    """The causes this rule answers."""
    change: Change | None = None
    """Go on with these keys changed."""
    run: Name | None = None
    """Run another pipeline with those of the inputs that it declares."""
    split: Literal[True] | None = None
    """Go on in two runs, each with half the items of the top-level for_each."""
    wait: Literal[True] | None = None
    """Go on when the server said it would be ready."""
    park: Literal[True] | None = None
    """Leave it to a person, with a report."""

    @model_validator(mode="after")
    def _one_action(self) -> Self:
        if len(self.model_fields_set - {"on"}) != 1:
            raise ValueError("a fallback has `on` and exactly one of change, run, split, wait, park")
        return self

    @property
    def action(self) -> Action:
        """The word of what is done."""
        return next(word for word in get_args(Action) if word in self.model_fields_set)


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
    branch: str | None = Field(default=None, min_length=1)
    """The branch that schedule and sensor scan; the one checked out when absent."""
    fetch: bool = False
    """Whether `git fetch` of that branch goes before each scheduled scan, which then reads the remote's branch."""
