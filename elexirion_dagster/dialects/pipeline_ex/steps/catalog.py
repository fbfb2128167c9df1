"""A list of their steps as ours, in the order written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from elexirion_dagster.dialects.pipeline_ex.book import Place
from elexirion_dagster.dialects.pipeline_ex.naming import original_name, step_names
from elexirion_dagster.dialects.pipeline_ex.notes import Path
from elexirion_dagster.dialects.pipeline_ex.placed import Placed
from elexirion_dagster.dialects.pipeline_ex.reader import Reader
from elexirion_dagster.dialects.pipeline_ex.said import LOOP, STEP
from elexirion_dagster.dialects.pipeline_ex.shapes import shape_of
from elexirion_dagster.dialects.pipeline_ex.steps.child import Child, nested
from elexirion_dagster.dialects.pipeline_ex.steps.data import data_transform
from elexirion_dagster.dialects.pipeline_ex.steps.files import codebase_query, file_ops
from elexirion_dagster.dialects.pipeline_ex.steps.flow import (
    bash,
    checkpoint,
    for_loop,
    set_variable,
    switch,
    test_echo,
    while_loop,
)
from elexirion_dagster.dialects.pipeline_ex.steps.many import batch, parallel
from elexirion_dagster.dialects.pipeline_ex.steps.model import ask
from elexirion_dagster.dialects.pipeline_ex.wanted import ASKING
from elexirion_dagster.records import Json

Leaf = Callable[[Reader, str, Place], list[Placed]]

_KEPT = frozenset({"key", "item", "status", "outputs"})
"""Words that ours keep for themselves among step names."""
_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "gemini_structured": "gemini_instructor",
        "gemini_function": "gemini",
        "nested_pipeline": "pipeline",
        "pipeline_executor": "pipeline",
        "claude_parallel": "parallel_claude",
        "for_each": "for_loop",
        "while": "while_loop",
        "set": "set_variable",
        "transform": "data_transform",
        "command": "bash",
    }
)
_LEAVES: Mapping[str, Leaf] = MappingProxyType(
    {
        "set_variable": set_variable,
        "data_transform": data_transform,
        "file_ops": file_ops,
        "codebase_query": codebase_query,
        "bash": bash,
        "checkpoint": checkpoint,
        "test_echo": test_echo,
    }
)
_LOOPS = MappingProxyType({"for_loop": for_loop, "while_loop": while_loop, "switch": switch})
_MANY = MappingProxyType({"claude_batch": batch, "parallel_claude": parallel})
KINDS = (*sorted(ASKING), *_MANY, *_LOOPS, *_LEAVES, "pipeline")
"""Every step type of theirs that is understood."""


@dataclass(frozen=True, slots=True)
class Translator:
    """Translates lists of steps; `child` translates a whole pipeline that stands inside a step."""

    child: Child

    def steps(self, raw: Sequence[Json], at: Path, place: Place) -> tuple[list[Placed], Place]:
        """The native steps of one list, and what can be named after the last of them."""
        book = place.book
        names = step_names(raw, at, {*_KEPT, *book.names, *place.names.steps}, place.notes)
        if place.top:
            book.names |= set(names.values())
        made: list[Placed] = []
        for index, step in enumerate(raw):
            name = original_name(step) if isinstance(step, dict) else None
            if name is None or name not in names:
                continue
            translated = self._step(step, (*at, index), names[name], place)
            if translated:
                place = _after(place, name, names[name], translated[-1], step)
            made += translated
        return (_in_order(made) if place.top else made), place

    def inner(self, raw: list[Json], at: Path, place: Place, changes: Mapping[str, Any]) -> tuple[list[Placed], Place]:
        """The steps inside a composite."""
        return self.steps(raw, at, place.inside({}, {}, **changes))

    def _step(self, step: Mapping[str, Json], at: Path, name: str, place: Place) -> list[Placed]:
        kind = str(step.get("type", "prompt" if "prompt" in step else None))
        kind = _ALIASES.get(kind, kind)
        reader = Reader(step, at, place.notes, LOOP if kind in _LOOPS else STEP)
        made = self._by_kind(kind, reader, name, place)
        reader.close()
        return made

    def _by_kind(self, kind: str, step: Reader, name: str, place: Place) -> list[Placed]:
        if kind in ASKING:
            return ask(step, name, kind, place)
        if kind in _MANY:
            return _MANY[kind](step, name, kind, place)
        if kind in _LOOPS:
            return _LOOPS[kind](step, name, place, self.inner)
        if kind in _LEAVES:
            return _LEAVES[kind](step, name, place)
        if kind == "pipeline":
            return nested(step, name, place, self.child)
        return _refused(kind, step)


def _after(place: Place, original: str, name: str, made: Mapping[str, Json], step: Mapping[str, Json]) -> Place:
    """What the next step may name."""
    field = step.get("output_field")
    also = {field: name} if isinstance(field, str) and field not in place.names.renamed else {}
    shape = shape_of(made, field if isinstance(field, str) else "")
    names = replace(
        place.names,
        steps=place.names.steps | {name},
        renamed={**also, **place.names.renamed, original: name},
        results={**place.names.results, name: shape},
        previous=name,
    )
    return replace(place, names=names)


def _in_order(steps: list[Placed]) -> list[Placed]:
    """Top-level steps wait for the one written before."""
    for earlier, step in pairwise(steps):
        step.first("needs", [earlier["name"]])
    return steps


def _refused(kind: str, step: Reader) -> list[Placed]:
    said = "the step has no type" if step.data.get("type") is None else f"unknown step type {kind!r}"
    step.notes.refuse(step.path("type"), said, f"Types: {', '.join(KINDS)}.")
    step.ignore(*step.data)
    return []
