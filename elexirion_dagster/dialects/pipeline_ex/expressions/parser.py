"""Expressions of pipeline_ex to a tree: one grammar for templates and conditions."""

import re
from collections.abc import Callable

from elexirion_dagster.dialects.pipeline_ex.expressions.cursor import MAX_OPERATORS, Cursor
from elexirion_dagster.dialects.pipeline_ex.expressions.lexer import Token
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
from elexirion_dagster.errors import ExpressionError

EXPRESSION = re.compile(r"""\{\{((?:[^{}'"]|'[^'\n]*+'|"[^"\n]*+"|['"]|\}(?!\})|\{(?!\{))*+)\}\}""")
"""One `{{ … }}` in a text; the last quote alternative lets prose with an apostrophe end at its braces."""
_MAX_DEPTH = 30
_MAX_DIGITS = 30
_COMPARISONS = {
    **{sign: sign for sign in ("==", "!=", ">=", "<=", ">", "<")},
    "===": "==",
    "!==": "!=",
    **dict.fromkeys(("contains", "includes"), "contains"),
    "in": "in",
    "not_in": "not in",
    "matches": "matches",
    **dict.fromkeys(("starts_with", "startsWith"), "startswith"),
    **dict.fromkeys(("ends_with", "endsWith"), "endswith"),
}
_AFTER = {"exists": "exists", "empty": "empty", "is_empty": "empty", "not_exists": "missing", "not_empty": "filled"}
_WORDS = {"true": True, "false": False, "null": None, "nil": None, "none": None}
ITEM = "@"


def parse(source: str, known: Callable[[str], bool]) -> Node:
    """Parse one expression. Raises ExpressionError."""
    return _Parser(source, known).whole()


def quoted(text: str, known: Callable[[str], bool]) -> Node:
    """A quoted text, whose templates are part of it."""
    parts: list[Node] = []
    end = 0
    for found in EXPRESSION.finditer(text):
        parts += [Const(text[end : found.start()]), parse(found[1], known)]
        end = found.end()
    if not parts:
        return Const(text)
    return Text(tuple(part for part in (*parts, Const(text[end:])) if part != Const("")))


