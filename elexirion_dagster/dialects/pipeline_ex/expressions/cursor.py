"""Where the parser stands among the tokens of an expression."""

from collections.abc import Callable

from elexirion_dagster.dialects.pipeline_ex.expressions.lexer import Token, tokens
from elexirion_dagster.errors import ExpressionError

MAX_OPERATORS = 80


class Cursor:
    """Looks at tokens, takes them, and says what it wanted instead. Raises ExpressionError for what is no token."""

    def __init__(self, source: str, known: Callable[[str], bool]) -> None:
        self._known = known
        self._source = source
        self._tokens = tokens(source, known)
        self._at = 0
        self._depth = 0
        self._operators = 0

    def _peek(self, ahead: int = 0) -> Token:
        return self._tokens[min(self._at + ahead, len(self._tokens) - 1)]

    def _take(self, *texts: str) -> str:
        """The next token's text if it is one of these words or signs, else an empty text."""
        token = self._peek()
        if token.kind not in {"sign", "name"} or token.text not in texts:
            return ""
        self._at += 1
        return token.text

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self._unexpected(repr(text))

    def _unexpected(self, wanted: str) -> ExpressionError:
        token = self._peek()
        came = repr(token.text) if token.kind != "end" else "the end"
        return ExpressionError(f"expected {wanted} at character {token.at + 1}, got {came}")

    def _touching(self) -> bool:
        """Whether nothing stands between the last token and the next."""
        return self._peek().at == self._tokens[self._at - 1].end

    def _one_more(self) -> None:
        """Count an operator: chains of them nest as deeply as they are long."""
        self._operators += 1
        if self._operators > MAX_OPERATORS:
            raise ExpressionError(f"the expression has more than {MAX_OPERATORS} operators")
