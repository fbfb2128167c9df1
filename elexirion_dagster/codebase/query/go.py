"""Go: definitions, imports, and the folders that packages are."""

import re
from collections.abc import Sequence

import tree_sitter_go

from elexirion_dagster.codebase.query.rules import Repository, Resolve, Rules, below, folder
from elexirion_dagster.codebase.query.syntax import Captures, Symbol, Written, definitions, first_line, text

PACKAGE = "package"
"""The form of what no import says: a file stands with the other files of its package."""
_DEFINITIONS = """
(function_declaration name: (identifier) @name) @function
(method_declaration
  receiver: (parameter_list (parameter_declaration type: [
    (type_identifier) @owner
    (generic_type type: (type_identifier) @owner)
    (pointer_type [(type_identifier) @owner (generic_type type: (type_identifier) @owner)])
  ]))
  name: (field_identifier) @name) @method
(method_declaration name: (field_identifier) @name) @method
(type_spec name: (type_identifier) @name type: (struct_type)) @struct
(type_spec name: (type_identifier) @name type: (interface_type)) @interface
(type_spec name: (type_identifier) @name) @type
(type_alias name: (type_identifier) @name) @type
"""
_IMPORTS = """
(import_spec path: (_) @module) @import
(package_clause (package_identifier) @module) @package
"""
_MODULE = re.compile(r"""^\s*module\s+["`]?([^\s"`/][^\s"`]*)""", re.MULTILINE)


def _symbols(found: Sequence[Captures]) -> list[Symbol]:
    symbols = []
    for one in definitions(found):
        symbol = one.symbol(public=one.name[:1].isupper())
        owner = one.captures.get("owner")
        parent = text(owner[0]) if owner else symbol.parent
        symbols.append(Symbol(symbol.name, symbol.kind, symbol.line, symbol.end_line, parent, symbol.public))
    return symbols


def _written(found: Sequence[Captures]) -> list[Written]:
    written = []
    for captures in found:
        form = "import" if "import" in captures else PACKAGE
        module = text(captures["module"][0]).strip('"`')
        written.append(Written(first_line(captures["module"][0]), module, form=form))
    return written


def _resolver(repository: Repository) -> Resolve:
    modules = _modules(repository)
    packages = {place: tuple(file for file in files if _code(file)) for place, files in repository.folders.items()}

    def resolve(path: str, written: Written) -> tuple[str, ...]:
        if written.form == PACKAGE:
            return packages.get(folder(path), ())
        for name, place in modules:
            if written.module == name or written.module.startswith(f"{name}/"):
                return packages.get(below(place, written.module[len(name) + 1 :]), ())
        return ()

    return resolve


def _code(path: str) -> bool:
    return path.endswith(".go") and not path.endswith("_test.go")


def _modules(repository: Repository) -> list[tuple[str, str]]:
    """The (module path, folder) of every go.mod, the longest module path first."""
    found = [(match[1], folder(path)) for path in repository.named("go.mod") for match in _said(repository, path)]
    return sorted(found, key=lambda one: (-len(one[0]), one))


def _said(repository: Repository, path: str) -> list[re.Match[str]]:
    match = _MODULE.search(repository.text(path))
    return [match] if match else []


GO = Rules(
    grammar=lambda _path: tree_sitter_go.language(),
    definitions=_DEFINITIONS,
    imports=_IMPORTS,
    symbols=_symbols,
    written=_written,
    resolver=_resolver,
    is_test=lambda path: path.endswith("_test.go"),
)
