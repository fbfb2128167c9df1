"""Elixir: definitions, aliases and the like, and the files that define the modules they name."""

from collections.abc import Iterator, Sequence

import tree_sitter_elixir
from tree_sitter import Node

from elexirion_dagster.codebase.query.rules import Repository, Resolve, Rules, among
from elexirion_dagster.codebase.query.syntax import (
    Captures,
    Definition,
    Symbol,
    Written,
    definitions,
    first_line,
    text,
)

DEFINES = "defmodule"
"""The form of what is no import: a module that the file defines."""
_HEAD = """
(arguments . [
  (identifier) @name
  (call target: (identifier) @name (arguments) @parameters)
  (binary_operator left: (identifier) @name operator: "when")
  (binary_operator left: (call target: (identifier) @name (arguments) @parameters) operator: "when")
])
"""
_OPERATOR = """
(arguments . [
  (binary_operator operator: _ @name)
  (binary_operator left: (binary_operator operator: _ @name) operator: "when")
])
(#not-eq? @name "when")
"""
_MODULES = """
(call target: (identifier) @word (arguments . (alias) @name) (#eq? @word "defmodule")) @module
(call target: (identifier) @word (arguments . (alias) @name) (#eq? @word "defprotocol")) @interface
"""
_DEFINITIONS = f"""
{_MODULES}
(call target: (identifier) @word (arguments . (alias) @name) (#eq? @word "defimpl")) @module
(call target: (identifier) @word (arguments) @name (#any-of? @word "defstruct" "defexception")) @struct
(call target: (identifier) @word {_HEAD} (#any-of? @word "def" "defp" "defdelegate")) @function
(call target: (identifier) @word {_OPERATOR} (#any-of? @word "def" "defp")) @function
(call target: (identifier) @word {_HEAD} (#any-of? @word "defmacro" "defmacrop" "defguard" "defguardp")) @macro
"""
_IMPORTS = f"""
{_MODULES}
(call target: (identifier) @word (arguments . (_) @name) (#any-of? @word "alias" "import" "use" "require")) @import
"""


def _symbols(found: Sequence[Captures]) -> list[Symbol]:
    """One symbol for all clauses of a function."""
    symbols: dict[tuple[object, ...], Symbol] = {}
    for one in definitions(found):
        symbol = _symbol(one)
        around = one.within[-1].node.id if one.within else None
        key = (around, symbol.kind, symbol.name, _arity(one) if symbol.kind in ("function", "macro") else one.node.id)
        first = symbols.setdefault(key, symbol)
        if symbol.end_line > first.end_line:
            symbols[key] = Symbol(first.name, first.kind, first.line, symbol.end_line, first.parent, first.public)
    return list(symbols.values())


def _symbol(one: Definition) -> Symbol:
    plain = one.symbol(public=_word(one) not in ("defp", "defmacrop", "defguardp"))
    name = one.name
    if plain.parent and plain.kind == "struct":
        name = plain.parent
    elif plain.parent and _word(one) in ("defmodule", "defprotocol"):
        name = f"{plain.parent}.{name}"
    kind = "function" if plain.kind == "method" else plain.kind
    return Symbol(name, kind, plain.line, plain.end_line, plain.parent, plain.public)


def _arity(one: Definition) -> int:
    parameters = one.captures.get("parameters")
    return parameters[0].named_child_count if parameters else 0


def _written(found: Sequence[Captures]) -> list[Written]:
    written = []
    for one in definitions(found):
        line, around = first_line(one.node), ".".join(outer.name for outer in one.within)
        if one.kind != "import":
            written.append(Written(line, f"{around}.{one.name}" if around else one.name, form=DEFINES))
            continue
        modules = (name.replace("__MODULE__", around or "__MODULE__") for name in _named(one.captures["name"][0]))
        written += [Written(line, module, form=_word(one)) for module in modules]
    return written


def _word(one: Definition) -> str:
    return text(one.captures["word"][0])


def _named(node: Node) -> Iterator[str]:
    """The modules that `A.B` or `A.{B, C}` names."""
    right = node.child_by_field_name("right")
    left = node.child_by_field_name("left")
    if node.type == "dot" and left is not None and right is not None and right.type == "tuple":
        for part in right.named_children:
            yield f"{text(left)}.{text(part)}"
    elif node.type in ("alias", "dot") or text(node) == "__MODULE__":
        yield text(node)


def _resolver(repository: Repository) -> Resolve:
    def resolve(path: str, written: Written) -> tuple[str, ...]:
        return tuple(file for file in repository.modules.get(written.module, ()) if file != path)

    return resolve


def _is_test(path: str) -> bool:
    return path.endswith("_test.exs") or (path.endswith(".exs") and among(path, "test"))


ELIXIR = Rules(
    grammar=lambda _path: tree_sitter_elixir.language(),
    definitions=_DEFINITIONS,
    imports=_IMPORTS,
    symbols=_symbols,
    written=_written,
    resolver=_resolver,
    is_test=_is_test,
)
