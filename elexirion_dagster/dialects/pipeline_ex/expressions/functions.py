"""The functions of pipeline_ex's templates and conditions in our words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from elexirion_dagster.dialects.pipeline_ex.expressions.nodes import Binary, Const, Node
from elexirion_dagster.dialects.pipeline_ex.expressions.pieces import (
    ATOM,
    COMPARE,
    POWER,
    SUM,
    Kind,
    Piece,
    infix,
    literal,
    matched,
)

_ANY = 20


class Words(Protocol):
    """The emitter, as far as functions need it."""

    def value(self, node: Node) -> Piece:
        """Emit an argument."""

    def truth(self, node: Node) -> Piece:
        """Emit an argument that is a condition."""

    def over_items(self, node: Node, *, condition: bool) -> str:
        """Emit an argument that is asked of every item."""

    def note(self, text: str) -> None:
        """Remember a remark."""


Arguments = Sequence[Node]
Emit = Callable[[Words, Arguments], Piece]


@dataclass(frozen=True, slots=True)
class Function:
    """How a function is emitted, and how many arguments it takes."""

    emit: Emit
    least: int = 1
    most: int = 1


def plain_name(name: str) -> str:
    """A function's name without the difference between `startsWith` and `starts_with`."""
    return name.replace("_", "").lower()


def _filter(call: str, kind: Kind = "any") -> Function:
    return Function(lambda words, args: words.value(args[0]).piped(call, kind))


def _operator(sign: str) -> Function:
    return Function(lambda words, args: words.value(Binary(sign, args[0], args[1])), 2, 2)


def _seconds(each: int) -> Function:
    def emit(words: Words, args: Arguments) -> Piece:
        if isinstance(args[0], Const) and isinstance(args[0].value, int | float):
            return Piece(literal(args[0].value * each), ATOM, "duration")
        return infix("*", words.value(args[0]), Piece(str(each)), SUM + 2, "duration")

    return Function(emit)


def quote(text: str) -> str:
    """A text in the quotes that need no escapes, if there are such."""
    return f'"{text}"' if "'" in text and not set('"\\\n\r\t') & set(text) else literal(text)


def _where(words: Words, args: Arguments) -> Piece:
    condition = words.over_items(args[1], condition=True)
    return words.value(args[0]).piped(f"where({quote(condition)})", "list")


def _each(words: Words, args: Arguments) -> Piece:
    return words.value(args[0]).piped(f"each({quote(words.over_items(args[1], condition=False))})", "list")


def _count(words: Words, args: Arguments) -> Piece:
    found = _where(words, args) if len(args) > 1 else words.value(args[0])
    return found.piped("length", "number")


def _any(words: Words, args: Arguments) -> Piece:
    found = _where(words, args) if len(args) > 1 else words.value(args[0]).piped("select")
    return Piece(f"{found.text} | length > 0", COMPARE, "bool")


def _all(words: Words, args: Arguments) -> Piece:
    if len(args) == 1:
        return Piece(f"{words.value(args[0]).at(ATOM)} | reject | length == 0", COMPARE, "bool")
    items, condition = words.value(args[0]).at(ATOM), words.over_items(args[1], condition=True)
    return Piece(f"{items} | where({quote(f'not ({condition})')}) | length == 0", COMPARE, "bool")


def _figure(name: str) -> Function:
    """`min`, `max`, `sum`, `average` of a list, of a field of its records, or of the arguments."""

    def emit(words: Words, args: Arguments) -> Piece:
        match args:
            case (items,):
                return words.value(items).piped(name, "number")
            case (items, Const(value=str() as field)):
                return words.value(items).piped(f"{name}(attribute={literal(field)})", "number")
        inside = ", ".join(words.value(arg).text for arg in args)
        return Piece(f"[{inside}] | {name}", ATOM, "number")

    return Function(emit, 1, _ANY)


def _whole(method: str) -> Function:
    def emit(words: Words, args: Arguments) -> Piece:
        number = words.value(args[0])
        if len(args) > 1:
            return number.piped(f"round({words.value(args[1]).text}, {literal(method)})", "number")
        return number.piped(f"round(method={literal(method)})").piped("int", "number")

    return Function(emit, 1, 2)


def _contains(words: Words, args: Arguments) -> Piece:
    return infix("in", words.value(args[1]), words.value(args[0]), SUM).as_test()


def _between(words: Words, args: Arguments) -> Piece:
    value, low, high = (words.value(arg).at(SUM) for arg in args)
    return Piece(f"{low} <= {value} <= {high}", COMPARE, "bool")


def _method(name: str) -> Function:
    def emit(words: Words, args: Arguments) -> Piece:
        rest = ", ".join(words.value(arg).text for arg in args[1:])
        return words.value(args[0]).method(f"{name}({rest})", "bool")

    return Function(emit, 2, 2)


def _empty(words: Words, args: Arguments) -> Piece:
    return Piece(f"{words.value(args[0]).piped('default(none)').text} is empty", COMPARE, "bool")


def _exists(words: Words, args: Arguments) -> Piece:
    return Piece(f"{words.value(args[0]).piped('default(none)').text} is not none", COMPARE, "bool")


def _substring(words: Words, args: Arguments) -> Piece:
    begin, *end = (words.value(arg).text for arg in args[1:])
    cut = words.value(args[0]).entry(f"{begin}:{end[0] if end else ''}")
    return Piece(cut.text, ATOM)


def _append(words: Words, args: Arguments) -> Piece:
    items = Piece(f"[{', '.join(words.value(arg).text for arg in args[1:])}]", ATOM, "list")
    return infix("+", words.value(args[0]), items, SUM, "list")


