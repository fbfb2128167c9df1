"""pipeline_ex's templates, conditions and source references as text of ours, in their documented meaning."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from elexirion_dagster.dialects.pipeline_ex.expressions.emitter import Emitter
from elexirion_dagster.dialects.pipeline_ex.expressions.lookups import Lookups
from elexirion_dagster.dialects.pipeline_ex.expressions.nodes import Binary, Const, Node, Unary
from elexirion_dagster.dialects.pipeline_ex.expressions.parser import EXPRESSION
from elexirion_dagster.dialects.pipeline_ex.expressions.pieces import Piece, final, literal
from elexirion_dagster.dialects.pipeline_ex.expressions.scope import Names, Shape, Translated, own_name
from elexirion_dagster.errors import ExpressionError
from elexirion_dagster.records import Json

__all__ = [
    "Names",
    "Shape",
    "Translated",
    "condition",
    "item_condition",
    "item_expression",
    "own_name",
    "source",
    "template",
]

_MARKS = ("{{", "{%", "{#")
_SHOWN = 60
_MAX_DEPTH = 20
_MAX_CONDITIONS = 80
_MAX_CHARS = 1_000_000
_MAX_EXPRESSIONS = 5_000
_REFERENCES = ("previous_response", "context")
_COLON = re.compile(r"\s*:\s*")
_MEND = "Write it in this language; its reference lists what an expression may hold."


def template(text: str, names: Names) -> Translated:
    """Translate the `{{ … }}` in a text; what means nothing here stays as it was written, and is noted.

    Evaluating the result gives literal parts back exactly.
    """
    if not any(mark in text for mark in _MARKS):
        return Translated(text)
    job = _job(names, steps_first=False, must=False)
    if len(text) > _MAX_CHARS or text.count("{{") > _MAX_EXPRESSIONS:
        job.emitter.note(f"a text of more than {_MAX_CHARS:,} characters or {_MAX_EXPRESSIONS:,} expressions is kept")
        return job.done("".join(_written([text])))
    return job.done("".join(_written([*_pieces(text, job)])))


def condition(value: Json, names: Names) -> Translated:
    """Translate a condition: text, truth value, number, null (always), list (all of them), `{and|or|not: …}`.

    Raises ExpressionError when it is none of these or cannot be read.
    """
    job = _job(names, steps_first=True, must=True)
    if _size(value) > _MAX_CONDITIONS:
        raise ExpressionError(
            f"more than {_MAX_CONDITIONS} conditions in one", mend="Put some into steps of their own."
        )
    return job.done(f"{{{{ {job.emitter.truth(_tree(value, job)).text} }}}}")


def source(text: str, names: Names) -> Translated:
    """Translate a reference to data (`a.b`, `a:b`, `previous_response:a:b`, `steps.a.b`, `{{ … }}`, `context:x`).

    Raises ExpressionError when it cannot be read.
    """
    job = _job(names, steps_first=False, must=True)
    whole = EXPRESSION.fullmatch(text.strip())
    written = whole[1] if whole else _COLON.sub(":" if text.strip().startswith(_REFERENCES) else ".", text)
    return job.done(f"{{{{ {final(job.emitter.value(_read(job, written))).text} }}}}")


def item_condition(text: str, names: Names) -> Translated:
    """Translate a condition that is asked of every `item` of a list, without braces. Raises ExpressionError."""
    job = _job(names, steps_first=True, must=True, item=True)
    ours = job.emitter.truth(_read(job, text)).text
    return job.done(f"{{{{ {ours} }}}}" if any(mark in ours for mark in _MARKS) else ours)


def item_expression(text: str, names: Names) -> Translated:
    """Translate a value over `item`, such as the `expression` of a map, to `{{ … }}`. Raises ExpressionError."""
    job = _job(names, steps_first=True, must=True, item=True)
    return job.done(f"{{{{ {final(job.emitter.value(_read(job, text))).text} }}}}")


@dataclass(frozen=True, slots=True)
class _Job:
    """One translation under way."""

    emitter: Emitter
    lookups: Lookups

    def done(self, text: str) -> Translated:
        return Translated(text, tuple(self.emitter.notes), tuple(self.lookups.unresolved))


def _job(names: Names, *, steps_first: bool, must: bool, item: bool = False) -> _Job:
    lookups = Lookups(names, steps_first, must)
    return _Job(Emitter(lookups, item), lookups)


def _read(job: _Job, text: str) -> Node:
    try:
        return job.lookups.parsed(text)
    except ExpressionError as error:
        raise ExpressionError(f"{error.message}, in `{_shown(text)}`", mend=_MEND) from error


def _size(value: Json, depth: int = 0) -> int:
    """How many conditions a condition is made of. Raises ExpressionError when they are nested too deeply."""
    if depth > _MAX_DEPTH:
        raise ExpressionError("the condition is nested too deeply")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 1 if inner is None else sum(_size(one, depth + 1) for one in inner)


def _tree(value: Json, job: _Job) -> Node:  # noqa: PLR0911 - one return per form
    """The condition as one tree, whatever form it was written in."""
    match value:
        case None:
            return Const(value=True)
        case bool() | int() | float():
            return Const(value=bool(value))
        case str():
            return _read(job, value)
        case list():
            return _joined("and", [_tree(one, job) for one in value])
        case {"not": inner} if len(value) == 1:
            return Unary("not", _tree(inner, job))
        case {"and": list() as inner} if len(value) == 1:
            return _joined("and", [_tree(one, job) for one in inner])
        case {"or": list() as inner} if len(value) == 1:
            return _joined("or", [_tree(one, job) for one in inner])
    raise ExpressionError(
        f"expected a condition, got {_shown(str(value))}", mend="Use one of and, or, not with a list."
    )


def _joined(sign: str, conditions: list[Node]) -> Node:
    if not conditions:
        return Const(value=sign == "and")
    node = conditions[0]
    for other in conditions[1:]:
        node = Binary(sign, node, other)
    return node


def _pieces(text: str, job: _Job) -> Iterator[str | Piece]:
    """The literal parts and the expressions of a text, literal neighbours joined."""
    kept, end = "", 0
    for found in EXPRESSION.finditer(text):
        kept += text[end : found.start()]
        end = found.end()
        piece = _expression(found[1], job)
        if piece is None:
            kept += found[0]
            continue
        if kept:
            yield kept
            kept = ""
        yield piece
    if kept := kept + text[end:]:
        yield kept


def _expression(text: str, job: _Job) -> Piece | None:
    notes, unresolved = job.emitter.notes, job.lookups.unresolved
    said, asked = len(notes), len(unresolved)
    try:
        return final(job.emitter.value(job.lookups.parsed(text)))
    except ExpressionError as error:
        while len(notes) > said:
            notes.popitem()
        while len(unresolved) > asked:
            unresolved.popitem()
        job.emitter.note(f"`{{{{{_shown(text)}}}}}` is kept as text: {error.message}")
    return None


def _written(pieces: list[str | Piece]) -> Iterator[str]:
    for at, piece in enumerate(pieces):
        if isinstance(piece, Piece):
            yield f"{{{{ {piece.text} }}}}"
        elif "\r" in piece or "endraw" in piece:
            yield f"{{{{ {literal(piece)} }}}}"
        elif any(mark in piece for mark in _MARKS) or (piece.endswith("{") and at + 1 < len(pieces)):
            yield f"{{% raw %}}{piece}{{% endraw %}}"
        else:
            yield piece


def _shown(text: str) -> str:
    folded = " ".join(text.split())
    return folded if len(folded) <= _SHOWN else f"{folded[:_SHOWN]}…"
