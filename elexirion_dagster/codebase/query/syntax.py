"""What all languages share: a file's syntax tree, its definitions with what encloses them, its first bad line."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from tree_sitter import Language, Node, Parser, Query, QueryCursor

from elexirion_dagster.records import Json

Captures = Mapping[str, Sequence[Node]]

KINDS = frozenset(
    {
        *("function", "method", "class", "module", "interface", "struct", "enum", "trait", "type", "macro"),
        *("scope", "import"),
    }
)
"""Capture names that mark a definition, or an import whose place counts; a `scope` merely names what is around."""
_OWNERS = frozenset({"class", "interface", "struct", "enum", "trait", "scope"})
_MOST_LEVELS = 8
_BROKEN = "(ERROR) @bad (MISSING) @bad"


@dataclass(frozen=True, slots=True)
class Symbol:
    """One definition; lines are 1-based, `public` is None where the language does not say."""

    name: str
    kind: str
    line: int
    end_line: int
    parent: str | None
    public: bool | None

    def to_json(self) -> dict[str, Json]:
        """The definition as a JSON object; written out because `asdict` took a seventh of the time."""
        return {
            "name": self.name,
            "kind": self.kind,
            "line": self.line,
            "end_line": self.end_line,
            "parent": self.parent,
            "public": self.public,
        }


@dataclass(frozen=True, slots=True)
class Written:
    """One import as it stands in a file.

    `names` are what is taken from the module, `form` is the language's word for it, `scope` the modules of the same
    file that it stands in.
    """

    line: int
    module: str
    names: tuple[str, ...] = ()
    form: str = "import"
    scope: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Json]:
        """The import as a JSON object; `from_json` reads it back."""
        names, scope = list(self.names), list(self.scope)
        return {"line": self.line, "module": self.module, "names": names, "form": self.form, "scope": scope}

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> "Written":
        """The import that `to_json` wrote."""
        return cls(**{**value, "names": tuple(value["names"]), "scope": tuple(value["scope"])})


@dataclass(frozen=True, slots=True)
class Definition:
    """A definition as found; `within` are the ones around it, outermost first, the nearest eight."""

    kind: str
    name: str
    node: Node
    within: tuple["Definition", ...]
    captures: Captures

    def symbol(self, *, public: bool | None, separator: str = ".") -> Symbol:
        """The definition as a record."""
        parent = separator.join(outer.name for outer in self.within) or None
        return Symbol(self.name, self.kind, first_line(self.node), last_line(self.node), parent, public)


@cache
def compiled(language: Language, source: str) -> Query:
    """A query, compiled once."""
    return Query(language, source)


def parse(language: Language, data: bytes) -> Node:
    """The root of the syntax tree of `data` (UTF-8)."""
    return Parser(language).parse(data).root_node


def matches(query: Query, root: Node) -> list[Captures]:
    """All matches in the order of the text; of two patterns on one node the earlier pattern comes first."""
    found = QueryCursor(query).matches(root)
    return [captures for _, captures in sorted(found, key=lambda match: match[0])]


def text(node: Node) -> str:
    """The source text of a node."""
    return (node.text or b"").decode("utf-8", "replace")


def first_line(node: Node) -> int:
    """The 1-based line a node begins on."""
    return int(node.start_point[0]) + 1


def last_line(node: Node) -> int:
    """The 1-based line a node ends on; one that ends with a line end ends before it."""
    row, column = node.end_point
    return max(row if column == 0 else row + 1, first_line(node))


def bad_line(language: Language, root: Node) -> int | None:
    """The first line that could not be understood, or None."""
    if not root.has_error:
        return None
    broken = [node for captures in matches(compiled(language, _BROKEN), root) for node in captures["bad"]]
    return min((first_line(node) for node in broken), default=1)


def definitions(found: Iterable[Captures]) -> list[Definition]:
    """The definitions among the matches, in the order of the text, a node once."""
    nodes: dict[int, tuple[str, str, Node, Captures]] = {}
    for captures in found:
        for kind, name in _named(captures):
            node = captures[kind][0]
            nodes.setdefault(node.id, (kind, name, node, captures))
    around: list[Definition] = []
    placed = []
    for kind, name, node, captures in sorted(nodes.values(), key=lambda one: (one[2].start_byte, -one[2].end_byte)):
        while around and around[-1].node.end_byte <= node.start_byte:
            around.pop()
        owned = kind == "function" and bool(around) and around[-1].kind in _OWNERS
        within = tuple(around[-_MOST_LEVELS:])
        placed.append(Definition("method" if owned else kind, name, node, within, captures))
        around.append(placed[-1])
    return placed


def _named(captures: Captures) -> Iterator[tuple[str, str]]:
    kind = next((capture for capture in captures if capture in KINDS), None)
    if kind is not None and "name" in captures and (name := text(captures["name"][0])):
        yield kind, name
