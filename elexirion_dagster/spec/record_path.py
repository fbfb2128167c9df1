"""Paths into a record: `findings[*].message`, `tags[-1]`, `fix?.text`, `["odd name"]`."""

import re
from dataclasses import dataclass
from typing import Literal

_PART = re.compile(
    r"""\.?(?P<name>[^\W\d]\w*)(?P<open>\?)?
      | \[\s*(?P<quote>["'])(?P<quoted>(?:(?!(?P=quote)).)+)(?P=quote)\s*\](?P<quoted_open>\?)?
      | \[(?P<index>-?\d{1,9})\]
      | \[(?P<every>\*)\]""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Part:
    """One step of a path: a field's name, an entry's number (negative from the end), or `*` for every entry."""

    key: str | int
    every: bool = False
    optional: bool = False
    """A record without this field is left out instead of refused."""

    def __str__(self) -> str:
        if self.every:
            return "[*]"
        return f"[{self.key}]" if isinstance(self.key, int) else f".{self.key}"


def record_path(text: str) -> tuple[Part, ...]:
    """The parts of a path. Raises ValueError that says where it cannot be read."""
    parts: list[Part] = []
    at = 0
    while at < len(text):
        found = _PART.match(text, at)
        if found is None or (found["name"] and (text[at] == ".") is not bool(parts)):
            raise ValueError(
                f"the path {text!r} cannot be read from {text[at:]!r} on; a path is made of field names and "
                'brackets, such as findings[*].message, tags[-1], fix?.text or ["odd name"]'
            )
        parts.append(_part(found))
        at = found.end()
    if not parts:
        raise ValueError("a path names at least one field or entry, such as findings[*].message")
    return tuple(parts)


def _part(found: re.Match[str]) -> Part:
    kind: Literal["every", "index", "name"] = "every" if found["every"] else "index" if found["index"] else "name"
    match kind:
        case "every":
            return Part("*", every=True)
        case "index":
            return Part(int(found["index"]))
        case "name":
            optional = bool(found["open"] or found["quoted_open"])
            return Part(found["name"] or found["quoted"], optional=optional)
