"""Rows to learn from, rows to choose by, and rows that nothing which learns ever sees."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from elexirion_dagster.errors import InputError
from elexirion_dagster.records import counted
from elexirion_dagster.spec.learning import Optimize
from elexirion_dagster.store.learned.learning import Row
from optimizer_assets.rows.texts import canonical, likeness, sketch, written
from optimizer_assets.scoring.metrics import gold_of, needs_gold

NEAR = 0.8
"""Texts with at least this Jaccard index of their runs of five characters are the same row twice."""
HOLDOUT, VALIDATION = 0.4, 0.3
"""The shares of the groups; the rest is for training. Proving needs more rows than showing."""
FEWEST = 5
"""Fewer rows in a part teach, choose or prove nothing."""
_ROOM = 2**64
_NAMED = 3

Part = Literal["holdout", "validation", "train"]
PARTS: tuple[Part, ...] = ("holdout", "validation", "train")


@dataclass(frozen=True, slots=True)
class Split:
    """The rows of each part, in a stable order; `dropped` counts, by reason, those in none."""

    train: tuple[Row, ...]
    validation: tuple[Row, ...]
    holdout: tuple[Row, ...]
    dropped: Mapping[str, int] = field(default_factory=dict)


def split(rows: Sequence[Row], settings: Optimize) -> Split:
    """Divide rows by a stable hash of their group: the same whatever rows are added, no two near to each other.

    The groups of must-pass rows stand in the holdout. Raises InputError when they do not suffice to learn from.
    """
    usable, dropped = _usable(rows, settings)
    _check_golds(rows, usable, settings)
    must = {row.group for row in usable if row.must_pass}
    kept: dict[Part, list[Row]] = {part: [] for part in PARTS}
    seen = _Seen(usable, settings)
    for part in PARTS:
        mine = [row for row in usable if ("holdout" if row.group in must else part_of(row.group)) == part]
        for row in sorted(mine, key=lambda row: (not row.must_pass, row.key)):
            reason = seen.add(row, part)
            if reason is None:
                kept[part].append(row)
            else:
                dropped[reason] += 1
    made = Split(tuple(kept["train"]), tuple(kept["validation"]), tuple(kept["holdout"]), dict(dropped))
    _check_sizes(made, rows, settings)
    return made


def part_of(group: str) -> Part:
    """Where the rows of a group stand, for ever: only its name decides."""
    share = int.from_bytes(hashlib.sha256(group.encode(errors="replace")).digest()[:8]) / _ROOM
    return "holdout" if share < HOLDOUT else "validation" if share < HOLDOUT + VALIDATION else "train"


def digest(rows: Iterable[Row]) -> str:
    """Identify a set of rows and what is right for each (16 hex digits)."""
    lines = sorted(f"{row.key} {canonical(row.expected)}" for row in rows)
    return hashlib.sha256("\n".join(lines).encode(errors="replace")).hexdigest()[:16]


class _Seen:
    """The rows met so far, found again by what they say.

    Two texts as near as NEAR share one of the rarest pieces of each (prefix filtering), so only those are looked up:
    otherwise every row out of one form would be compared with every other.
    """

    def __init__(self, rows: Sequence[Row], settings: Optimize) -> None:
        self._settings = settings
        self._paths = sorted({path for row in rows for path in row.inputs})
        texts = {path: {written(row.inputs.get(path, "")) for row in rows} for path in self._paths}
        self._telling = max(self._paths, key=lambda path: len(texts[path]), default="")
        self._sketches = {text: sketch(text) for several in texts.values() for text in several}
        self._often = Counter(piece for row in rows for piece in self._sketch(row, self._telling))
        self._met: dict[int, list[tuple[Row, Part, bool]]] = {}

    def add(self, row: Row, part: Part) -> str | None:
        """Meet a row; the reason to drop it, if there is one.

        A row of a part before is a reason even where it was dropped itself: its likes must not come back below it.
        """
        index = self._rarest(self._sketch(row, self._telling))
        others = {id(entry): entry for piece in index for entry in self._met.get(piece, ())}.values()
        reason = next((why for other in others if (why := self._reason(row, part, other))), None)
        entry = (row, part, reason is None)
        for piece in index:
            self._met.setdefault(piece, []).append(entry)
        return reason

    def _reason(self, row: Row, part: Part, other: tuple[Row, Part, bool]) -> str | None:
        met, where, kept = other
        if where == part and (not kept or row.must_pass):
            return None
        near = min((self._likeness(row, met, path) for path in self._paths), default=1.0)
        if near < NEAR or (where == part and not _same_gold(row, met, self._settings)):
            return None
        return "duplicate" if near == 1 else "near-duplicate"

    def _likeness(self, one: Row, other: Row, path: str) -> float:
        return likeness(self._sketch(one, path), self._sketch(other, path), least=NEAR)

    def _rarest(self, pieces: Iterable[int]) -> list[int]:
        """The pieces of which a near text has at least one among its own rarest."""
        ordered = sorted(pieces, key=lambda piece: (self._often[piece], piece))
        return ordered[: len(ordered) - math.ceil(NEAR * len(ordered)) + 1]

    def _sketch(self, row: Row, path: str) -> frozenset[int]:
        return self._sketches[written(row.inputs.get(path, ""))] if path else frozenset()


def _same_gold(one: Row, other: Row, settings: Optimize) -> bool:
    return canonical(gold_of(one, settings)) == canonical(gold_of(other, settings))


def _usable(rows: Sequence[Row], settings: Optimize) -> tuple[list[Row], Counter[str]]:
    """The rows that the metric can use, and why others cannot be. InputError for labels that contradict each other."""
    if not rows:
        raise InputError(
            f"expected at least {settings.min_rows} outcomes to learn from, came none "
            "(failed, degraded and unparsed answers never count)",
            mend="Run the pipeline first, or give labelled rows under `examples:`.",
        )
    dropped: Counter[str] = Counter()
    by_inputs: dict[str, list[Row]] = {}
    for row in rows:
        if needs_gold(settings) and row.expected is None:
            dropped["unlabelled"] += 1
        else:
            by_inputs.setdefault(canonical(row.inputs), []).append(row)
    disputed = [group for group in by_inputs.values() if len(_golds(group, settings)) > 1]
    _refuse_contradictions(disputed, settings)
    dropped["contradictory"] += sum(map(len, disputed))
    return [row for group in by_inputs.values() if group not in disputed for row in group], +dropped


def _refuse_contradictions(disputed: Sequence[Sequence[Row]], settings: Optimize) -> None:
    """Labels are people's own words: two that disagree are a fault to mend, not to average."""
    labels = [[row for row in group if row.source == "label"] for group in disputed]
    wrong = [group for group in labels if len(_golds(group, settings)) > 1]
    if wrong:
        named = "; ".join(
            f"{canonical(group[0].inputs)[:120]} is labelled {' and '.join(sorted(_golds(group, settings)))[:200]}"
            for group in wrong[:_NAMED]
        )
        raise InputError(
            f"expected one label per input, came {counted(len(wrong), 'input')} with contradictory labels: {named}",
            mend="Decide which label is right and remove the other.",
        )


