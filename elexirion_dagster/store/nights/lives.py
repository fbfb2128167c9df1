"""How findings live: one night's scan laid over what was known, so that each finding keeps its history.

A finding is recognised in the same file by its fingerprint; what is gone at one place and came at another in the same
night moved: with its fingerprint (a function taken to another file, a rename that git did not see), or within its file
with the same text (its function was renamed). A copy of a finding that is still there is a new finding. What a model
named is there until the line that it quoted is gone, whether or not it names it again.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from elexirion_dagster.records import MARK_DIGITS, Json, line_marks

Row = dict[str, Json]

SEVERITIES = ("critical", "high", "medium", "low", "info")
_SHOWN = (
    *("path", "line", "column", "end_line", "end_column", "severity", "confidence"),
    *("message", "snippet", "snippet_hash", "symbol", "url", "fix", "fingerprint"),
)
_CUT = 2000  # a snippet of that length is cut off in its last line
_KNOWLEDGE = ("blob", "ruleset", "model", "prompt_version", "commit", "scanned_at")


@dataclass(frozen=True, slots=True)
class Night:
    """One scan of a repository by a pipeline, all of its batches.

    `scope` is pipeline and repository. `files`: the last row per path (status scanned, failed, excluded, deleted or
    renamed; `was`: its path before; `root_run`, `ts`). `findings` of a root run by path. `tools` of a root run are
    those that looked (None: all); `unread` holds (root run, path, tool); `marks` has by the same what the lines were
    that a tool read which does not name everything each time.
    """

    scope: tuple[str, str]
    position: int
    files: Mapping[str, Row]
    findings: Mapping[tuple[str, str], Sequence[Row]]
    tools: Mapping[str, frozenset[str] | None]
    unread: frozenset[tuple[str, str, str]]
    marks: Mapping[tuple[str, str, str], str]

    def looked(self, tool: str, path: str) -> bool:
        """Whether this tool read this file tonight."""
        root_run = self.files[path]["root_run"]
        tools = self.tools.get(root_run)
        return (tools is None or tool in tools) and (root_run, path, tool) not in self.unread


@dataclass(slots=True)
class Known:
    """Rows of one table for one pipeline and repository by their key; each remembers how it was before its night."""

    rows: dict[str, Row] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)

    def put(self, key: str, row: Row, position: int) -> None:
        """Set a row, keeping the one from before this night."""
        old = self.rows.get(key)
        before = old
        if old is not None and old["touched"] == position:
            before = old["before"]
        elif old is not None:
            before = {name: value for name, value in old.items() if name != "before"}
        self.rows[key] = {**row, "touched": position, "before": before}
        self.changed.add(key)

    def undo(self, position: int) -> None:
        """Put every row back that this night, the newest, touched."""
        for key in [key for key, row in self.rows.items() if row["touched"] == position]:
            before = self.rows[key]["before"]
            self.changed.add(key)
            if before is None:
                del self.rows[key]
            else:
                self.rows[key] = {**before, "before": None}


def fold(night: Night, files: Known, lives: Known) -> Row:
    """Lay a night over the files and lives known before it; returns what it came to, in numbers."""
    _carry_renamed(night, lives)
    _learn(night, files)
    missed, came = _compare(night, lives)
    gone = _carry_quoted(night, lives, missed)
    moved = _pair_moved(night, gone, came)
    for life, finding in moved:
        _see(night, lives, life, finding)
    taken = {life["finding"] for life, _ in moved}
    fixed = [life for life in gone if life["finding"] not in taken]
    for life in fixed:
        at = night.files[life["path"]]["ts"]
        fate = {"fixed_at": max(at, life["first_seen"]), "fixed_night": night.position, "excluded": None}
        lives.put(life["finding"], {**life, **fate}, night.position)
    found = {id(finding) for _, finding in moved}
    born = [finding for finding in came if id(finding) not in found]
    reopened = _welcome(night, lives, born)
    return _tally(night, lives, {"new": len(born) - reopened, "reopened": reopened, "fixed": len(fixed)})


def _carry_renamed(night: Night, lives: Known) -> None:
    """Take the lives of renamed files to the new names, all at once: names may be swapped."""
    new_names = {row["was"]: path for path, row in night.files.items() if row.get("was")}
    moved = [life for life in lives.rows.values() if life["path"] in new_names] if new_names else []
    for life in moved:
        path = new_names[life["path"]]
        paths = life["paths"] if path in life["paths"] else [*life["paths"], path]
        lives.put(life["finding"], {**life, "path": path, "paths": paths}, night.position)


def _learn(night: Night, files: Known) -> None:
    """Note what is known of each file: a failed one keeps what was known, a renamed one takes it along."""
    earlier = dict(files.rows)
    for path, row in night.files.items():
        if row.get("was") in earlier and row["was"] not in night.files:
            gone = {**earlier[row["was"]], "status": "deleted", "reason": f"renamed to {path}"}
            files.put(row["was"], gone, night.position)
    for path, row in night.files.items():
        status = row["status"]
        base = earlier.get(row.get("was") or path)
        kept = {name: base[name] if base else None for name in _KNOWLEDGE}
        if status in ("scanned", "excluded"):
            kept = {name: row.get(name) for name in _KNOWLEDGE} | {"scanned_at": row["ts"]}
        elif status == "renamed":
            status = base["status"] if base else "failed"
        fate = {"path": path, "status": status, "reason": row.get("reason"), "run": row["run"]}
        files.put(path, {**kept, **fate}, night.position)


def _compare(night: Night, lives: Known) -> tuple[list[Row], list[Row]]:
    """See again what is where it was; returns the lives that are gone and the findings that came."""
    living: dict[str, dict[str, Row]] = defaultdict(dict)
    came: list[Row] = []
    here_tonight = (life for life in lives.rows.values() if life["path"] in night.files and life["fixed_night"] is None)
    aged = sorted(here_tonight, key=_age)
    # A life that another one hides was in a file over which a file was renamed.
    gone = [life for life in aged if living[life["path"]].setdefault(life["fingerprint"], life) is not life]
    for path, row in sorted(night.files.items()):
        here = living.get(path, {})
        if row["status"] == "deleted":
            gone += here.values()
        elif row["status"] == "excluded":
            for life in here.values():
                why = f"excluded: {row.get('reason') or 'by the pipeline'}"
                lives.put(life["finding"], {**life, "excluded": why}, night.position)
        elif row["status"] == "scanned":
            found = {finding["fingerprint"]: finding for finding in night.findings.get((row["root_run"], path), ())}
            for fingerprint in found.keys() & here.keys():
                _see(night, lives, here[fingerprint], found[fingerprint])
            came += [finding for fingerprint, finding in found.items() if fingerprint not in here]
            gone += [life for mark, life in here.items() if mark not in found and night.looked(life["tool"], path)]
    return gone, came


def _carry_quoted(night: Night, lives: Known, missed: Iterable[Row]) -> list[Row]:
    """Keep what a reviewer did not name again while the lines that it quoted stand there; returns what is gone.

    One place is one finding's of a rule, so that of two equal ones only as many stay as there are lines.
    """
    taken = {(one["path"], one["tool"], one["rule"], one["line"]) for some in night.findings.values() for one in some}
    gone = []
    for life in sorted(missed, key=_place):
        about = life["path"], life["tool"], life["rule"]
        free = [line for line in _quoted_at(night, life) if (*about, line) not in taken]
        if not free:
            gone.append(life)
            continue
        was = life["line"] or 1
        line = min(free, key=lambda at: (abs(at - was), at))
        taken.add((*about, line))
        place = {"line": line, "end_line": line + max((life["end_line"] or was) - was, 0), "excluded": None}
        lives.put(life["finding"], {**life, **place}, night.position)
    return gone


def _quoted_at(night: Night, life: Row) -> Iterator[int]:
    """The lines (from 1) at which a finding's snippet stands in the file as its tool read it tonight."""
    row = night.files[life["path"]]
    there = night.marks.get((row["root_run"], life["path"], life["tool"]), "") if row["status"] == "scanned" else ""
    snippet = str(life["snippet"] or "")
    quote = line_marks(snippet if len(snippet) < _CUT else snippet.rpartition("\n")[0] or snippet)
    for at in range(0, len(there) - len(quote) + 1, MARK_DIGITS):
        if snippet.strip() and there.startswith(quote, at):
            yield at // MARK_DIGITS + 1