class _Parser(Cursor):
    """Recursive descent over the tokens, lowest precedence first."""

    def whole(self) -> Node:
        """The whole source as one expression; one that begins with a comparison compares the item."""
        node = self._compared(Path(ITEM)) if self._peek().text in _COMPARISONS and self._peek(1).text != "(" else None
        node = node or self._expression()
        if self._peek().kind != "end":
            raise self._unexpected("the end")
        return node

    def _expression(self) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ExpressionError("nested too deeply")
        node = self._or()
        if self._take("?"):
            yes = self._expression()
            self._expect(":")
            node = Ternary(node, yes, self._expression())
        while self._take("|"):
            node = self._piped(node)
        self._depth -= 1
        return node

    def _piped(self, value: Node) -> Node:
        self._one_more()
        token = self._peek()
        if token.kind != "name":
            raise self._unexpected("the name of a function")
        self._at += 1
        return Call(token.text, (value, *(self._arguments() if self._take("(") else ())))

    def _or(self) -> Node:
        node = self._and()
        while self._take("or", "||", "OR"):
            self._one_more()
            node = Binary("or", node, self._and())
        return node

    def _and(self) -> Node:
        node = self._not()
        while self._take("and", "&&", "AND"):
            self._one_more()
            node = Binary("and", node, self._not())
        return node

    def _not(self) -> Node:
        negations = 0
        while self._take("not", "!", "NOT"):
            negations += 1
        node = self._comparison()
        return Unary("not", node) if negations % 2 else Unary("not", Unary("not", node)) if negations else node

    def _comparison(self) -> Node:
        node = self._sum()
        while (compared := self._compared(node)) is not None:
            self._one_more()
            node = compared
        return node

    def _compared(self, left: Node) -> Node | None:
        if self._peek().text == "not" and self._peek(1).text in {"in", "contains", "matches"}:
            self._at += 1
            return Unary("not", self._compared(left) or left)
        if self._take("between"):
            low = self._sum()
            self._expect("and")
            return Between(left, low, self._sum())
        if word := self._take(*_AFTER):
            return Unary(_AFTER[word], left)
        if sign := self._take(*_COMPARISONS):
            return Binary(_COMPARISONS[sign], left, self._sum())
        return None

    def _sum(self) -> Node:
        node = self._product()
        while sign := self._take("+", "-"):
            self._one_more()
            node = Binary(sign, node, self._product())
        return node

    def _product(self) -> Node:
        node = self._signed()
        while sign := self._take("*", "/", "%"):
            self._one_more()
            node = Binary(sign, node, self._signed())
        return node

    def _signed(self) -> Node:
        negative = False
        while sign := self._take("-", "+"):
            negative ^= sign == "-"
        node = self._postfix(self._primary())
        if not negative:
            return node
        if isinstance(node, Const) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
            return Const(-node.value)
        return Unary("-", node)

    def _primary(self) -> Node:  # noqa: PLR0911 - one return per kind of value
        token = self._peek()
        self._at += 1
        match token.kind, token.text:
            case "number", text:
                return self._number(text)
            case "text", text:
                return quoted(text, self._known)
            case "name", name:
                return self._named(name)
            case "sign", "(" | "{{" as opened:
                node = self._expression()
                self._expect(")" if opened == "(" else "}}")
                return node
            case "sign", "[":
                return Listing(self._arguments("]"))
            case "sign", "{":
                return self._record()
            case "sign", "@" | "$":
                return Path(ITEM)
        self._at -= 1
        raise self._unexpected("a value")

    def _number(self, text: str) -> Node:
        if len(text) > _MAX_DIGITS:
            raise ExpressionError(f"the number has more than {_MAX_DIGITS} digits")
        return Const(float(text) if "." in text else int(text))

    def _named(self, name: str) -> Node:
        if self._peek().text == "(" and self._touching():
            self._at += 1
            return Call(name, self._arguments())
        if name in _AFTER and self._peek().kind == "name":
            self._one_more()
            return Unary(_AFTER[name], self._postfix(self._primary()))
        if name.lower() in _WORDS and not self._known(name):
            return Const(_WORDS[name.lower()])
        return Path(name)

    def _arguments(self, closing: str = ")") -> tuple[Node, ...]:
        found: list[Node] = []
        while not self._take(closing):
            if found:
                self._expect(",")
            found.append(self._argument())
        return tuple(found)

    def _argument(self) -> Node:
        """One argument; of `x => x.y` and `(x) => x.y` the name becomes the item."""
        bracketed = self._peek().text == "(" and self._peek(2).text == ")"
        if self._peek(3 if bracketed else 1).text != "=>" or self._peek(bracketed).kind != "name":
            return self._expression()
        if any(token.text == "=>" for token in self._tokens[self._at + 4 :]):
            raise ExpressionError("more than one => in an expression")
        name = self._peek(bracketed).text
        self._at += 4 if bracketed else 2
        for at in range(self._at, len(self._tokens)):
            token = self._tokens[at]
            if token.kind == "name" and token.text == name and self._tokens[at - 1].text != ".":
                self._tokens[at] = Token("sign", ITEM, token.at, token.end)
        return self._expression()

    def _record(self) -> Node:
        entries: list[tuple[str, Node]] = []
        while not self._take("}"):
            if entries:
                self._expect(",")
            token = self._peek()
            if token.kind not in {"name", "text"}:
                raise self._unexpected("a key")
            self._at += 1
            self._expect(":")
            entries.append((token.text, self._expression()))
        return Record(tuple(entries))

    def _postfix(self, node: Node) -> Node:
        parts: list[str | int | Node] = []
        while True:
            if len(parts) > MAX_OPERATORS:
                raise ExpressionError(f"more than {MAX_OPERATORS} fields in a row")
            if not parts and isinstance(node, Path) and self._colon(node):
                node = Path(f"{node.root}:")
                parts += self._field()
            elif self._separated(node, parts):
                parts += self._field()
            elif self._peek().text == "[" and self._peek().kind == "sign":
                self._at += 1
                parts.append(self._index())
            elif self._peek().text == "(" and self._touching() and parts and isinstance(parts[-1], str):
                self._one_more()
                self._at += 1
                owner = _inside(node, parts[:-1])
                node, parts = Call(str(parts[-1]), (owner, *self._arguments())), []
            else:
                return self._ended(_inside(node, parts))

    def _ended(self, node: Node) -> Node:
        """The look-up, unless a `/` follows a reference so closely that it is a path and no division."""
        if isinstance(node, Path) and node.root == "previous_response:" and self._touching() and self._take("/"):
            self._at -= 1
            raise self._unexpected("a reference without /")
        return node

    def _colon(self, node: Path) -> bool:
        """Whether a `:` follows that separates fields, as in `previous_response:a:b`, and no ternary's."""
        begins = node.root.rstrip(":") in {"previous_response", "context"}
        return bool(begins and self._touching() and self._peek(1).kind == "name" and self._take(":"))

    def _separated(self, node: Node, parts: list["str | int | Node"]) -> bool:
        """Whether a field follows: `.x`, the number of `.0`, `@x`, after a reference with colons also `:x`."""
        if self._take("."):
            return True
        if node == Path(ITEM) and not parts and self._peek().kind == "name":
            return self._touching() and self._tokens[self._at - 1].text == "$"
        return isinstance(node, Path) and node.root.endswith(":") and self._colon(node)

    def _field(self) -> list["str | int | Node"]:
        token = self._peek()
        if token.kind not in {"name", "number", "text"}:
            raise self._unexpected("the name of a field")
        self._at += 1
        if token.kind == "number":
            return [int(digits) for digits in token.text.split(".")]
        return [token.text]

    def _index(self) -> "str | int | Node":
        if self._take("*"):
            self._expect("]")
            return "*"
        node = self._expression()
        self._expect("]")
        match node:
            case Const(value=int() | str() as value) if not isinstance(value, bool):
                return value
        return node


def _inside(node: Node, parts: list["str | int | Node"]) -> Node:
    if not parts:
        return node
    if isinstance(node, Path):
        return Path(node.root, (*node.parts, *parts))
    return Inside(node, tuple(parts))
