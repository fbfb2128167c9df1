"""JavaScript and TypeScript: definitions, imports, and the files that specifiers mean."""

from collections import deque
from collections.abc import Iterator, Sequence

import tree_sitter_javascript
import tree_sitter_typescript
from tree_sitter import Node

from elexirion_dagster.codebase.query.javascript_paths import resolver
from elexirion_dagster.codebase.query.rules import Rules, among
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
(class_declaration name: (_) @name) @class
(class name: (_) @name) @class
(function_declaration name: (_) @name) @function
(generator_function_declaration name: (_) @name) @function
(method_definition name: (_) @name) @method
(variable_declarator name: (identifier) @name
  value: [(arrow_function) (function_expression) (generator_function)]) @function
(variable_declarator name: (identifier) @name value: (class !name)) @class
(export_statement) @exports
(import_statement) @module_file
(export_statement declaration: (_) @exported)
(export_statement !source (export_clause (export_specifier name: (identifier) @exported_name)))
(export_statement value: (identifier) @exported_name)
"""
_FIELD = "({field} {name}: (_) @name value: [(arrow_function) (function_expression)]) @method"
_JAVASCRIPT = _DEFINITIONS + _FIELD.format(field="field_definition", name="property")
_TYPESCRIPT = (
    _DEFINITIONS
    + _FIELD.format(field="public_field_definition", name="name")
    + """
(abstract_class_declaration name: (_) @name) @class
(interface_declaration name: (_) @name) @interface
(enum_declaration name: (_) @name) @enum
(type_alias_declaration name: (_) @name) @type
(module name: (_) @name) @module
(internal_module name: (_) @name) @module
(function_signature name: (_) @name) @function
(method_signature name: (_) @name) @method
(abstract_method_signature name: (_) @name) @method
"""
)
_IMPORTS = """
(import_statement (import_clause)? @clause source: (string) @module) @import
(export_statement (export_clause)? @clause source: (string) @module) @import
(call_expression function: (import) arguments: (arguments . (string) @module)) @import
(call_expression function: (identifier) @word arguments: (arguments . (string) @module) (#eq? @word "require")) @import
"""
_TYPED_IMPORTS = _IMPORTS + "(import_require_clause source: (string) @module) @import"
_HIDDEN = ("private", "protected")


def _symbols(found: Sequence[Captures]) -> list[Symbol]:
    placed = definitions(found)
    module = any("exports" in captures or "module_file" in captures for captures in found)
    names = {text(captures["exported_name"][0]) for captures in found if "exported_name" in captures}
    exports = [node for captures in found for node in captures.get("exported", ())]
    spans = deque(sorted((node.start_byte, node.end_byte) for node in exports))
    symbols = []
    for one in placed:
        while spans and spans[0][1] <= one.node.start_byte:
            spans.popleft()
        exported = one.name in names or bool(spans and spans[0][0] <= one.node.start_byte)
        symbols.append(one.symbol(public=_public(one, exported=exported, module=module)))
    return symbols


def _public(one: Definition, *, exported: bool, module: bool) -> bool | None:
    """Whether other code can name it: a member that is not private, what a module exports; unknown in a script."""
    if one.kind == "method":
        words = {text(child) for child in one.node.children if child.type == "accessibility_modifier"}
        return not one.name.startswith("#") and words.isdisjoint(_HIDDEN)
    if one.within and one.within[-1].kind != "module":
        return False
    return exported if module else None


def _written(found: Sequence[Captures]) -> list[Written]:
    written: dict[int, Written] = {}
    for captures in found:
        source = captures["module"][0]
        names = [name for clause in captures.get("clause", ()) for name in _names(clause.named_children)]
        line = first_line(captures["import"][0])
        written.setdefault(source.id, Written(line, text(source)[1:-1], tuple(names)))
    return sorted(written.values(), key=lambda one: one.line)


def _names(nodes: Sequence[Node]) -> Iterator[str]:
    """What a clause takes: `default`, `*` for all, and names."""
    for node in nodes:
        match node.type:
            case "identifier":
                yield "default"
            case "namespace_import":
                yield "*"
            case "named_imports":
                yield from _names(node.named_children)
            case "import_specifier" | "export_specifier":
                name = node.child_by_field_name("name")
                yield text(name) if name else ""


def _is_test(path: str) -> bool:
    name = path.rpartition("/")[2]
    return ".test." in name or ".spec." in name or among(path, "__tests__", "test", "tests")


def _typed(path: str) -> object:
    tsx = path.lower().endswith(".tsx")
    return tree_sitter_typescript.language_tsx() if tsx else tree_sitter_typescript.language_typescript()


JAVASCRIPT = Rules(
    grammar=lambda _path: tree_sitter_javascript.language(),
    definitions=_JAVASCRIPT,
    imports=_IMPORTS,
    symbols=_symbols,
    written=_written,
    resolver=resolver,
    is_test=_is_test,
)
TYPESCRIPT = Rules(
    grammar=_typed,
    definitions=_TYPESCRIPT,
    imports=_TYPED_IMPORTS,
    symbols=_symbols,
    written=_written,
    resolver=resolver,
    is_test=_is_test,
)