def _pair_moved(night: Night, gone: Iterable[Row], came: Iterable[Row]) -> list[tuple[Row, Row]]:
    """Pair what is gone with what came, in the order of the code."""
    pairs: list[tuple[Row, Row]] = []
    for key in (_elsewhere, _renamed_around):
        waiting: dict[Json, list[Row]] = defaultdict(list)
        paired = {id(row) for pair in pairs for row in pair}
        for life in sorted((life for life in gone if id(life) not in paired), key=_place, reverse=True):
            if key is _renamed_around or life["symbol"] or night.files[life["path"]]["status"] == "deleted":
                waiting[key(life)].append(life)
        unpaired = sorted((finding for finding in came if id(finding) not in paired), key=_place)
        pairs += [(waiting[key(one)].pop(), one) for one in unpaired if waiting.get(key(one))]
    return pairs


def _elsewhere(row: Row) -> Json:
    """The same finding, wherever it is."""
    return row["fingerprint"]


def _renamed_around(row: Row) -> Json:
    """The same text in the same file, whatever it stands in is called now."""
    return row["path"], row["tool"], row["rule"], row["snippet_hash"]


def _age(life: Row) -> tuple[Json, ...]:
    return -(life["last_night"] or 0), life["first_night"], life["finding"]


def _place(row: Row) -> tuple[Json, ...]:
    return row["path"], row["line"] or 0, row["fingerprint"]


