"""Texts as sets of pieces: how near two are to each other, and which runs of words they share."""

import heapq
import json
import re
import unicodedata
import zlib
from collections.abc import Iterator, Mapping

from elexirion_dagster.records import Json

GRAM_CHARS = 5
_SKETCH = 400
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")


def written(value: Json) -> str:
    """A value as text: text as it is, anything else as JSON, the same for equal values."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False, default=dict)


def canonical(value: Json) -> str:
    """One text per value: `1` and `1.0` are the same, `1` and `true` are not, white space around texts is nothing."""
    return json.dumps(_plain(value), sort_keys=True, ensure_ascii=False)


def normal(text: str) -> str:
    """The text without what does not make another row of it: width and case of letters, amount of white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def words(text: str) -> list[str]:
    """The words of a text in order, letters folded; signs of languages without spaces one by one."""
    return _WORD.findall(normal(text))


def sketch(text: str) -> frozenset[int]:
    """The smallest hashes of all runs of GRAM_CHARS characters: all up to 400 runs, a sample beyond."""
    folded = normal(text)
    runs = {folded[at : at + GRAM_CHARS] for at in range(max(len(folded) - GRAM_CHARS + 1, 1))}
    return frozenset(heapq.nsmallest(_SKETCH, {zlib.crc32(run.encode(errors="replace")) for run in runs}))


def likeness(one: frozenset[int], other: frozenset[int], *, least: float = 0.0) -> float:
    """The Jaccard index of two sketched texts: the share of their pieces that both have; 1 for equal ones.

    0 where it is below `least` for certain, which is far quicker to see.
    """
    if one == other:
        return 1.0
    both = one & other
    if len(both) < least * max(len(one), len(other)):
        return 0.0
    union = sorted(one | other)[:_SKETCH]
    return sum(piece in both for piece in union) / len(union)


def runs_of(listed: list[str], length: int) -> Iterator[tuple[str, ...]]:
    """Every run of so many words."""
    return (tuple(listed[at : at + length]) for at in range(len(listed) - length + 1))


def texts_of(value: Json) -> Iterator[str]:
    """Every text within a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from texts_of(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from texts_of(part)


def _plain(value: Json) -> Json:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