def _golds(rows: Iterable[Row], settings: Optimize) -> set[str]:
    return {canonical(gold_of(row, settings)) for row in rows if row.expected is not None}


def _check_golds(rows: Sequence[Row], usable: Sequence[Row], settings: Optimize) -> None:
    """Refuse rows that cannot tell a good prompt from a bad one."""
    scores = [row.score for row in rows if row.score is not None]
    if not usable and len(scores) == len(rows) and not any(scores):
        raise InputError(
            f"expected answers of which some were right, came {counted(len(rows), 'outcome')} that all failed "
            "(scored 0), and no correction says what would have been right",
            mend="Give corrections with `elexirion feedback … --expected FILE`, or labelled rows under `examples:`.",
        )
    golds = _golds(usable, settings)
    if needs_gold(settings) and len(golds) == 1 and len(usable) >= settings.min_rows:
        raise InputError(
            f"expected rows with different right answers, came {len(usable)} of one class only: {min(golds)[:200]}",
            mend="Add rows whose right answer is another one: a prompt that always said this would look perfect.",
        )


def _check_sizes(made: Split, rows: Sequence[Row], settings: Optimize) -> None:
    sizes = {part: len(getattr(made, part)) for part in PARTS}
    there = sum(sizes.values())
    why = ", ".join(f"{count} {reason}" for reason, count in made.dropped.items())
    of_these = f" (of {counted(len(rows), 'row')}: {why})" if why else ""
    if there < settings.min_rows:
        raise InputError(
            f"expected at least {counted(settings.min_rows, 'usable row')}, came {there}{of_these}",
            mend="Run the pipeline on more, give feedback, label rows under `examples:`, or lower `optimize.min_rows`.",
        )
    small = {part: size for part, size in sizes.items() if size < FEWEST}
    if small:
        groups = len({row.group for part in PARTS for row in getattr(made, part)})
        shown = ", ".join(f"{size} for {part}" for part, size in small.items())
        raise InputError(
            f"expected at least {FEWEST} rows each for train, validation and holdout, came {shown}; {there} rows "
            f"stem from {counted(groups, 'source')}, and rows of one source stay together{of_these}",
            mend="Add rows from more sources, or mark fewer as must_pass: those all stand in the holdout.",
        )
