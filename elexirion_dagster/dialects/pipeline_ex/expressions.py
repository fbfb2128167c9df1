"""pipeline_ex's templates, conditions and source references as text of ours, in their documented meaning."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from elexirion_dagster.dialects.pipeline_ex.emitter import Emitter
from elexirion_dagster.dialects.pipeline_ex.lookups import Lookups
from elexirion_dagster.dialects.pipeline_ex.nodes import Binary, Const, Node, Unary
from elexirion_dagster.dialects.pipeline_ex.parser import EXPRESSION
from elexirion_dagster.dialects.pipeline_ex.pieces import Piece, final, literal
from elexirion_dagster.dialects.pipeline_ex.scope import Names, Shape, Translated, own_name
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
_REFERENCES = ("previous_response", "context")
_COLON = re.compile(r"\s*:\s*")
_MEND = "Write the condition again in this language, as the import prints it for others."


def template(text: str, names: Names) -> Translated:
    """Translate the `{{ … }}` in a text; what means nothing here stays as it was written, and is noted.

    Evaluating the result gives literal parts back exactly.
    """
    if not any(mark in text for mark in _MARKS):
        return Translated(text)
    job = _job(names, steps_first=False, must=False)
    return job.done("".join(_written([*_pieces(text, job)])))


def condition(value: Json, names: Names) -> Translated:
    """Translate a condition: text, truth value, number, null (always), list (all of them), `{and|or|not: …}`.

    Raises ExpressionError when it is none of these or cannot be read.
    """
    job = _job(names, steps_first=True, must=True)
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


def _tree(value: Json, job: _Job, depth: int = 0) -> Node:  # noqa: PLR0911 - one return per form
    """The condition as one tree, whatever form it was written in."""
    if depth > _MAX_DEPTH:
        raise ExpressionError("the condition is nested too deeply")
    match value:
        case None:
            return Const(value=True)
        case bool() | int() | float():
            return Const(value)
        case str():
            return _read(job, value)
        case list():
            return _joined("and", [_tree(one, job, depth + 1) for one in value])
        case {"not": inner} if len(value) == 1:
            return Unary("not", _tree(inner, job, depth + 1))
        case {"and": list() as inner} if len(value) == 1:
            return _joined("and", [_tree(one, job, depth + 1) for one in inner])
        case {"or": list() as inner} if len(value) == 1:
            return _joined("or", [_tree(one, job, depth + 1) for one in inner])
    raise ExpressionError(
        f"expected a condition, got {_shown(str(value))}", mend="Use one of and, or, not with a list."
    )


def _joined(sign: str, conditions: list[Node]) -> Node:
    if len(conditions) > _MAX_CONDITIONS:
        raise ExpressionError(f"more than {_MAX_CONDITIONS} conditions in one list", mend="Nest them in and/or.")
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
    try:
        return final(job.emitter.value(job.lookups.parsed(text)))
    except ExpressionError as error:
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
