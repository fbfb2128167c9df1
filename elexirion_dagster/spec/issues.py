"""What a check finds, and the words for what was meant."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing wrong (or, as a warning, doubtful) at a path inside the document."""

    path: Path
    message: str
    mend: str | None = None
    warning: bool = False


def unknown(at: Path, message: str, word: str, known: Iterable[str], mend: str | None = None) -> Issue:
    """The issue of a word that is none of the known ones."""
    return Issue(at, message, meant(word, known) or mend)


def meant(word: str, known: Iterable[str]) -> str | None:
    """The nearest known word, else all of them; None when there are none."""
    names = list(known)
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known here: {', '.join(sorted(names))}." if names else None
