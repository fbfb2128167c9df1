"""The tree of an expression of pipeline_ex."""

from dataclasses import dataclass

Constant = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Const:
    """A literal."""

    value: Constant


@dataclass(frozen=True, slots=True)
class Text:
    """A quoted text with templates in it."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Path:
    """A name and what is looked up in it; `*` stands for every entry."""

    root: str
    parts: tuple["str | int | Node", ...] = ()


@dataclass(frozen=True, slots=True)
class Inside:
    """What is looked up in any other expression."""

    base: "Node"
    parts: tuple["str | int | Node", ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function of pipeline_ex, its name as written."""

    name: str
    args: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Unary:
    """`not x`, `-x`, `x exists`, `x empty`."""

    sign: str
    value: "Node"


@dataclass(frozen=True, slots=True)
class Binary:
    """`left sign right`, the sign in our spelling."""

    sign: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Between:
    """`value between low and high`, both ends included."""

    value: "Node"
    low: "Node"
    high: "Node"


@dataclass(frozen=True, slots=True)
class Ternary:
    """`test ? yes : no`."""

    test: "Node"
    yes: "Node"
    no: "Node"


@dataclass(frozen=True, slots=True)
class Listing:
    """`[a, b]`."""

    entries: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Record:
    """`{a: 1}`."""

    entries: tuple[tuple[str, "Node"], ...]


Node = Const | Text | Path | Inside | Call | Unary | Binary | Between | Ternary | Listing | Record