def _see(night: Night, lives: Known, life: Row, finding: Row) -> None:
    """Note that a life was seen tonight, as it looks now."""
    seen = {name: finding.get(name) for name in _SHOWN}
    mark, path = finding["fingerprint"], finding["path"]
    history = {
        "known_as": life["known_as"] if mark in life["known_as"] else [*life["known_as"], mark],
        "paths": life["paths"] if path in life["paths"] else [*life["paths"], path],
        "last_seen": max(night.files[path]["ts"], life["first_seen"]),
        "last_night": night.position,
        "nights": life["nights"] + (life["last_night"] != night.position),
        "excluded": None,
    }
    lives.put(life["finding"], {**life, **seen, **history}, night.position)


def _welcome(night: Night, lives: Known, born: Iterable[Row]) -> int:
    """Reopen what was fixed at this place, begin a life for everything else; returns how many were reopened."""
    fixed = {
        (life["path"], life["fingerprint"]): life for life in lives.rows.values() if life["fixed_night"] is not None
    }
    reopened = 0
    for finding in sorted(born, key=_place):
        life = fixed.pop((finding["path"], finding["fingerprint"]), None)
        if life is not None:
            again = {"fixed_at": None, "fixed_night": None, "reopened_night": night.position}
            _see(night, lives, {**life, **again}, finding)
            reopened += 1
        else:
            _begin(night, lives, finding)
    return reopened


def _begin(night: Night, lives: Known, finding: Row) -> None:
    mark, path, at = finding["fingerprint"], finding["path"], night.files[finding["path"]]["ts"]
    key, number = "", 0
    while not key or key in lives.rows:
        number += 1
        key = hashlib.sha256(json.dumps([*night.scope, mark, path, number]).encode()).hexdigest()[:16]
    life = {name: finding.get(name) for name in (*_SHOWN, "tool", "rule")}
    life |= {"finding": key, "known_as": [mark], "paths": [path], "first_seen": at, "first_night": night.position}
    life |= {"last_seen": at, "last_night": night.position, "nights": 1, "reopened_night": None}
    lives.put(key, {**life, "fixed_at": None, "fixed_night": None, "excluded": None}, night.position)


def _tally(night: Night, lives: Known, came_to: Mapping[str, int]) -> Row:
    statuses = Counter(row["status"] for row in night.files.values())
    alive = [life for life in lives.rows.values() if life["fixed_night"] is None and life["excluded"] is None]
    severities = Counter(life["severity"] for life in alive)
    files = {name: statuses[name] for name in ("scanned", "failed", "excluded", "deleted")}
    return {**files, "findings": len(alive), **came_to, **{name: severities[name] for name in SEVERITIES}}
