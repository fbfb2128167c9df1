"""A model's reply becomes typed data, or an error that says where it differs from what was asked."""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import islice
from typing import NoReturn

import re2  # type: ignore[import-untyped]
import referencing
import referencing.exceptions
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

from elexirion_dagster.errors import ElexirionError, InputError
from elexirion_dagster.records import Json

_MAX_BYTES = 5_000_000
_MAX_DEPTH = 64
_MAX_OPENERS = 100
_SHOWN_PROBLEMS = 5
_SHOWN_CHARS = 120


class MalformedOutput(ElexirionError):  # noqa: N818  the name of the cause, as with Cancelled
    """A reply that is not the data that was asked for; `problems` says what, one sentence with its JSON path each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(
            "the reply is not the data that was asked for: " + "; ".join(problems),
            cause="malformed_output",
            mend="Ask again, raise max_tokens if the reply was cut, or simplify the output.",
        )
        self.problems = tuple(problems)


def parse(text: str, schema: Mapping[str, Json]) -> Json:
    """Read the one JSON value of a reply (alone, in one fenced block, or amid prose) and validate it.

    Raises MalformedOutput; InputError when the schema itself is not a JSON Schema.
    """
    check = checker(schema)
    value = _only_value(text, schema)
    _check_bounds(value)
    if problems := check(value):
        raise MalformedOutput(problems)
    return value


def checker(schema: Mapping[str, Json]) -> Callable[[Json], list[str]]:
    """A function that says in a few sentences where a value does not fit the schema, and nothing when it fits.

    Raises InputError when the schema itself is not a JSON Schema.
    """
    return partial(_problems, _validator(json.dumps(schema, sort_keys=True, default=dict)))


def _problems(validator: Validator, value: Json) -> list[str]:
    try:
        return list(dict.fromkeys(_problem(error) for error in islice(validator.iter_errors(value), _SHOWN_PROBLEMS)))
    except RecursionError:
        return [f"expected at most {_MAX_DEPTH} levels of nesting, came more"]
    except referencing.exceptions.Unresolvable as error:
        raise InputError(
            f"expected a JSON Schema that holds all it refers to, came a reference to {error.ref}"
        ) from error


def repair_text(error: MalformedOutput) -> str:
    """Word the one user turn that asks the model to correct itself."""
    listed = "\n".join(f"- {problem}" for problem in error.problems)
    return (
        f"Your last answer could not be used:\n{listed}\n"
        "Give the whole corrected answer as exactly one JSON value that fits the schema, and nothing else."
    )


def _only_value(text: str, schema: Mapping[str, Json]) -> Json:
    size = len(text.encode(errors="replace"))
    if size > _MAX_BYTES:
        raise MalformedOutput([f"expected at most {_MAX_BYTES} bytes, came {size}"])
    stripped = text.strip()
    if not stripped:
        raise MalformedOutput(["expected one JSON value, came an empty reply"])
    whole_error = None
    try:
        return _decode(stripped)
    except json.JSONDecodeError as error:
        whole_error = error
    blocks = _fenced(stripped)
    if len(blocks) == 1:
        return _decode_or_refuse(blocks[0].strip())
    if blocks:
        raise MalformedOutput([f"expected one JSON value, came {len(blocks)} fenced blocks"])
    return _amid_prose(stripped, schema, whole_error)


def _fenced(text: str) -> list[str]:
    """Return the contents of the blocks fenced as json; without any, those of the unlabelled blocks."""
    found: dict[str, list[str]] = {"json": [], "": []}
    label, lines = None, list[str]()
    for line in text.splitlines():
        mark = line.strip()
        if not mark.startswith("```"):
            lines.append(line)
        elif label is None:
            label, lines = mark[3:].strip().lower(), []
        else:
            found.setdefault(label, []).append("\n".join(lines))
            label = None
    return found["json"] or found[""]


def _amid_prose(text: str, schema: Mapping[str, Json], whole_error: json.JSONDecodeError) -> Json:
    values = list(_values_within(text, _openers(schema)))
    if len(values) == 1:
        return values[0]
    if values:
        raise MalformedOutput([f"expected one JSON value, came {len(values)}"])
    if text[0] in "{[":
        raise MalformedOutput([_syntax(whole_error)]) from whole_error
    raise MalformedOutput([f"expected one JSON value, came text without one: {_short(text)}"])


def _values_within(text: str, openers: str) -> Iterator[Json]:
    position = tried = 0
    pattern = re.compile(f"[{re.escape(openers)}]")
    while (opener := pattern.search(text, position)) and tried < _MAX_OPENERS:
        tried += 1
        try:
            value, position = _first_value(text, opener.start())
        except json.JSONDecodeError:
            position = opener.end()
        else:
            yield value


def _openers(schema: Mapping[str, Json]) -> str:
    match schema.get("type"):
        case "object":
            return "{"
        case "array":
            return "["
        case _:
            return "{["


def _decode(text: str) -> Json:
    value, end = _first_value(text, 0)
    if end < len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    return value


def _first_value(text: str, start: int) -> tuple[Json, int]:
    try:
        return _DECODER.raw_decode(text, start)
    except RecursionError as error:
        raise MalformedOutput([f"expected at most {_MAX_DEPTH} levels of nesting, came more"]) from error


def _decode_or_refuse(text: str) -> Json:
    try:
        return _decode(text)
    except json.JSONDecodeError as error:
        raise MalformedOutput([_syntax(error)]) from error


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    whole = dict(pairs)
    if len(whole) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = counts.most_common(1)[0][0]
        raise MalformedOutput([f"expected each key once, came {_short(twice)} twice in one object"])
    return whole


def _refuse_constant(word: str) -> NoReturn:
    raise MalformedOutput([f"expected JSON, came {word}, which is not a JSON number"])


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise MalformedOutput([f"expected a finite number, came {_short(digits)}"])
    return number


def _integer(digits: str) -> int:
    try:
        return int(digits)
    except ValueError as error:
        raise MalformedOutput([f"expected a number of sane length, came {len(digits)} digits"]) from error


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_integer
)


def _check_bounds(value: Json) -> None:
    level: list[Json] = [value]
    for _ in range(_MAX_DEPTH):
        if not level:
            return
        level = [child for parent in level for child in _children(parent)]
    if level:
        raise MalformedOutput([f"expected at most {_MAX_DEPTH} levels of nesting, came more"])


def _children(value: Json) -> Sequence[Json]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    if isinstance(value, str) and not value.isascii():
        _check_unicode(value)
    return value if isinstance(value, list) else ()


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise MalformedOutput([f"expected Unicode text, came half a surrogate pair in {_short(text)}"]) from error


def _pattern(_validator: Validator, pattern: str, instance: Json, _schema: Json) -> Iterator[ValidationError]:
    """Check `pattern` in linear time: the reply is not trusted, so a backtracking engine must not see it."""
    if isinstance(instance, str) and re2.search(pattern, instance) is None:
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


_Linear: type[Validator] = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {"pattern": _pattern}
)


@lru_cache(maxsize=256)
def _validator(schema_text: str) -> Validator:
    schema = json.loads(schema_text)
    try:
        _Linear.check_schema(schema)
    except SchemaError as error:
        raise InputError(
            f"expected a JSON Schema, came one that is wrong at {error.json_path}: {error.message}"
        ) from error
    return _Linear(schema, registry=referencing.Registry())


def _problem(error: ValidationError) -> str:
    place, came = error.json_path, _short(error.instance)
    wanted: Json = error.validator_value
    given: Json = error.instance
    match error.validator:
        case "type":
            return f"at {place} expected type {wanted}, came {came}"
        case "enum":
            return f"at {place} expected one of {_short(wanted)}, came {came}"
        case "required":
            missing = [name for name in wanted if name not in given]
            return f"at {place} expected the keys {_short(missing)}, came {came}"
        case keyword:
            return f"at {place} expected {keyword}: {_short(wanted)}, came {came}"


def _syntax(error: json.JSONDecodeError) -> str:
    near = error.doc[error.pos : error.pos + 40]
    return f"expected JSON, came a syntax error at line {error.lineno} column {error.colno}: {error.msg}, near {near!r}"


def _short(value: Json) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
