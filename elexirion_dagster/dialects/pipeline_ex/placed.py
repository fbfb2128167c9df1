"""Native maps that remember where in the original document they came from."""

from collections.abc import Iterator, Mapping
from typing import Any

from elexirion_dagster.dialects.pipeline_ex.notes import Path
from elexirion_dagster.records import Json
from elexirion_dagster.yamlio import Document

_HEAD = frozenset({"name", "type", "description", "when"})


class Placed(dict[str, Any]):
    """A map of a native document; `at` is the path in the original, `origins` that of single keys."""

    def __init__(self, at: Path, fields: Mapping[str, Json], origins: Mapping[str, Path] | None = None) -> None:
        super().__init__({key: value for key, value in fields.items() if value is not None})
        self.at = at
        self.origins = dict(origins or {})

    def first(self, key: str, value: Json) -> None:
        """Set a key that stands before a step's own ones."""
        rest = {name: self.pop(name) for name in tuple(self) if name not in _HEAD}
        self.update({key: value, **rest})


def settled(data: Placed, document: Document) -> Document:
    """The native document as plain data, with the original's lines."""
    positions = {path: document.position(origin) for path, origin in _places(data, ())}
    return Document(_plain(data), document.file, document.text, positions)


def _places(data: Json, path: Path) -> Iterator[tuple[Path, Path]]:
    if isinstance(data, Placed):
        yield path, data.at
        yield from (((*path, key), origin) for key, origin in data.origins.items())
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _places(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _places(value, (*path, index))


def _plain(data: Json) -> Json:
    if isinstance(data, dict):
        return {key: _plain(value) for key, value in data.items()}
    return [_plain(value) for value in data] if isinstance(data, list) else data
