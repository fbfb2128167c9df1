"""`set`: assign variables."""

from typing import ClassVar, Literal

from pydantic import Field

from elexirion_dagster.records import Json
from elexirion_dagster.spec.base import Name, StepBase


class SetStep(StepBase):
    """Assign variables that later steps read as `vars.<name>`."""

    templates: ClassVar[tuple[str, ...]] = ("vars",)

    type: Literal["set"]
    vars: dict[Name, Json] = Field(min_length=1)
    """Values by variable name; strings are templates."""
