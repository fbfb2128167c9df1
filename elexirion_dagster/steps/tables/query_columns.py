"""Which columns a query refers to, read from DuckDB's own syntax tree: an empty list does not say which it has."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from elexirion_dagster.records import Json


def wanted_columns(tree: Json, tables: Mapping[str, frozenset[str] | None]) -> dict[str, list[str]]:
    """The columns that a query wants of each table whose own are not known (None), in the order of their mention.

    `tables` has the columns of the others, in lower case. A column without its table's name belongs to the first such
    table of its SELECT, unless another table there has it, or an alias there means it.
    """
    found: dict[str, dict[str, str]] = {name: {} for name, columns in tables.items() if columns is None}
    for select in _selects(tree):
        for chain, within in select.columns:
            owner = select.owner(chain, within, tables)
            if owner in found:
                column = chain[1] if len(chain) > 1 and chain[0].lower() in select.tables else chain[0]
                found[owner].setdefault(column.lower(), column)
        for owner in set(select.tables.values()) & found.keys():
            found[owner].update({column.lower(): column for column in select.using})
    return {name: list(columns.values()) for name, columns in found.items()}


@dataclass(slots=True)
class _Select:
    """One SELECT of a query: its tables by what they are called there, its columns with the aliases around them."""

    tables: dict[str, str] = field(default_factory=dict)
    columns: list[tuple[list[str], frozenset[str]]] = field(default_factory=list)
    aliases: set[str] = field(default_factory=set)
    using: list[str] = field(default_factory=list)

    def owner(
        self, chain: list[str], within: frozenset[str], tables: Mapping[str, frozenset[str] | None]
    ) -> str | None:
        """The table whose columns are not known that a column belongs to, if any."""
        first = chain[0].lower()
        if len(chain) > 1 and first in self.tables:
            return self.tables[first]
        if first in self.aliases and first not in within:
            return None
        here = [name for name in self.tables.values() if name in tables]
        if any(first in (tables[name] or ()) for name in here):
            return None
        return next((name for name in here if tables[name] is None), None)


def _selects(tree: Json) -> Iterator[_Select]:
    """Every SELECT of a tree, inner ones apart from the outer."""
    todo: list[Json] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, dict) and "from_table" in node:
            select = _Select()
            _collect(node.values(), select, frozenset(), todo)
            yield select
        elif isinstance(node, dict | list):
            todo += node.values() if isinstance(node, dict) else node


def _collect(nodes: Iterable[Json], select: _Select, within: frozenset[str], inner: list[Json]) -> None:
    for node in nodes:
        if isinstance(node, list):
            _collect(node, select, within, inner)
        elif isinstance(node, dict) and "from_table" in node:
            inner.append(node)
        elif isinstance(node, dict):
            _note(node, select)
            alias = str(node.get("alias") or "").lower()
            inside = within | {alias} if "class" in node and alias else within
            if node.get("class") == "COLUMN_REF":
                select.columns.append((node["column_names"], inside))
            _collect(node.values(), select, inside, inner)


def _note(node: Mapping[str, Json], select: _Select) -> None:
    """Take note of a table, of an alias, of the columns that a join is made on."""
    alias = str(node.get("alias") or "").lower()
    if node.get("type") == "BASE_TABLE":
        name = str(node["table_name"]).lower()
        select.tables[alias or name] = name
    elif "class" in node and alias:
        select.aliases.add(alias)
    select.using += node.get("using_columns") or ()
