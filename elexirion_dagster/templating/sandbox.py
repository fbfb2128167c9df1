"""The Jinja environment behind `expressions`: what a template may reach, call and compute."""

import difflib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.lexer import Token, TokenStream
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import Namespace, pass_context
from jinja2.visitor import NodeTransformer

from elexirion_dagster.errors import ExpressionError
from elexirion_dagster.templating.catalog import FILTERS, METHODS, TESTS
from elexirion_dagster.templating.comparing import compare
from elexirion_dagster.templating.computing import compute
from elexirion_dagster.templating.keyed import Keyed
from elexirion_dagster.templating.meter import METER, Bounds, Method, Missing, Turns, entries, kind, present, text
from elexirion_dagster.templating.over import OVER_FILTERS, written

Lazy = Callable[[Mapping[str, Any], str], Any]

_MAX_TREE_DEPTH = 100
_MAX_BRACKETS = 60
_CACHED_EXPRESSIONS = 128
_ABSENT = object()
_JINJA_ARGUMENTS = frozenset({"_loop_vars", "_block_vars"})
_LOOP_FIELDS = frozenset(
    {"index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem"}
)
_REFUSED: Mapping[type[nodes.Node], str] = {
    nodes.Macro: "macro",
    nodes.CallBlock: "call",
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "from … import",
    nodes.Extends: "extends",
    nodes.Block: "block",
    nodes.FilterBlock: "filter",
    nodes.ScopedEvalContextModifier: "autoescape",
}


