"""A list whose entries can also be looked up by a key of theirs."""

from typing import Any


class Keyed(list[Any]):
    """A list of maps; `results['src/a.py']` is the entry whose `key` is that, where entries have one."""

    __slots__ = ("_positions",)

    def __init__(self, entries: list[Any]) -> None:
        super().__init__(entries)
        self._positions = {entry["key"]: position for position, entry in enumerate(entries) if "key" in entry}

    def has(self, key: str) -> bool:
        """Whether an entry has this key."""
        return key in self._positions

    def entry(self, key: str) -> Any:
        """The entry with this key. Raises KeyError."""
        return self[self._positions[key]]
