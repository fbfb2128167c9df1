"""The tree of an expression of pipeline_ex to the text of one of ours."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

from elexirion_dagster.dialects.pipeline_ex.expressions.functions import FUNCTIONS, plain_name
from elexirion_dagster.dialects.pipeline_ex.expressions.lookups import Lookups, Unresolvable
from elexirion_dagster.dialects.pipeline_ex.expressions.nodes import (
    Between,
    Binary,
    Call,
    Const,
    Inside,
    Listing,
    Node,
    Path,
    Record,
    Ternary,
    Text,
    Unary,
)
from elexirion_dagster.dialects.pipeline_ex.expressions.pieces import (
    AND,
    ATOM,
    COMPARE,
    JOIN,
    NOT,
    OR,
    PRODUCT,
    SIGN,
    SUM,
    TERNARY,
    Kind,
    Piece,
    infix,
    instant,
    literal,
    matched,
)
from elexirion_dagster.errors import ExpressionError

_ORDERS = frozenset({"<", "<=", ">", ">="})
_TIMES = frozenset({"moment", "instant"})
_ZERO_IS_FALSE = "the number 0 as a condition is false here; pipeline_ex took it for true"
_NO_ZERO = "division by zero is an error here; pipeline_ex went on with 0"


@dataclass(frozen=True, slots=True)
class Emitter:
    """Emits expressions; `item` says that bare names are fields of `item`."""

    lookups: Lookups
    item: bool = False
    notes: dict[str, None] = field(default_factory=dict)
    """What changed in meaning, in the order found."""

    def value(self, node: Node) -> Piece:  # noqa: PLR0911 - one return per kind of node
        """The expression for its value. Raises Unresolvable, ExpressionError."""
        match node:
            case Const(value):
                kind: Kind = "text" if isinstance(value, str) else "bool" if isinstance(value, bool) else "any"
                return Piece(literal(value), SIGN if isinstance(value, int | float) and value < 0 else ATOM, kind)
            case Path():
                return self.lookups.path(node, self)
            case Inside(base, parts):
                return self.lookups.follow(self.value(base), parts, self)
            case Call():
                return self._called(node)
            case Unary() | Between():
                return self._judged(node)
            case Binary():
                return self._binary(node)
        return self._made(node)

    def truth(self, node: Node) -> Piece:
        """The expression for its truth: a field that is not there is false, a step stands for its having run."""
        match node:
            case Binary("and" | "or" as sign, left, right):
                level = AND if sign == "and" else OR
                return Piece(f"{self.truth(left).at(level)} {sign} {self.truth(right).at(level + 1)}", level, "bool")
            case Path() if (step := self.lookups.step_of(node)) is not None:
                return Piece(f"{step}.status in ['succeeded', 'degraded']", COMPARE, "bool")
        piece = self.value(node)
        if not piece.lookup:
            return piece
        self.note(_ZERO_IS_FALSE)
        return piece.piped("default(false)")

    def over_items(self, node: Node, *, condition: bool) -> str:
        """The text of an expression over `item`, for `where` and `each`; a quoted one is read first."""
        inner = replace(self, item=True)
        if isinstance(node, Const) and isinstance(node.value, str):
            node = self.lookups.parsed(node.value)
        return (inner.truth(node) if condition else inner.value(node)).text

    def note(self, text: str) -> None:
        """Remember what changed in meaning."""
        self.notes[text] = None

    def _called(self, node: Call) -> Piece:
        function = FUNCTIONS.get(plain_name(node.name))
        if function is None:
            near = get_close_matches(plain_name(node.name), FUNCTIONS, n=1)
            mend = f"Did you mean {near[0]}?" if near else None
            raise ExpressionError(f"there is no function {node.name!r} in pipeline_ex", mend=mend)
        if not function.least <= len(node.args) <= function.most:
            wanted = f"{function.least} to {function.most}" if function.least < function.most else f"{function.least}"
            raise ExpressionError(f"{node.name} takes {wanted} arguments, got {len(node.args)}")
        return function.emit(self, node.args)

    def _judged(self, node: Unary | Between) -> Piece:
        match node:
            case Between(value, low, high):
                pieces = _same_time([self.value(one) for one in (low, value, high)])
                return Piece(" <= ".join(piece.at(SUM) for piece in pieces), COMPARE, "bool")
            case Unary("not", value):
                return Piece(f"not {self.truth(value).at(NOT)}", NOT, "bool")
            case Unary("-", value):
                return Piece(f"-{self.value(value).at(ATOM)}", SIGN, "number")
            case Unary("exists" | "missing" as word, value):
                if isinstance(value, Path) and (step := self.lookups.step_of(value)) is not None:
                    return Piece(f"{step}.status {'!=' if word == 'exists' else '=='} 'skipped'", COMPARE, "bool")
                test = "is not none" if word == "exists" else "is none"
                return Piece(f"{self.value(value).piped('default(none)').text} {test}", COMPARE, "bool")
        test = "is empty" if node.sign == "empty" else "is not empty"
        return Piece(f"{self.value(node.value).piped('default(none)').text} {test}", COMPARE, "bool")

    def _binary(self, node: Binary) -> Piece:  # noqa: PLR0911 - one return per kind of operator
        if node.sign in {"and", "or"}:
            level = AND if node.sign == "and" else OR
            return Piece(f"{self.truth(node.left).at(level)} {node.sign} {self.value(node.right).at(level + 1)}", level)
        left, right = self.value(node.left), self.value(node.right)
        match node.sign:
            case "==" | "!=" if "none" in {left.text, right.text}:
                other = (left if right.text == "none" else right).piped("default(none)")
                return Piece(f"{other.text} {'is' if node.sign == '==' else 'is not'} none", COMPARE, "bool")
            case "contains":
                return infix("in", right, left, SUM).as_test()
            case "matches":
                return matched(left, right, self.note)
            case "startswith" | "endswith":
                return left.method(f"{node.sign}({right.text})", "bool")
            case "+" | "-":
                return _sum(node.sign, left, right)
            case "*" | "/" | "%":
                return self._product(node, left, right)
        left, right = _same_time([left, right])
        chained = isinstance(node.left, Binary) and {node.left.sign, node.sign} <= _ORDERS
        return Piece(f"{left.text if chained else left.at(SUM)} {node.sign} {right.at(SUM)}", COMPARE, "bool")

    def _product(self, node: Binary, left: Piece, right: Piece) -> Piece:
        if node.sign != "*" and not (isinstance(node.right, Const) and node.right.value):
            self.note(_NO_ZERO)
        return infix(node.sign, left, right, PRODUCT, "number")

    def _made(self, node: Text | Ternary | Listing | Record | Node) -> Piece:
        match node:
            case Text(parts):
                texts = [self.value(part).at(PRODUCT) for part in parts]
                return Piece(" ~ ".join(texts if len(texts) > 1 else [*texts, "''"]), JOIN, "text")
            case Ternary(test, yes, no):
                chosen, asked, other = self.value(yes).at(OR), self.truth(test).at(OR), self.value(no).at(OR)
                return Piece(f"{chosen} if {asked} else {other}", TERNARY)
            case Listing(entries):
                return Piece(f"[{', '.join(self.value(entry).text for entry in entries)}]", ATOM, "list")
            case Record(fields):
                inside = ", ".join(f"{literal(key)}: {self.value(entry).text}" for key, entry in fields)
                return Piece(f"{{{inside}}}")
        raise Unresolvable("cannot be expressed")


def _same_time(pieces: Sequence[Piece]) -> list[Piece]:
    """What is compared with a point of time is one."""
    if not any(piece.kind in _TIMES for piece in pieces):
        return list(pieces)
    return [instant(piece) for piece in pieces]


def _sum(sign: str, left: Piece, right: Piece) -> Piece:
    kinds = {left.kind, right.kind}
    if kinds & _TIMES or (right.kind == "duration" and left.kind != "duration"):
        if right.kind == "duration":
            return infix(sign, instant(left), right, SUM, "instant")
        if left.kind == "duration" and sign == "+":
            return infix(sign, left, instant(right), SUM, "instant")
        return infix(sign, instant(left), instant(right), SUM, "duration" if sign == "-" else "instant")
    if sign == "+" and "text" in kinds:
        return infix("~", left, right, JOIN, "text")
    return infix(sign, left, right, SUM, "duration" if kinds == {"duration"} else "any")
