"""Reading one of their maps key by key, so that whatever was not asked for can be listed."""

from collections.abc import Mapping
from typing import Any

from elexirion_dagster.dialects.pipeline_ex.notes import Notes, Path
from elexirion_dagster.records import Json

_WORDS: Mapping[type, str] = {str: "a text", bool: "true or false", list: "a list", dict: "a map", float: "a number"}
_SHOWN = 60


class Reader:
    """A map of an old document. A key counts as honoured once it was asked for; `close` lists the others.

    Each method takes a key and its aliases; the first one that is there counts. Null is the same as absent.
    """

    def __init__(self, data: Mapping[str, Json], at: Path, notes: Notes, said: Mapping[str, str]) -> None:
        self.data = data
        self.at = at
        self.notes = notes
        self._said = said
        self._asked: set[str] = set()

    def path(self, *names: str) -> Path:
        """Where the value of a key stands; the map itself when it is absent."""
        name = self._present(names)
        return (*self.at, name) if name else self.at

    def has(self, *names: str) -> bool:
        """Whether a key is there, without taking it."""
        return self._present(names) is not None

    def value(self, *names: str) -> Json:
        """The value as it stands, or None."""
        self._asked.update(names)
        name = self._present(names)
        return self.data[name] if name else None

    def text(self, *names: str) -> str | None:
        """A text; a number counts as one."""
        value = self.value(*names)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        found: str | None = self._typed(value, str, names)
        return found

    def flag(self, *names: str) -> bool | None:
        """True or false."""
        found: bool | None = self._typed(self.value(*names), bool, names)
        return found

    def number(self, *names: str) -> float | None:
        """A number above or at zero."""
        value = self.value(*names)
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            return value
        return None if value is None else self._typed(_NOTHING, float, names)

    def whole(self, *names: str) -> int | None:
        """A whole number above or at zero."""
        value = self.number(*names)
        return None if value is None else int(value)

    def items(self, *names: str) -> list[Json]:
        """A list; one single value counts as a list of it, nothing as an empty one."""
        value = self.value(*names)
        return value if isinstance(value, list) else [] if value is None else [value]

    def map(self, *names: str) -> dict[str, Json]:
        """A map; empty when absent."""
        return self._typed(self.value(*names), dict, names) or {}

    def inside(self, *names: str, said: Mapping[str, str]) -> "Reader":
        """A reader of the map behind a key; of an empty one when absent."""
        return Reader(self.map(*names), self.path(*names), self.notes, said)

    def ignore(self, *names: str) -> None:
        """Count keys as dealt with that say nothing the native document has to say."""
        self._asked.update(names)

    def say(self, said: str, *names: str) -> None:
        """List a key with a remark; a key that is absent is not spoken of."""
        self._asked.update(names)
        for name in names:
            if self.data.get(name) is not None:
                self.notes.add((*self.at, name), said)

    def close(self) -> None:
        """List every key that nobody asked for."""
        for key in self.data:
            if key in self._asked:
                continue
            if key in self._said:
                self.notes.add((*self.at, key), self._said[key])
            else:
                self.notes.unknown((*self.at, key), {*self._asked, *self._said})

    def _present(self, names: tuple[str, ...]) -> str | None:
        return next((name for name in names if self.data.get(name) is not None), None)

    def _typed(self, value: Any, kind: type, names: tuple[str, ...]) -> Any:
        if value is None or (isinstance(value, kind) and value is not _NOTHING):
            return value
        name = self._present(names) or names[0]
        shown = repr(self.data.get(name))
        shown = shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 3]}..."
        self.notes.refuse((*self.at, name), f"{name}: expected {_WORDS[kind]}, got {shown}")
        return None


_NOTHING = object()
