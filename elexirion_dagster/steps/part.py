"""A part of the items of a top-level for_each, where a recovery splits them among several runs."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from graphlib import TopologicalSorter
from typing import Self

from elexirion_dagster.errors import InputError
from elexirion_dagster.expressions import Engine
from elexirion_dagster.spec.base import StepBase
from elexirion_dagster.spec.children import Pipelines
from elexirion_dagster.spec.edges import edges
from elexirion_dagster.spec.steps import ForEachStep, Step

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


def covered(parts: Iterable[Part]) -> bool:
    """Whether these parts together are the whole, halves of halves among them."""
    reached = Fraction(0)
    for begin, end in sorted((Fraction(one.number - 1, one.count), Fraction(one.number, one.count)) for one in parts):
        if begin > reached:
            return False
        reached = max(reached, end)
    return reached == 1


def held_back(steps: tuple[Step, ...], engine: Engine, pipelines: Pipelines) -> frozenset[str]:
    """The top-level steps that a run on a part leaves to the run on the whole.

    Only what is split is done, and what that needs: the rest would be done once per part, and see a part only.
    """
    graph = edges(steps, engine, pipelines)
    loops = {step.name for step in steps if isinstance(step, ForEachStep)}
    after, needed = set[str](), set[str]()
    order = tuple(TopologicalSorter(graph).static_order())
    for name in order:
        if any(dep in loops or dep in after for dep in graph[name]):
            after.add(name)
    for name in reversed(order):
        if name in loops - after or name in needed:
            needed |= {name, *graph[name]}
    return frozenset(graph) - needed


def is_split(step: StepBase, path: str) -> bool:
    """Whether the items of this step are what is split: a for_each that is an op of its own."""
    return isinstance(step, ForEachStep) and "." not in path and "[" not in path
