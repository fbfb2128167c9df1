"""What a translation has to say: what was changed or cannot be honoured, and what makes the document unusable."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches

from elexirion_dagster.errors import Problem
from elexirion_dagster.yamlio import Document

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that was changed or could not be honoured: the line and key it is about, and what is said of it."""

    line: int
    key: str
    said: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.key}: {self.said}"


@dataclass(slots=True)
class Notes:
    """The list of one document; the same words about the same key stand in it once, at their first line."""

    document: Document
    faults: list[Problem] = field(default_factory=list)
    _said: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, path: Path, said: str, key: str | None = None) -> None:
        """Say something of the key at a path."""
        line = self.document.position(path)[0]
        word = key or next((str(part) for part in reversed(path) if isinstance(part, str)), "document")
        self._said[word, said] = min(line, self._said.get((word, said), line))

    def unknown(self, path: Path, known: Iterable[str]) -> None:
        """Say that a key is not known, and which known one is nearest."""
        close = get_close_matches(str(path[-1]), sorted(set(known)), n=1, cutoff=0.6)
        near = f"did you mean {close[0]!r}?" if close else "nothing here does what its name says"
        self.add(path, f"unknown key, not used; {near}")

    def refuse(self, path: Path, message: str, mend: str | None = None) -> None:
        """Take note of a fault; the document is refused when all of them are found."""
        problem = self.document.problem(message, path, mend)
        if problem not in self.faults:
            self.faults.append(problem)

    def listed(self) -> tuple[Note, ...]:
        """Everything said, in the order of the document."""
        found = [Note(line, key, said) for (key, said), line in self._said.items()]
        return tuple(sorted(found, key=lambda note: (note.line, note.key, note.said)))
