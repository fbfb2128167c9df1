"""Which names a template refers to, without evaluating it."""

from collections.abc import Iterable, Iterator
from typing import Any

from jinja2 import nodes

from elexirion_dagster.templating.catalog import METHODS
from elexirion_dagster.templating.over import ITEM, OVER_FILTERS

_METHOD_NAMES = frozenset(name for methods in METHODS.values() for name in methods)


def chains_of(node: nodes.Node, *, free_only: bool, local: frozenset[str] = frozenset()) -> Iterator[tuple[str, ...]]:
    """List the dotted chains of a tree; with `free_only` those on names the template does not bind itself."""
    bound = local if free_only else frozenset()
    yield from _walk(node, _Names(bound, free_only=free_only))


class _Names:
    """The names that are bound where the walk stands."""

    def __init__(self, bound: frozenset[str], *, free_only: bool) -> None:
        self.bound = set(bound)
        self.free_only = free_only

    def inner(self, *names: str) -> "_Names":
        return _Names(frozenset({*self.bound, *names}), free_only=self.free_only)

    def bind(self, target: nodes.Node) -> None:
        self.bound |= _stored(target)


def _stored(target: nodes.Node) -> set[str]:
    names = [target] if isinstance(target, nodes.Name) else target.find_all(nodes.Name)
    return {name.name for name in names}


def _walk(node: nodes.Node, names: _Names) -> Iterator[tuple[str, ...]]:
    match node:
        case nodes.For() | nodes.With():
            yield from _walk_block(node, names)
        case nodes.Assign() | nodes.AssignBlock():
            yield from _walk_all(node.iter_child_nodes(exclude=("target",)), names)
            names.bind(node.target)
        case nodes.Call(node=nodes.Getattr(attr=name, node=owner)) if name in _METHOD_NAMES:
            yield from _walk_all((owner, *node.iter_child_nodes(exclude=("node",))), names)
        case nodes.Getattr() | nodes.Getitem() | nodes.Name():
            yield from _chain(node, names)
        case nodes.Filter(name=name, args=[nodes.Const(value=str() as expression)]) if name in OVER_FILTERS:
            yield from _walk_all(node.iter_child_nodes(), names)
            environment: Any = node.environment
            yield from _walk(environment.item_tree(expression), names.inner(ITEM))
        case _:
            yield from _walk_all(node.iter_child_nodes(), names)


def _walk_all(parts: Iterable[nodes.Node], names: _Names) -> Iterator[tuple[str, ...]]:
    for part in parts:
        yield from _walk(part, names)


def _walk_block(node: nodes.For | nodes.With, names: _Names) -> Iterator[tuple[str, ...]]:
    if isinstance(node, nodes.With):
        yield from _walk_all(node.values, names)
        yield from _walk_all(node.body, names.inner(*(name for target in node.targets for name in _stored(target))))
        return
    yield from _walk(node.iter, names)
    inside = names.inner("loop", *_stored(node.target))
    yield from _walk_all([node.test, *node.body] if node.test else node.body, inside)
    yield from _walk_all(node.else_, names)


def _chain(node: nodes.Node, names: _Names) -> Iterator[tuple[str, ...]]:
    parts: list[str] = []
    while isinstance(node, nodes.Getattr | nodes.Getitem):
        step = node.attr if isinstance(node, nodes.Getattr) else _static(node.arg)
        if isinstance(node, nodes.Getitem) and step is None:
            yield from _walk(node.arg, names)
        parts = [] if step is None else [step, *parts]
        node = node.node
    if not isinstance(node, nodes.Name):
        yield from _walk(node, names)
    elif not (names.free_only and (node.name in names.bound or (node.name in _GLOBALS and not parts))):
        yield (node.name, *parts)


_GLOBALS = frozenset({"range", "namespace"})


def _static(node: nodes.Node) -> str | None:
    return node.value if isinstance(node, nodes.Const) and isinstance(node.value, str) else None
