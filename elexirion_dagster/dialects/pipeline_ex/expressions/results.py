"""Where our results keep what pipeline_ex kept under `step.field`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from elexirion_dagster.dialects.pipeline_ex.expressions.nodes import Node
from elexirion_dagster.dialects.pipeline_ex.expressions.pieces import COMPARE, Piece, literal
from elexirion_dagster.dialects.pipeline_ex.expressions.scope import Names, Shape

Part = str | int | Node
_TEXT = frozenset({"text", "content", "response", "answer", "output_text"})
_WHOLE = frozenset({"result", "output", "outputs", "data", "value"})
_RESULTS = frozenset({"results", "iterations", "individual_results", "batch_results", "tasks"})
_RECORD = {"cost": "cost_usd", "error": "error", "reason": "reason", "usage": "usage", "tokens": "usage"}
_COUNTS = {
    **dict.fromkeys(("total_items", "total_tasks"), "items"),
    **dict.fromkeys(("completed_items", "successful_tasks", "batch_processed"), "succeeded"),
    "failed_tasks": "failed",
}
_ENTRY = frozenset({"item", "index", "key", "status"})


@dataclass(frozen=True, slots=True)
class Addressing:
    """Turns look-ups in results into ours; `index` translates a computed position, `note` takes remarks."""

    names: Names
    index: Callable[[Node], str]
    note: Callable[[str], None]

    def result(self, step: str, parts: Sequence[Part]) -> Piece:
        """The value of `step.part.part…`."""
        shape = self.names.results.get(step, Shape())
        return self._shaped(shape, Piece(shape.at or f"steps.{step}", lookup=True), tuple(parts))

    def follow(self, piece: Piece, parts: Sequence[Part]) -> Piece:
        """Look the parts up in a value, one in the other; `length` at the end counts."""
        for at, part in enumerate(parts):
            if part == "*":
                return self._of_each(piece, tuple(parts[at + 1 :]))
            if part == "length" and at == len(parts) - 1:
                return piece.piped("length", "number")
            piece = piece.field(part) if isinstance(part, str | int) else piece.entry(self.index(part))
        return piece

    def _of_each(self, piece: Piece, rest: tuple[Part, ...]) -> Piece:
        path = [str(part) for part in rest if isinstance(part, str | int) and part != "*"]
        if len(path) < len(rest):
            self.note("`[*]` within `[*]` and computed positions after it are left out")
        return piece.piped(f"map(attribute={literal('.'.join(path))})", "list") if path else piece

    def _shaped(self, shape: Shape, at: Piece, parts: tuple[Part, ...]) -> Piece:
        match parts:
            case (str() as word, *rest) if word == shape.output_field and word:
                return self._of_data(shape, at, tuple(rest))
            case (str() as word, *_) if word in shape.fields:
                return self.follow(at.field("data"), parts)
        if shape.kind in {"for_each", "tasks"}:
            return self._many(shape, at, parts)
        if (found := _about(at, parts)) is not None:
            return found
        if shape.kind == "text":
            return self._of_text(at, parts)
        return self._of_data(shape, at, parts)

    def _of_text(self, at: Piece, parts: tuple[Part, ...]) -> Piece:
        text = _text(at)
        match parts:
            case ():
                return text
            case (str() as word, *rest) if word in _TEXT | _WHOLE:
                return self._of_text(at, tuple(rest)) if rest else text
            case ("length",):
                return text.piped("length", "number")
        self.note(f"`{at.text}` answers with free text, so its fields are read from it as JSON; an `output:` is safer")
        return self.follow(text.piped("from_json"), parts)

    def _of_data(self, shape: Shape, at: Piece, parts: tuple[Part, ...]) -> Piece:
        data = at.field("data")
        match parts:
            case (str() as word, *rest) if word in _WHOLE:
                return self._shaped(shape, at, tuple(rest))
            case (str() as word,) if word in _TEXT:
                return _text(at)
            case (str() as key, *rest) if shape.kind == "groups" and key not in {"length", "*"}:
                items = data.piped(f"selectattr('key', 'eq', {literal(key)})").piped("map(attribute='items')")
                self.note(f"a group {key!r} that is not there counts as one without items")
                return self.follow(items.field(0).piped("default([])", "list"), rest)
        return self.follow(data, parts)

    def _many(self, shape: Shape, at: Piece, parts: tuple[Part, ...]) -> Piece:
        results = at.field("results")
        match parts:
            case (str() as word, *rest) if word in _RESULTS or (shape.kind == "for_each" and word in _WHOLE):
                return self._entries(shape, results, tuple(rest))
            case (str() as word,) if word in _COUNTS:
                return at.field("data").field(_COUNTS[word])
            case (str() as word, *rest) if shape.kind == "for_each" and (own := self.names.own(word)) in shape.inner:
                return self._shaped(shape.inner[own], results.piped("last").field(own), tuple(rest))
            case (str() as word,) if word in {*_TEXT, *_WHOLE, "combined_results"}:
                return self._joined(shape, results)
            case ():
                return results if shape.kind == "for_each" else self._joined(shape, results)
        return found if (found := _about(at, parts)) is not None else self._entries(shape, results, parts)

    def _joined(self, shape: Shape, results: Piece) -> Piece:
        name, inner = next(iter(shape.inner.items()), ("", Shape()))
        if inner.kind == "text":
            return results.piped(f"map(attribute={literal(f'{name}.text')})").piped("join('\\n\\n')", "text")
        return results.piped(f"map(attribute={literal(f'{name}.data')})", "list") if name else results

    def _entries(self, shape: Shape, results: Piece, parts: tuple[Part, ...]) -> Piece:
        if not parts or parts[0] in {"*", "length"}:
            return self.follow(results, parts)
        key, rest = parts[0], parts[1:]
        entry = results.entry(literal(key)) if isinstance(key, str) else self.follow(results, (key,))
        if rest and rest[0] in {"results", "result"}:
            rest = rest[1:]
        if rest and isinstance(rest[0], str) and (name := self.names.own(rest[0])) in shape.inner:
            return self._shaped(shape.inner[name], entry.field(name), rest[1:])
        if rest and rest[0] in _ENTRY:
            return self.follow(entry, rest)
        if rest[:1] == ("success",):
            return _succeeded(entry)
        if len(shape.inner) == 1:
            ((name, inner),) = shape.inner.items()
            return self._shaped(inner, entry.field(name), rest)
        return self.follow(entry, rest)


def _about(at: Piece, parts: tuple[Part, ...]) -> Piece | None:
    """What is known of every result, whatever it holds."""
    match parts:
        case ("success",):
            return _succeeded(at)
        case ("skipped",):
            return Piece(f"{at.field('status').text} == 'skipped'", COMPARE, "bool")
        case ("error_message",):
            return at.field("error").field("message")
        case ("error", "type"):
            return at.field("error").field("cause")
        case (str() as word, *rest) if word in _RECORD and (not rest or word == "error"):
            found = at.field(_RECORD[word])
            return found.field("message") if rest else found
    return None


def _succeeded(at: Piece) -> Piece:
    return Piece(f"{at.field('status').text} == 'succeeded'", COMPARE, "bool")


def _text(at: Piece) -> Piece:
    return Piece(at.field("text").text, kind="text")
