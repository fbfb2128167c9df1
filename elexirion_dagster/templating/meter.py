"""How much one evaluation of an expression may use, and the values it works on."""

import difflib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import jinja2
from jinja2.utils import missing

from elexirion_dagster.errors import ExpressionError

_MAX_DEPTH = 100
_SHOWN = 12
_SHOWN_CHARS = 60
_CLOCK_BITS = 10  # the clock is read once for so many entries or characters (2**10)
_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "true/false"),
    ((int, float), "a number"),
    (str, "a text"),
    (Mapping, "a map"),
    ((list, tuple, range), "a list"),
    (type(None), "null"),
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one evaluation may use; beyond it the expression is refused."""

    max_iterations: int = 100_000
    """Turns of all its loops together."""
    max_items: int = 1_000_000
    """List and map entries that its filters and operators walk or make."""
    max_output_chars: int = 4_000_000
    """Length of its result."""
    max_chars: int = 32_000_000
    """Characters of all texts it makes on the way, the result included."""
    max_template_chars: int = 1_000_000
    """Length of the template itself."""
    max_tokens: int = 20_000
    """Words and signs inside its braces."""
    max_cpu_s: float = 3.0
    """Processor time, checked on every turn and every large operation."""


@dataclass(slots=True)
class Meter:
    """What the evaluation under way has used so far; raises ExpressionError at the first bound."""

    bounds: Bounds
    scope: Mapping[str, Any]
    chains: Callable[[], Iterable[tuple[str, ...]]]
    look_up: Callable[[Any, Any], Any]
    turns: int = 0
    items: int = 0
    chars: int = 0
    started: float = field(default_factory=time.thread_time)

    def add_turn(self) -> None:
        """One more turn of some loop."""
        self.turns += 1
        self._check(self.turns, self.bounds.max_iterations, "loop turns")
        if not self.turns % 64:
            self.check_time()

    def add_items(self, count: int) -> None:
        """Count entries that are about to be walked or made."""
        before, self.items = self.items, self.items + count
        self._check(self.items, self.bounds.max_items, "list entries")
        if before >> _CLOCK_BITS != self.items >> _CLOCK_BITS:
            self.check_time()

    def add_chars(self, count: int) -> None:
        """Count characters that are about to be made."""
        before, self.chars = self.chars, self.chars + count
        self._check(self.chars, self.bounds.max_chars, "characters")
        if before >> _CLOCK_BITS != self.chars >> _CLOCK_BITS:
            self.check_time()

    def check_time(self) -> None:
        """Refuse when the processor time is used up."""
        if time.thread_time() - self.started > self.bounds.max_cpu_s:
            raise ExpressionError(f"takes more than {self.bounds.max_cpu_s:g} s of processor time", mend=_SMALLER)

    def _check(self, used: int, bound: int, what: str) -> None:
        if used > bound:
            raise ExpressionError(f"needs more than {bound:,} {what}", mend=_SMALLER)


_SMALLER = "Use less data here, or a transform step."
METER: ContextVar[Meter] = ContextVar("elexirion_expression_meter")


def kind(value: object) -> str:
    """Name a value's kind in the language's words."""
    return next((name for types, name in _KINDS if isinstance(value, types)), f"a {type(value).__name__}")


def shown(value: object) -> str:
    """Show a value in a message: short texts and numbers themselves, anything else by its kind."""
    if isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= _SHOWN_CHARS):
        return repr(value)
    return kind(value)


class Missing(jinja2.StrictUndefined):
    """A name or field that does not exist: `default` and `is defined` see it, everything else raises."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        name = self._undefined_name
        if self._undefined_hint:
            return self._undefined_hint
        meter = METER.get()
        if self._undefined_obj is missing:
            return _nearest(f"'{name}' is not known here", "in scope", name, meter.scope)
        return describe_missing(_path_of(meter, self._undefined_obj, name), self._undefined_obj, name)


