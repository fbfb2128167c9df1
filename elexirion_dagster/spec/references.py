"""Which names a step's templates and conditions refer to."""

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Literal

from elexirion_dagster.expressions import Engine
from elexirion_dagster.records import Json
from elexirion_dagster.spec.base import StepBase
from elexirion_dagster.spec.steps import WhileStep, inner_names, inner_steps
from elexirion_dagster.spec.transform import Operation, TransformStep, Unique

Kind = Literal["template", "condition"]
Chain = tuple[str, ...]
_RESULT_TEXT = re.compile(r"""\bsteps\s*(\.\s*\w+|\[\s*["']\w+["']\s*\])\s*\.\s*text\b""")
_TEXT = re.compile(r"""\.\s*text\b|["']text["']""")
_RECORD = frozenset({"item", "index"})
"""Names that a transform's operations have besides the ordinary ones."""


@dataclass(frozen=True, slots=True)
class Expression:
    """One template or condition of a step: where it stands (path below the step), its text, and names of its own."""

    path: tuple[str | int, ...]
    text: str
    kind: Kind
    local: frozenset[str] = frozenset()


def expressions(step: StepBase) -> Iterator[Expression]:
    """Every template and condition of a step itself; inner steps are not looked into."""
    for field in step.conditions:
        value = getattr(step, field)
        if isinstance(value, str):
            local = inner_names(step) if field == "condition" else frozenset[str]()
            yield Expression((field,), value, "condition", local)
    for field, value in step.template_values():
        local = inner_names(step) if field == "key" else frozenset()
        yield from _strings((field.removesuffix("_"),), value, local)
    if isinstance(step, TransformStep):
        for index, operation in enumerate(step.ops):
            yield from _of_operation(operation, ("ops", index))


def _of_operation(operation: Operation, path: tuple[str | int, ...]) -> Iterator[Expression]:
    if operation.filter is not None:
        yield Expression((*path, "filter"), operation.filter, "condition", _RECORD)
    yield from _strings((*path, "map"), operation.map, _RECORD)
    for where, by in _fields(operation):
        yield Expression((*path, *where), as_expression(by), "template", _RECORD)
    if operation.join is not None:
        yield from _strings((*path, "join", "with"), operation.join.with_)
    for name, aggregate in (operation.aggregate or {}).items():
        if aggregate.of is not None:
            yield Expression((*path, "aggregate", name, "of"), as_expression(aggregate.of), "template", _RECORD)


def _fields(operation: Operation) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """The `by:` and `on:` words of an operation with their places."""
    for index, key in enumerate(operation.sort_keys()):
        yield ("sort", *((index,) if isinstance(operation.sort, tuple) else ()), "by"), key.by
    if operation.group is not None:
        yield ("group", "by"), operation.group.by
    if isinstance(operation.unique, Unique):
        yield ("unique", "by"), operation.unique.by
    if operation.join is not None:
        if isinstance(operation.join.on, str):
            yield ("join", "on"), operation.join.on
        else:
            yield from zip((("join", "on", "left"), ("join", "on", "right")), operation.join.sides(), strict=True)


def as_expression(by: str) -> str:
    """A `by:` or `of:` word as a template: a bare field name means that field of `item`, `item` the record itself."""
    if "{{" in by:
        return by
    if by == "item" or by.startswith("item."):
        return f"{{{{ {by} }}}}"
    return f"{{{{ item.{by} }}}}" if by.replace(".", "").replace("_", "").isalnum() else f"{{{{ {by} }}}}"


def _strings(path: tuple[str | int, ...], value: Json, local: frozenset[str] = frozenset()) -> Iterator[Expression]:
    match value:
        case str():
            yield Expression(path, value, "template", local)
        case dict():
            for key, inner in value.items():
                yield from _strings((*path, key), inner, local)
        case list() | tuple():
            for index, inner in enumerate(value):
                yield from _strings((*path, index), inner, local)
        case StepBase():
            return
        case _ if hasattr(value, "model_fields_set"):
            for name, field in type(value).model_fields.items():
                yield from _strings((*path, field.alias or name), getattr(value, name), local)


def texts(value: Json, path: tuple[str | int, ...] = ()) -> Iterator[Expression]:
    """Every string inside lists and maps, as a template with its path."""
    yield from _strings(path, value)


def chains_of(expression: Expression, engine: Engine) -> frozenset[Chain]:
    """The chains on free names of one expression, such as `("steps", "review", "data")`."""
    chains = engine.references(expression.text, condition=expression.kind == "condition")
    return frozenset(chain for chain in chains if chain[0] not in expression.local)


def references(step: StepBase, engine: Engine) -> frozenset[Chain]:
    """Every chain on free names of a step and its inner steps, names that a composite brings in left out."""
    own = {chain for expression in expressions(step) for chain in chains_of(expression, engine)}
    inner = {chain for part in inner_steps(step) for chain in references(part, engine)}
    local = inner_names(step)
    siblings = {part.name for part in inner_steps(step)}
    if isinstance(step, WhileStep):
        own = {chain for chain in own if not _leads_to(chain, siblings)}
    return frozenset(own) | {chain for chain in inner if chain[0] not in local and not _leads_to(chain, siblings)}


def _leads_to(chain: Chain, names: Container[str]) -> bool:
    return chain[0] == "steps" and len(chain) > 1 and chain[1] in names


def asks_inside(step: WhileStep, engine: Engine) -> bool:
    """Whether a loop's condition refers to the steps inside, so that it can only be asked after the first turn."""
    if isinstance(step.condition, bool):
        return False
    names = {part.name for part in step.steps}
    return any(_leads_to(chain, names) for chain in engine.references(step.condition, condition=True))


def reads_files(step: StepBase) -> bool:
    """Whether a template reads, or may read, the text of a listed file (`file.text`): a look at the tree.

    A file may come along under any name (`{% for f in … %}`, `map(attribute='text')`), so every `text` counts but
    that of a step's own result.
    """
    own = (_RESULT_TEXT.sub("", expression.text) for expression in expressions(step))
    return any(_TEXT.search(text) for text in own) or any(reads_files(part) for part in inner_steps(step))


class References:
    """The chains of steps, found once per step object: a for_each asks for every item."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._found: dict[int, tuple[StepBase, tuple[Chain, ...]]] = {}
        self._in_text: dict[str, tuple[Chain, ...]] = {}

    def of(self, step: StepBase) -> tuple[Chain, ...]:
        """The step's chains in alphabetical order."""
        if id(step) not in self._found:
            self._found[id(step)] = (step, tuple(sorted(references(step, self._engine))))
        return self._found[id(step)][1]

    def of_text(self, template: str) -> tuple[Chain, ...]:
        """The chains of one template of a step in alphabetical order."""
        if template not in self._in_text:
            self._in_text[template] = tuple(sorted(self._engine.references(template)))
        return self._in_text[template]
