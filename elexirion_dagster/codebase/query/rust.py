"""Rust: definitions, `mod` and `use`, and the files that modules are."""

from collections.abc import Iterator, Sequence

import tree_sitter_rust
from tree_sitter import Node

from elexirion_dagster.codebase.query.rules import Rules, among
from elexirion_dagster.codebase.query.rust_paths import resolver
from elexirion_dagster.codebase.query.syntax import (
    Captures,
    Definition,
    Symbol,
    Written,
    definitions,
    first_line,
    text,
)

_DEFINITIONS = """
(function_item (visibility_modifier)? @visible name: (identifier) @name) @function
(function_signature_item (visibility_modifier)? @visible name: (identifier) @name) @function
(struct_item (visibility_modifier)? @visible name: (type_identifier) @name) @struct
(union_item (visibility_modifier)? @visible name: (type_identifier) @name) @struct
(enum_item (visibility_modifier)? @visible name: (type_identifier) @name) @enum
(trait_item (visibility_modifier)? @visible name: (type_identifier) @name) @trait
(type_item (visibility_modifier)? @visible name: (type_identifier) @name) @type
(mod_item (visibility_modifier)? @visible name: (identifier) @name body: (_)) @module
(macro_definition name: (identifier) @name) @macro
"""
_TYPES = (
    "(type_identifier) @name",
    "(scoped_type_identifier name: (type_identifier) @name)",
    "(generic_type type: (type_identifier) @name)",
    "(generic_type type: (scoped_type_identifier name: (type_identifier) @name))",
    "(_) @name",
)
_IMPLS = "".join(
    f"(impl_item {trait} type: {kind}) @scope\n" for trait in ("trait: (_) @trait_of", "") for kind in _TYPES
)
_IMPORTS = """
(mod_item name: (identifier) @name body: (_)) @module
(mod_item name: (identifier) @name !body) @import
(use_declaration argument: (_) @name) @import
(extern_crate_declaration name: (identifier) @name) @import
"""
_MOST_LEVELS = 64


def _symbols(found: Sequence[Captures]) -> list[Symbol]:
    placed = definitions(found)
    return [one.symbol(public=_public(one), separator="::") for one in placed if one.kind != "scope"]


def _public(one: Definition) -> bool | None:
    """`pub` without bounds; members of a trait are as public as the trait, which an `impl` of it does not say."""
    if one.kind == "macro":
        return None
    owner = one.within[-1] if one.within else None
    if owner is not None and "trait_of" in owner.captures:
        return None
    visible = (owner if owner is not None and owner.kind == "trait" else one).captures.get("visible")
    return bool(visible) and text(visible[0]) == "pub" if visible else False


def _written(found: Sequence[Captures]) -> list[Written]:
    written = []
    for one in definitions(found):
        if one.kind != "import":
            continue
        line, scope = first_line(one.node), tuple(outer.name for outer in one.within)
        if one.node.type == "use_declaration":
            paths = _paths(one.captures["name"][0])
            written += [Written(line, "::".join(path), form="use", scope=scope) for path in paths]
        else:
            form = "mod" if one.node.type == "mod_item" else "use"
            written.append(Written(line, one.name, form=form, scope=scope))
    return written


def _paths(tree: Node) -> Iterator[tuple[str, ...]]:
    """Every path of a `use` tree, in the order of the text."""
    todo: list[tuple[tuple[str, ...], Node]] = [((), tree)]
    while todo:
        before, node = todo.pop()
        match node.type:
            case "use_list" | "scoped_use_list":
                path = node.child_by_field_name("path")
                inside = node.child_by_field_name("list") if node.type == "scoped_use_list" else node
                head = (*before, *_segments(path))
                if inside is not None and len(head) <= _MOST_LEVELS:
                    todo += [(head, child) for child in reversed(inside.named_children)]
            case "use_wildcard":
                yield (*before, *(part for child in node.named_children[:1] for part in _segments(child)), "*")
            case "use_as_clause":
                yield (*before, *_segments(node.child_by_field_name("path")))
            case "line_comment" | "block_comment" | "ERROR":
                continue
            case _:
                yield (*before, *_segments(node))


def _segments(path: Node | None) -> tuple[str, ...]:
    return tuple("".join(text(path).split()).split("::")[:_MOST_LEVELS]) if path is not None else ()


RUST = Rules(
    grammar=lambda _path: tree_sitter_rust.language(),
    definitions=_DEFINITIONS + _IMPLS,
    imports=_IMPORTS,
    symbols=_symbols,
    written=_written,
    resolver=resolver,
    is_test=lambda path: among(path, "tests"),
)
