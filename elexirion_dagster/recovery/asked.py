"""What a run's tags ask of it as a recovery."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from pydantic import ValidationError

from elexirion_dagster.errors import InputError
from elexirion_dagster.spec.base import Amounts, Budget
from elexirion_dagster.spec.changes import Change
from elexirion_dagster.steps.part import Part
from elexirion_dagster.tags import CEILING_TAG, CHANGE_TAG, PART_TAG, ROOT_PIPELINE_TAG


@dataclass(frozen=True, slots=True)
class Recovery:
    """How a run differs from the one it continues.

    `root_pipeline` is that of the root run where another one recovers it, `ceiling` what that one's budget allows.
    """

    change: Change | None = None
    part: Part | None = None
    root_pipeline: str | None = None
    ceiling: Amounts = field(default_factory=Amounts)

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> Self:
        """Read the tags. Raises InputError on one that cannot be read."""
        try:
            return cls(
                Change.model_validate_json(tags[CHANGE_TAG]) if CHANGE_TAG in tags else None,
                Part.parse(tags[PART_TAG]) if PART_TAG in tags else None,
                tags.get(ROOT_PIPELINE_TAG),
                Amounts.model_validate_json(tags[CEILING_TAG]) if CEILING_TAG in tags else Amounts(),
            )
        except ValidationError as error:
            first = error.errors()[0]
            message = f"the run's tags say what a recovery changes, and cannot be read: {first['msg']}"
            raise InputError(message, mend="Start the run anew, without those tags.") from error

    def threads(self, most: int) -> int:
        """So many threads, and no more than a change allows."""
        limits = self.change.limits if self.change else None
        return min(most, limits.threads) if limits else most

    def within(self, budget: Budget) -> Budget:
        """The budget, and no more than the root run's."""
        return budget.model_copy(update=least(budget, self.ceiling))


NO_RECOVERY = Recovery()


def least(one: Amounts, other: Amounts) -> dict[str, float | None]:
    """The smaller amount of each kind that is limited at all."""
    pairs = {name: (getattr(one, name), getattr(other, name)) for name in Amounts.model_fields}
    return {name: min((amount for amount in pair if amount is not None), default=None) for name, pair in pairs.items()}
