"""A part of the items of a top-level for_each, where a recovery splits them among several runs."""

import re
from dataclasses import dataclass
from typing import Self

from elexirion_dagster.errors import InputError
from elexirion_dagster.spec.base import StepBase
from elexirion_dagster.spec.steps import ForEachStep

_FORM = re.compile(r"([1-9]\d{0,5})/([1-9]\d{0,5})")


@dataclass(frozen=True, slots=True)
class Part:
    """Number `number` (from 1) of `count` parts of nearly equal size."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `2/4`. Raises InputError."""
        match = _FORM.fullmatch(text)
        if match is None or int(match[1]) > int(match[2]):
            raise InputError(f"a part such as 1/2 was expected, {text!r} came", mend="Start the run anew.")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, items: int) -> range:
        """The positions of this part."""
        return range((self.number - 1) * items // self.count, self.number * items // self.count)

    def halves(self) -> tuple["Part", "Part"]:
        """The two halves of this part."""
        return Part(2 * self.number - 1, 2 * self.count), Part(2 * self.number, 2 * self.count)


def is_split(step: StepBase, path: str) -> bool:
    """Whether the items of this step are what is split: a for_each that is an op of its own."""
    return isinstance(step, ForEachStep) and "." not in path and "[" not in path
