"""Python's own parser is the truth for what tree-sitter reads."""

import ast
from pathlib import Path

import pytest

from elexirion_dagster.codebase.query.worker import read

REPOSITORY = Path(__file__).parents[2]
FILES = sorted(
    path
    for room in ("elexirion_dagster", "optimizer_assets", "tests", "benchmarks")
    for path in (REPOSITORY / room).rglob("*.py")
    if "data" not in path.parts  # other people's, broken on purpose
)


def definitions(tree, around=(), owner=None):
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            is_class = isinstance(node, ast.ClassDef)
            kind = "class" if is_class else "method" if isinstance(owner, ast.ClassDef) else "function"
            yield node.lineno, node.end_lineno, node.name, kind, ".".join(around) or None
            yield from definitions(node, (*around, node.name), node)
        else:
            yield from definitions(node, around, owner)


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or ""), tuple(alias.name for alias in node.names)


def found(path, wanted):
    answer = read(str(path), "python", path.read_bytes(), wanted)
    assert answer["reason"] is None
    return answer["found"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_definitions_and_imports_are_those_that_python_sees(path):
    tree = ast.parse(path.read_bytes())
    symbols = [
        (one["line"], one["end_line"], one["name"], one["kind"], one["parent"]) for one in found(path, "symbols")
    ]
    assert sorted(symbols, key=str) == sorted(definitions(tree), key=str)
    written = [(one["line"], one["module"], tuple(one["names"])) for one in found(path, "imports")]
    assert sorted(written) == sorted(imports(tree))