def describe_missing(path: str | None, holder: object, name: object) -> str:
    """Say that `holder`, found at `path`, has no `name`, and what it has."""
    what = path or kind(holder)
    if isinstance(holder, Mapping):
        return _nearest(f"{what} has no field '{name}'", "it has", name, holder)
    if isinstance(holder, Sequence) and isinstance(name, int):
        return f"{what} has {len(holder)} entries, there is no entry {name}"
    if path:
        return f"{path} is {kind(holder)} and has no field '{name}'"
    return f"{what} has no field '{name}'"


def _nearest(head: str, having: str, name: object, names: Iterable[str]) -> str:
    known = [str(key) for key in names]
    shown = ", ".join(known[:_SHOWN]) + (", …" if len(known) > _SHOWN else "")
    near = difflib.get_close_matches(str(name), known[:1_000], n=1)
    return f"{head} ({having}: {shown or 'nothing'})" + (f"; did you mean '{near[0]}'?" if near else "")


def _path_of(meter: Meter, holder: object, name: object) -> str | None:
    """Find the dotted path, as the template wrote it, whose value is `holder`."""
    for chain in meter.chains():
        value: Any = meter.scope
        for at, part in enumerate(chain):
            if at and part == name and (value is holder or chain[0] not in meter.scope):
                return ".".join(chain[:at])
            value = value.get(part) if isinstance(value, Mapping) else None
    return None


def plain(value: Any, depth: int = 0) -> Any:
    """Turn a value into JSON (new lists and maps), counting every entry; raises ExpressionError on anything else."""
    if value is None or isinstance(value, str | int | float):
        return value
    if depth > _MAX_DEPTH:
        raise ExpressionError(f"the value is nested deeper than {_MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        METER.get().add_items(len(value))
        return {text(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        METER.get().add_items(len(value))
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, Method):
        raise ExpressionError(f"'{value.name}' is a method", mend=f"Call it: {value.name}(…).")
    raise ExpressionError(f"{kind(present(value))} is not a value")


def text(value: Any) -> str:
    """Write a value as it stands in text: texts as they are, everything else as JSON."""
    return value if isinstance(value, str) else dump_json(value)


def dump_json(value: Any, indent: int | None = None) -> str:
    """Write a value as JSON, bounded."""
    data = plain(value)
    METER.get().add_chars(_weight(data, indent or 0))
    return json.dumps(data, ensure_ascii=False, indent=indent)


def _weight(data: Any, indent: int, depth: int = 1) -> int:
    """Estimate the length of `data` as JSON."""
    if isinstance(data, str):
        return len(data) + 2
    if isinstance(data, dict):
        return sum(len(key) + 6 + indent * depth + _weight(item, indent, depth + 1) for key, item in data.items())
    if isinstance(data, list):
        return sum(2 + indent * depth + _weight(item, indent, depth + 1) for item in data)
    return 8


@dataclass(frozen=True, slots=True)
class Turns:
    """What a `for` walks: counts every turn of every loop of the evaluation."""

    values: Sequence[Any]

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Any]:
        meter = METER.get()
        for value in self.values:
            meter.add_turn()
            yield value


@dataclass(frozen=True, slots=True)
class Method:
    """An allowed method of a text, list, map or loop; it exists only to be called."""

    owner: Any
    name: str
    function: Callable[..., Any]


def made(value: str) -> str:
    """Count a text that was just made and return it."""
    METER.get().add_chars(len(value))
    return value


def entries(value: Any) -> Sequence[Any]:
    """List what a loop or filter walks: a list's entries, a map's keys, a text's characters."""
    if isinstance(value, list | tuple):
        found: Sequence[Any] = value
    elif isinstance(value, Mapping | str | Turns):
        found = list(value)
    elif isinstance(value, range):
        found = value
    else:
        raise ExpressionError(f"expected a list, got {kind(present(value))}")
    METER.get().add_items(len(found))
    return found


def present(value: Any) -> Any:
    """Return the value; raises when it is a missing name or field."""
    if isinstance(value, jinja2.Undefined):
        raise jinja2.UndefinedError(value._undefined_message)  # noqa: SLF001 - public by Jinja's documentation of undefined types
    return value
