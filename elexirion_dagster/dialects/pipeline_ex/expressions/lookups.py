"""What the names of an expression of pipeline_ex stand for here."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from elexirion_dagster.dialects.pipeline_ex.expressions.nodes import Node, Path
from elexirion_dagster.dialects.pipeline_ex.expressions.parser import ITEM, parse
from elexirion_dagster.dialects.pipeline_ex.expressions.pieces import COMPARE, Piece
from elexirion_dagster.dialects.pipeline_ex.expressions.results import Addressing, Part
from elexirion_dagster.dialects.pipeline_ex.expressions.scope import Names, Shape, own_name
from elexirion_dagster.errors import ExpressionError

_VARIABLES = frozenset({"state", "global_vars", "variables", "vars", "global", "session", "local"})
_INPUTS = frozenset({"inputs", "input", "params"})
_ELSEWHERE = frozenset({"env", "environment", "config", "system", "codebase", "secrets"})
_SCOPES = frozenset({*_VARIABLES, *_INPUTS, "steps", "loop", "workflow", "run"})
_REFERENCES = frozenset({"previous_response", "previous_response:", "context:"})
_SHADOWED = frozenset({*_VARIABLES, *_INPUTS, "workflow"})
"""Scopes that a step or variable of the same name hides."""
_WORDS = {
    "timestamp": Piece("run.started_at | date('%Y%m%d%H%M')", kind="text"),
    "date": Piece("run.started_at | date('%Y-%m-%d')", kind="text"),
    "now": Piece("run.started_at", kind="moment"),
    "execution_id": Piece("run.id", kind="text"),
    "run_id": Piece("run.id", kind="text"),
}
_LOOP = {
    "index": Piece("loop.index0", kind="number"),
    "index0": Piece("loop.index0", kind="number"),
    "iteration": Piece("loop.index", kind="number"),
    **dict.fromkeys(("total", "length"), Piece("loop.length", kind="number")),
    **dict.fromkeys(("first", "is_first"), Piece("loop.index0 == 0", COMPARE, "bool")),
    **dict.fromkeys(("last", "is_last"), Piece("loop.index == loop.length", COMPARE, "bool")),
}


class Unresolvable(ExpressionError):  # noqa: N818 - says what the expression is
    """The expression is well formed, but a name in it means nothing here."""

    def __init__(self, message: str) -> None:
        super().__init__(message, mend="Name a step, an input, a variable or the item of a loop.")


class Emits(Protocol):
    """The emitter, as far as look-ups need it."""

    @property
    def item(self) -> bool:
        """Whether bare names are fields of `item`."""

    def value(self, node: Node) -> Piece:
        """Emit a computed position."""

    def note(self, text: str) -> None:
        """Remember a remark."""


@dataclass(frozen=True, slots=True)
class Lookups:
    """Resolves names. `steps_first`: a bare name is rather a step than a variable, as in conditions.

    `must`: a name that nothing declares becomes an input even where fields of it are asked for.
    """

    names: Names
    steps_first: bool
    must: bool
    unresolved: dict[str, None] = field(default_factory=dict)

    def parsed(self, text: str) -> Node:
        """Parse an expression in which the same names are known."""
        return parse(text, self.names.known)

    def step_of(self, path: Path) -> str | None:
        """How the step's result is addressed when the path is nothing but a step, else None."""
        prefixed = path.parts and path.root in {"steps", "previous_response:"}
        name, parts = (path.parts[0], path.parts[1:]) if prefixed else (path.root, path.parts)
        if parts or not isinstance(name, str) or not self._is_step(name, bare=name == path.root):
            return None
        step = self.names.own(name)
        return self.names.results.get(step, Shape()).at or f"steps.{step}"

    def path(self, path: Path, emits: Emits) -> Piece:
        """The value of a dotted path. Raises Unresolvable."""
        if path.root == ITEM and not emits.item:
            raise Unresolvable("there is no item here that this could mean")
        if path.root == ITEM or (emits.item and path.root == "item"):
            return self.follow(Piece("item"), path.parts, emits)
        if emits.item and not self._is_scoped(path):
            whole = path.root == "value" and not path.parts
            return Piece("item") if whole else self.follow(Piece("item"), (path.root, *path.parts), emits)
        if path.parts and not (path.root in _SHADOWED and self._is_declared(path.root)):
            return self._scoped(path, emits)
        return self._bare(path, emits)

    def _is_scoped(self, path: Path) -> bool:
        """Whether a path over items begins with the name of a scope, and is no field that is called like one."""
        if not path.parts or not isinstance(name := path.parts[0], str):
            return False
        if path.root in _VARIABLES | _INPUTS | {"steps"}:
            return self._is_declared(name)
        return path.root in _SCOPES | _REFERENCES

    def _scoped(self, path: Path, emits: Emits) -> Piece:  # noqa: PLR0911 - one return per scope
        """A path that may begin with the name of a scope."""
        match path.root, path.parts:
            case "steps", (str() as name, *rest):
                return self._step(name, tuple(rest), emits)
            case root, (str() as name, *rest) if root in _VARIABLES:
                return self._variable(name, tuple(rest), emits)
            case root, (str() as name, *rest) if root in _INPUTS:
                return self._input(name, tuple(rest), emits)
            case "loop", parts:
                return self._loop(parts, emits)
            case "previous_response", parts:
                return self._previous(parts, emits)
            case "previous_response:", (str() as name, *rest):
                return self._step(name, tuple(rest), emits)
            case "context:", (str() as name, *rest):
                return self.path(Path(name, tuple(rest)), emits)
            case "workflow", parts:
                return self._workflow(parts, emits)
        return self._bare(path, emits)

    def follow(self, piece: Piece, parts: Sequence[Part], emits: Emits) -> Piece:
        """Look parts up in a value."""
        return self._addressing(emits).follow(piece, parts)

    def _addressing(self, emits: Emits) -> Addressing:
        return Addressing(self.names, lambda node: emits.value(node).text, emits.note)

    def _is_step(self, name: str, *, bare: bool) -> bool:
        own = self.names.own(name)
        return own in self.names.steps and not (bare and not self.steps_first and self._is_value(name))

    def _is_value(self, name: str) -> bool:
        return any(
            self.names.own(name) in names for names in (self.names.loop_names, self.names.vars, self.names.inputs)
        )

    def _is_declared(self, name: str) -> bool:
        return self._is_value(name) or self.names.own(name) in self.names.steps

    def _step(self, name: str, parts: tuple[Part, ...], emits: Emits) -> Piece:
        if self._is_step(name, bare=False):
            return self._addressing(emits).result(self.names.own(name), parts)
        if name == "previous" and self.names.previous:
            return self._addressing(emits).result(self.names.previous, parts)
        if not self.must:
            raise Unresolvable(f"there is no step {name!r} here")
        emits.note(f"there is no step {name!r} here")
        return self.follow(Piece("steps"), (own_name(name), *parts), emits)

    def _variable(self, name: str, parts: tuple[Part, ...], emits: Emits) -> Piece:
        own = self.names.own(name)
        if own not in self.names.vars and self._is_declared(name):
            return self._bare(Path(name, parts), emits)
        return self.follow(self._declared("vars", own, self.names.vars), parts, emits)

    def _input(self, name: str, parts: tuple[Part, ...], emits: Emits) -> Piece:
        return self.follow(self._declared("inputs", self.names.own(name), self.names.inputs), parts, emits)

    def _declared(self, scope: str, own: str, names: frozenset[str]) -> Piece:
        if own in names:
            return Piece(f"{scope}.{own}")
        self.unresolved[own] = None
        return Piece(f"inputs.{own}")

    def _loop(self, parts: tuple[Part, ...], emits: Emits) -> Piece:
        outer = [part for part in parts if part == "parent"]
        word, *rest = parts[len(outer) :] or ("",)
        if isinstance(word, str) and self.names.own(word) in self.names.loop_names:
            return self.follow(Piece(self.names.own(word)), rest, emits)
        if word == "item" and (item := self._item(len(outer))):
            return self.follow(Piece(item), rest, emits)
        if not outer and not rest and isinstance(word, str) and word in _LOOP:
            return _LOOP[word]
        raise Unresolvable(f"loop.{'.'.join(map(str, parts))} is not known here")

    def _item(self, outer: int) -> str:
        """The item name of the innermost loop, or of the one around it where there are only two."""
        others = self.names.loop_names - {self.names.item}
        if outer == 0 and self.names.item:
            return self.names.item
        return next(iter(others)) if len(others) == 1 and outer == bool(self.names.item) else ""

    def _previous(self, parts: tuple[Part, ...], emits: Emits) -> Piece:
        if parts and isinstance(parts[0], str) and self._is_step(parts[0], bare=False):
            return self._step(parts[0], parts[1:], emits)
        if self.names.previous:
            return self._addressing(emits).result(self.names.previous, parts)
        raise Unresolvable("there is no previous step that this could mean")

    def _workflow(self, parts: tuple[Part, ...], emits: Emits) -> Piece:
        match parts:
            case ("workflow", *rest):
                return self._workflow(tuple(rest), emits)
            case ("name",):
                return Piece("run.pipeline", kind="text")
            case (str() as root, _, *_) if root in _VARIABLES | _INPUTS:
                return self.path(Path(root, parts[1:]), emits)
        raise Unresolvable(f"workflow.{'.'.join(map(str, parts))} is not known here")

    def _bare(self, path: Path, emits: Emits) -> Piece:  # noqa: PLR0911 - one return per meaning
        own = self.names.own(path.root)
        if own in self.names.loop_names:
            return self.follow(Piece(own), path.parts, emits)
        if self._is_step(path.root, bare=True):
            return self._step(path.root, path.parts, emits)
        if own in self.names.vars:
            return self.follow(Piece(f"vars.{own}"), path.parts, emits)
        if own in self.names.inputs:
            return self.follow(Piece(f"inputs.{own}"), path.parts, emits)
        if path.root == "previous_response":
            return self._previous(path.parts, emits)
        if path.root in _WORDS and not path.parts:
            return _WORDS[path.root]
        return self._undeclared(path, own, emits)

    def _undeclared(self, path: Path, own: str, emits: Emits) -> Piece:
        dotted, parts = ".".join(map(str, (path.root, *path.parts))), path.parts
        if path.root in _SCOPES | _REFERENCES or (parts and not self.must and path.root not in _ELSEWHERE):
            raise Unresolvable(f"{dotted} is not known here")
        if path.root in _ELSEWHERE and parts and isinstance(parts[0], str):
            own, parts = own_name(f"{path.root}_{parts[0]}"), parts[1:]
        emits.note(f"{dotted} is declared nowhere, so it is asked for as the input {own}")
        return self.follow(self._declared("inputs", own, self.names.inputs), parts, emits)
