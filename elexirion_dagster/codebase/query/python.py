"""Python: definitions, imports, and the files that modules are."""

import sys
from collections.abc import Sequence
from dataclasses import replace

import tree_sitter_python
from tree_sitter import Node

from elexirion_dagster.codebase.query.rules import Repository, Resolve, Rules, among, ancestors, below, folder
from elexirion_dagster.codebase.query.syntax import Captures, Symbol, Written, definitions, first_line, last_line, text

_DEFINITIONS = """
(class_definition name: (identifier) @name) @class
(function_definition name: (identifier) @name) @function
"""
_IMPORTS = "[(import_statement) (import_from_statement) (future_import_statement)] @import"
_HOLDS_STATEMENTS = frozenset(
    {
        *("function_definition", "class_definition", "decorated_definition", "block"),
        *("if_statement", "elif_clause", "else_clause", "for_statement", "while_statement", "with_statement"),
        *("try_statement", "except_clause", "except_group_clause", "finally_clause"),
        *("match_statement", "case_clause"),
    }
)
_PROJECT = ("pyproject.toml", "setup.py", "setup.cfg")


def _symbols(found: Sequence[Captures]) -> list[Symbol]:
    placed = ((one.symbol(public=_public(one.name)), one.node) for one in definitions(found))
    return [replace(symbol, end_line=last_line(_last_statement(node))) for symbol, node in placed]


def _last_statement(node: Node) -> Node:
    """The last statement inside a definition, for the grammar counts comments behind it too."""
    while node.type in _HOLDS_STATEMENTS:
        inside = [child for child in node.named_children if child.type != "comment"]
        if not inside:
            break
        node = inside[-1]
    return node


def _public(name: str) -> bool:
    return not name.startswith("_") or (name.startswith("__") and name.endswith("__"))


def _written(found: Sequence[Captures]) -> list[Written]:
    statements = [captures["import"][0] for captures in found]
    return [written for node in statements for written in _of_statement(node)]


def _of_statement(node: Node) -> list[Written]:
    names = tuple(_dotted(name) for name in node.children_by_field_name("name"))
    if node.type == "import_statement":
        return [Written(first_line(node), name) for name in names]
    if node.type == "future_import_statement":
        return [Written(first_line(node), "__future__", names, "from")]
    module = node.child_by_field_name("module_name")
    if any(child.type == "wildcard_import" for child in node.children):
        names = ("*",)
    return [Written(first_line(node), _dotted(module), names, "from")] if module else []


def _dotted(node: Node) -> str:
    """A name without `as` and white space."""
    inner = node.child_by_field_name("name") if node.type == "aliased_import" else node
    return "".join(text(inner).split()) if inner else ""


class _Modules:
    """Where modules are looked for: beside the importing file, in the folders around it, in projects."""

    def __init__(self, repository: Repository) -> None:
        self._paths = repository.paths
        homes = {folder(path) for path in repository.named(*_PROJECT)}
        self._projects = [place for home in sorted(homes) for place in (below(home, "src"), home)]
        self._roots: dict[str, list[str]] = {}

    def resolve(self, path: str, written: Written) -> tuple[str, ...]:
        """The files of an import; of `from a import b` the module `a.b` where there is one, else `a`."""
        name = written.module.lstrip(".")
        level = len(written.module) - len(name)
        parts = name.split(".") if name else []
        if level:
            around = ancestors(path)
            return self._files(path, below(around[level - 1], "/".join(parts)), written) if level <= len(around) else ()
        for root in self._around(path):
            if parts[0] in sys.stdlib_module_names and below(root, f"{parts[0]}/__init__.py") not in self._paths:
                continue
            if found := self._files(path, below(root, "/".join(parts)), written):
                return found
        return ()

    def _files(self, path: str, module: str, written: Written) -> tuple[str, ...]:
        """The files of the module at a path without ending, or of what is taken from it."""
        if written.form == "import":
            found = [self._module(module)]
        else:
            whole = self._module(module)
            found = [self._module(below(module, name)) or whole for name in written.names if name != "*"]
            found += [whole] if "*" in written.names else []
        return tuple(sorted({file for file in found if file and file != path}))

    def _module(self, place: str) -> str | None:
        endings = ("/__init__.py", ".py", "/__init__.pyi", ".pyi") if place else ("__init__.py",)
        return next((file for ending in endings if (file := place + ending) in self._paths), None)

    def _around(self, path: str) -> list[str]:
        home = folder(path)
        if home not in self._roots:
            outside = [place for place in ancestors(path) if below(place, "__init__.py") not in self._paths]
            near = [place for root in outside for place in (root, below(root, "src"))]
            self._roots[home] = list(dict.fromkeys([*near, "", *self._projects]))
        return self._roots[home]


def _resolver(repository: Repository) -> Resolve:
    return _Modules(repository).resolve


def _is_test(path: str) -> bool:
    name = path.rpartition("/")[2]
    own = name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py"
    return own or among(path, "tests", "test")


PYTHON = Rules(
    grammar=lambda _path: tree_sitter_python.language(),
    definitions=_DEFINITIONS,
    imports=_IMPORTS,
    symbols=_symbols,
    written=_written,
    resolver=_resolver,
    is_test=_is_test,
)