class Environment(SandboxedEnvironment):
    """Jinja with our lookup rules, bounded operators and nothing that is not on a list."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})
    intercepted_unops = frozenset({"+", "-"})

    def __init__(self, bounds: Bounds, lazy: Lazy | None) -> None:
        super().__init__(undefined=Missing, optimized=False, keep_trailing_newline=True, autoescape=False, cache_size=0)
        self.bounds = bounds
        self.lazy = lazy
        self.filters = {**FILTERS, **_INTERNAL_FILTERS}
        self.tests = dict(TESTS)
        self.globals = {"range": _range, "namespace": Namespace}
        self.finalize = _finalize
        self.item_expression = functools.lru_cache(maxsize=_CACHED_EXPRESSIONS)(
            lambda expression: self.valued(self.item_tree(expression))
        )

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Look up `obj.attribute`: a map's key, a lazily read field, or an allowed method."""
        if isinstance(obj, Missing):
            return obj
        if isinstance(obj, Mapping):
            found = self._key(obj, attribute)
            return _method(obj, attribute) if found is _ABSENT else found
        if isinstance(obj, LoopContext) and attribute in _LOOP_FIELDS:
            return getattr(obj, attribute)
        if isinstance(obj, Namespace) and not attribute.startswith("_"):
            return getattr(obj, attribute, Missing(f"the namespace has no '{attribute}'"))
        return _method(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Look up `obj[argument]`: a map's key, a list's entry, a text's character."""
        if isinstance(obj, Missing):
            return obj
        if isinstance(present(argument), str):
            if isinstance(obj, Keyed) and obj.has(argument):
                return obj.entry(argument)
            if not isinstance(obj, Mapping):
                return self.getattr(obj, argument)
            found = self._key(obj, argument)
            return Missing(obj=obj, name=argument) if found is _ABSENT else found
        if isinstance(obj, list | tuple | str | range) and isinstance(argument, int):
            return obj[argument] if -len(obj) <= argument < len(obj) else _no_entry(obj, argument)
        return _no_entry(obj, argument)

    def call(self, context: Context, function: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - Jinja's signature
        """Call an allowed method, `range` or `namespace`; nothing else."""
        kwargs = {key: present(value) for key, value in kwargs.items() if key not in _JINJA_ARGUMENTS}
        if isinstance(present(function), Method):
            return function.function(function.owner, *map(present, args), **kwargs)
        if function is _range or function is Namespace:
            return function(*map(present, args), **kwargs)
        raise ExpressionError(f"{kind(function)} cannot be called")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ARG002 - Jinja's signature
        """Compute an arithmetic operator within bounds."""
        return compute(operator, present(left), present(right))

    def call_unop(self, context: Context, operator: str, arg: Any) -> Any:  # noqa: ARG002 - Jinja's signature
        """Compute a sign."""
        if isinstance(present(arg), int | float):
            return -arg if operator == "-" else +arg
        raise ExpressionError(f"{operator} wants a number, got {kind(arg)}")

    def tree(self, source: str) -> nodes.Template:
        """Parse a template and check it: size, depth, constructs, filters and tests."""
        if len(source) > self.bounds.max_template_chars:
            raise ExpressionError(f"the template is longer than {self.bounds.max_template_chars:,} characters")
        tree = self.parse(source)
        _check_depth(tree)
        for node in tree.find_all(nodes.Node):
            self._check_node(node)
        return tree

    def item_tree(self, expression: str) -> nodes.Template:
        """Parse and check what `where` and `each` ask of every item. Raises ExpressionError, TemplateSyntaxError."""
        tree = self.tree(f"{{{{ {expression} }}}}")
        if len(tree.body) != 1 or not isinstance(tree.body[0], nodes.Output) or len(tree.body[0].nodes) != 1:
            raise ExpressionError("where and each take one expression, without braces")
        return tree

    def valued(self, tree: nodes.Template) -> jinja2.Template:
        """Compile a checked tree whose first node is an expression; running it leaves `value` in the context."""
        tree = self.rewrite(tree)
        (output,) = (node for node in tree.body if isinstance(node, nodes.Output))
        tree.body = [nodes.Assign(nodes.Name("value", "store", lineno=1), output.nodes[0], lineno=1)]
        tree.set_environment(self)
        return jinja2.Template.from_code(self, self.compile(tree), self.globals)

    def rewrite(self, tree: nodes.Template) -> nodes.Template:
        """Put the meter into a checked tree: loops, joins, slices, comparisons."""
        rewritten: nodes.Template = _Metered().visit(tree)
        rewritten.set_environment(self)
        return rewritten

    def _tokenize(
        self, source: str, name: str | None, filename: str | None = None, state: str | None = None
    ) -> TokenStream:
        stream = super()._tokenize(source, name, filename, state)
        return TokenStream(_bounded(stream, self.bounds.max_tokens), name, filename)

    def _check_node(self, node: nodes.Node) -> None:
        for refused, word in _REFUSED.items():
            if isinstance(node, refused):
                raise ExpressionError(f"line {node.lineno}: '{word}' is not part of the language", mend=_ALLOWED)
        if isinstance(node, nodes.For) and node.recursive:
            raise ExpressionError(f"line {node.lineno}: recursive loops are not part of the language", mend=_ALLOWED)
        if isinstance(node, nodes.Name) and node.name == "self":
            raise ExpressionError("'self' is not known here")
        if isinstance(node, nodes.Const) and isinstance(node.value, str) and not node.value.isprintable():
            _check_text(node.value)
        if isinstance(node, nodes.Filter):
            _known("filter", node.name, self.filters)
            self._check_names_in(node)
            if node.name in OVER_FILTERS:
                self.item_tree(written([arg.value if isinstance(arg, nodes.Const) else None for arg in node.args]))
        if isinstance(node, nodes.Test):
            _known("test", node.name, self.tests)

    def _check_names_in(self, node: nodes.Filter) -> None:
        """Check the filter or test that `map`, `select` and their kin are given by name."""
        at, names, what = {
            "map": (0, self.filters, "filter"),
            "select": (0, self.tests, "test"),
            "reject": (0, self.tests, "test"),
            "selectattr": (1, self.tests, "test"),
            "rejectattr": (1, self.tests, "test"),
        }.get(node.name, (0, {}, ""))
        if what and len(node.args) > at and isinstance(node.args[at], nodes.Const):
            _known(what, str(node.args[at].as_const()), names)

    def _key(self, obj: Mapping[str, Any], name: str) -> Any:
        if name in obj:
            return obj[name]
        if self.lazy is None:
            return _ABSENT
        try:
            return self.lazy(obj, name)
        except KeyError:
            return _ABSENT


_ALLOWED = "Allowed are {{ … }}, if, for, set, with and raw."


def _check_text(value: str) -> None:
    bad = next((sign for sign in value if "\ud800" <= sign <= "\udfff"), None)
    if bad is not None:
        raise ExpressionError(f"the text holds U+{ord(bad):04X}, half a character")


def _known(what: str, name: str, names: Mapping[str, Any]) -> None:
    if name in names and not name.startswith(":"):
        return
    near = difflib.get_close_matches(name, names, n=1)
    known = ", ".join(sorted(word for word in names if word[0].isalpha()))
    raise ExpressionError(
        f"there is no {what} '{name}'" + (f"; did you mean '{near[0]}'?" if near else ""),
        mend=f"Known {what}s: {known}.",
    )


def _bounded(stream: TokenStream, most: int) -> Iterator[Token]:
    depth = 0
    for count, token in enumerate(stream):
        depth += (token.type in {"lbrace", "lparen", "lbracket"}) - (token.type in {"rbrace", "rparen", "rbracket"})
        if count > most:
            raise ExpressionError(f"the template has more than {most:,} words and signs")
        if depth > _MAX_BRACKETS:
            raise ExpressionError(f"brackets nested deeper than {_MAX_BRACKETS}")
        yield token


def _check_depth(tree: nodes.Node) -> None:
    level: list[nodes.Node] = [tree]
    for _ in range(_MAX_TREE_DEPTH):
        level = [child for node in level for child in node.iter_child_nodes()]
        if not level:
            return
    raise ExpressionError(f"the expression is nested deeper than {_MAX_TREE_DEPTH} levels")


class _Metered(NodeTransformer):
    """Rewrites what Jinja compiles to bare Python into calls of our internal filters."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - Jinja's naming
        self.generic_visit(node)
        node.iter = _internal(":turns", node.iter)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - Jinja's naming
        self.generic_visit(node)
        return _internal(":concat", nodes.List(node.nodes, lineno=node.lineno))

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802 - Jinja's naming
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        parts = (node.arg.start, node.arg.stop, node.arg.step)
        return _internal(":slice", node.node, *(part or nodes.Const(None, lineno=node.lineno) for part in parts))

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802 - Jinja's naming
        self.generic_visit(node)
        chain = [part for operand in node.ops for part in (nodes.Const(operand.op, lineno=node.lineno), operand.expr)]
        return _internal(":compare", node.expr, *chain)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802 - Jinja's naming
        self.generic_visit(node)
        return nodes.List(node.items, lineno=node.lineno) if node.ctx == "load" else node

    def visit_AssignBlock(self, node: nodes.AssignBlock) -> nodes.Node:  # noqa: N802 - Jinja's naming
        self.generic_visit(node)
        for output in node.find_all(nodes.Output):
            output.nodes = [
                nodes.Const(child.data, lineno=child.lineno) if isinstance(child, nodes.TemplateData) else child
                for child in output.nodes
            ]
        return node


def _internal(name: str, value: Any, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(value, name, list(args), [], None, None, lineno=value.lineno)


@pass_context
def _finalize(context: Context, value: Any) -> str:  # noqa: ARG001 - taking the context keeps Jinja from folding constants
    shown = text(value)
    METER.get().add_chars(len(shown))
    return shown


def _concat(values: list[Any]) -> str:
    parts = [text(value) for value in values]
    METER.get().add_chars(sum(map(len, parts)))
    return "".join(parts)


def _slice(value: Any, start: Any, stop: Any, step: Any) -> Any:
    if not isinstance(present(value), str | list | tuple):
        raise ExpressionError(f"only texts and lists have slices, not {kind(value)}")
    meter = METER.get()
    count = len(range(*slice(start, stop, step).indices(len(value))))
    (meter.add_chars if isinstance(value, str) else meter.add_items)(count)
    return value[start:stop:step]


def _range(*args: int) -> range:
    numbers = range(*args)
    if numbers and (numbers[-1] - numbers[0]) // numbers.step >= METER.get().bounds.max_iterations:
        raise ExpressionError(f"range has more than {METER.get().bounds.max_iterations:,} numbers")
    return numbers


def _no_entry(obj: Any, argument: Any) -> Missing:
    name = argument if isinstance(argument, str | int) else kind(argument)
    return Missing(obj=obj, name=name)  # type: ignore[arg-type]  # Jinja takes numbers too


def _method(obj: Any, name: str) -> Any:
    for owner, methods in METHODS.items():
        if isinstance(obj, owner):
            if name in methods:
                return Method(obj, name, methods[name])
            return getattr(obj, name) if name in getattr(obj, "_fields", ()) else Missing(obj=obj, name=name)
    if obj is None or isinstance(obj, int | float):
        return Missing(obj=obj, name=name)
    raise ExpressionError(f"'{name}' of {kind(obj)} cannot be read")


_INTERNAL_FILTERS: Mapping[str, Callable[..., Any]] = {
    ":turns": lambda value: Turns(entries(value)),
    ":concat": _concat,
    ":slice": _slice,
    ":compare": compare,
}
