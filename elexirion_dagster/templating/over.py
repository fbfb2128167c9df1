"""Filters that ask an expression of every item: `items | where("item.line > 3")`, `items | each("item.path")`."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jinja2.runtime import Context
from jinja2.utils import pass_context

from elexirion_dagster.errors import ExpressionError
from elexirion_dagster.templating.meter import METER, entries, kind, present

ITEM = "item"
"""The name of the item in the expression."""


def _values(context: Context, value: Any, expression: str) -> Iterator[tuple[Any, Any]]:
    """Every item with what the expression makes of it; the expression sees the names of the whole template too."""
    compiled = context.environment.item_expression(expression)  # type: ignore[attr-defined]  # ours
    names = context.get_all()
    for item in entries(value):
        METER.get().add_turn()
        inner = compiled.new_context({**names, ITEM: item})
        for _ in compiled.root_render_func(inner):
            pass
        yield item, present(inner.vars["value"])


@pass_context
def _where(context: Context, value: Any, expression: str) -> list[Any]:
    return [item for item, holds in _values(context, value, expression) if holds]


@pass_context
def _each(context: Context, value: Any, expression: str) -> list[Any]:
    return [made for _, made in _values(context, value, expression)]


def written(arguments: list[Any]) -> str:
    """The expression that a filter was given, which has to stand in the template. Raises ExpressionError."""
    if len(arguments) == 1 and isinstance(arguments[0], str):
        return arguments[0]
    came = kind(arguments[0]) if len(arguments) == 1 and arguments[0] is not None else "something else"
    raise ExpressionError(
        f"where and each take one expression in quotes, got {came}",
        mend="Write it out: items | where('item.line > 3').",
    )


OVER_FILTERS: Mapping[str, Callable[..., Any]] = {"each": _each, "where": _where}