def _concat(words: Words, args: Arguments) -> Piece:
    joined = args[0]
    for arg in args[1:]:
        joined = Binary("+", joined, arg)
    return words.value(joined)


def _with_rest(name: str, kind: Kind = "any") -> Emit:
    """A filter that takes the other arguments as they are."""

    def emit(words: Words, args: Arguments) -> Piece:
        return words.value(args[0]).piped(_with_arguments(name, words, args[1:]), kind)

    return emit


def _with_arguments(name: str, words: Words, args: Arguments) -> str:
    return f"{name}({', '.join(words.value(arg).text for arg in args)})" if args else name


def _date(words: Words, args: Arguments) -> Piece:
    if not args:
        return Piece("run.started_at | date('%Y-%m-%d')", ATOM, "text")
    value = words.value(args[0])
    match args:
        case (Const(value=str()),):
            return Piece(value.text, ATOM, "moment")
        case (_, Const(value=str() as pattern)):
            return value.piped(f"date({literal(_pattern(pattern))})", "text")
    return value.piped(_with_arguments("date", words, args[1:]), "moment" if len(args) == 1 else "text")


def _pattern(written: str) -> str:
    """A date's format: `YYYY-MM-DD` is read as well as `%Y-%m-%d`."""
    if "%" in written:
        return written
    for letters, sign in (("YYYY", "%Y"), ("MM", "%m"), ("DD", "%d"), ("HH", "%H"), ("mm", "%M"), ("ss", "%S")):
        written = written.replace(letters, sign)
    return written


def _json(words: Words, args: Arguments) -> Piece:
    indent = "json(2)" if len(args) > 1 else "json"
    return words.value(args[0]).piped(indent, "text")


def _pow(words: Words, args: Arguments) -> Piece:
    return infix("**", words.value(args[0]), words.value(args[1]), POWER, "number")


def _sqrt(words: Words, args: Arguments) -> Piece:
    return Piece(f"{words.value(args[0]).at(ATOM)} ** 0.5", POWER, "number")


def _constant(piece: Piece) -> Function:
    return Function(lambda _words, _args: piece, 0, 0)


FUNCTIONS: Mapping[str, Function] = {
    "abs": _filter("abs", "number"),
    "add": _operator("+"),
    "all": Function(_all, 1, 2),
    "any": Function(_any, 1, 2),
    "append": Function(_append, 2, _ANY),
    **dict.fromkeys(("average", "avg", "mean"), _figure("mean")),
    "between": Function(_between, 3, 3),
    **dict.fromkeys(("ceil", "ceiling"), _whole("ceil")),
    "chunk": Function(_with_rest("batch", "list"), 2, 2),
    "concat": Function(_concat, 2, _ANY),
    **dict.fromkeys(("contains", "includes"), Function(_contains, 2, 2)),
    "count": Function(_count, 1, 2),
    "date": Function(_date, 0, 2),
    "days": _seconds(86_400),
    "default": Function(_with_rest("default"), 2, 2),
    "divide": _operator("/"),
    "empty": Function(_empty),
    "endswith": _method("endswith"),
    "exists": Function(_exists),
    "filter": Function(_where, 2, 2),
    "first": _filter("first"),
    "floor": _whole("floor"),
    "formatdate": Function(_date, 2, 2),
    "hash": _filter("sha256", "text"),
    "hours": _seconds(3_600),
    "isempty": Function(_empty),
    "join": Function(_with_rest("join", "text"), 1, 2),
    "json": Function(_json, 1, 2),
    "keys": _filter("list", "list"),
    "last": _filter("last"),
    **dict.fromkeys(("length", "len", "size"), _filter("length", "number")),
    **dict.fromkeys(("lower", "lowercase", "tolowercase", "downcase"), _filter("lower", "text")),
    "map": Function(_each, 2, 2),
    "matches": Function(lambda words, args: matched(words.value(args[0]), words.value(args[1]), words.note), 2, 2),
    "max": _figure("max"),
    "merge": Function(_with_rest("merge"), 2, _ANY),
    "min": _figure("min"),
    "minutes": _seconds(60),
    "multiply": _operator("*"),
    "now": _constant(Piece("run.started_at", ATOM, "moment")),
    **dict.fromkeys(("pow", "power"), Function(_pow, 2, 2)),
    **dict.fromkeys(("fromjson", "parsejson"), _filter("from_json")),
    "replace": Function(_with_rest("replace", "text"), 3, 3),
    "reverse": _filter("reverse"),
    "round": _whole("half_up"),
    "seconds": _seconds(1),
    "slice": Function(_substring, 2, 3),
    "sort": _filter("sort", "list"),
    "split": Function(lambda words, args: words.value(args[0]).method(f"split({words.value(args[1]).text})"), 2, 2),
    "sqrt": Function(_sqrt),
    "startswith": _method("startswith"),
    **dict.fromkeys(("string", "tostring"), _filter("string", "text")),
    "substring": Function(_substring, 2, 3),
    "subtract": _operator("-"),
    "sum": _figure("sum"),
    "timestamp": _constant(Piece("run.started_at | date('%Y%m%d%H%M')", ATOM, "text")),
    "trim": _filter("trim", "text"),
    **dict.fromkeys(("unique", "uniq"), _filter("unique", "list")),
    **dict.fromkeys(("upper", "uppercase", "touppercase", "upcase"), _filter("upper", "text")),
    "values": Function(lambda words, args: words.value(args[0]).method("values()", "list")),
}
