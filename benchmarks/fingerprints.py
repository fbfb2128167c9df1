"""Whether findings keep their identity: a generated history whose truth is known, and this repository's own.

A finding that is still there and is reported as fixed and new is a mistake. The generated history moves lines and
functions, renames files and functions, copies, edits, fixes and adds; many findings have the very same text. In the
repository's own, a finding that goes in the commit in which one of the same rule and text comes counts as a mistake.
"""

import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.history import BAD, Author
from benchmarks.machine import machine
from elexirion_dagster.codebase.analyzers.catalog import analyze
from elexirion_dagster.codebase.languages import language_of
from elexirion_dagster.redact import Redactor
from elexirion_dagster.store.nights.lives import Known, Night, Row, fold

COMMITS, FILES = 300, 40
_SHOWN = 20
Place = tuple[str, int]


@dataclass
class Score:
    """What was reported over a history: `kept` findings of touched files that were rightly seen as the same.

    `swapped` are those of them that stand for an equal one: which of two equal lines was added cannot be told.
    """

    commits: int = 0
    kept: int = 0
    wrong: int = 0
    missed: int = 0
    swapped: int = 0
    news: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Mistakes among the findings that lived on in files that a commit touched."""
        return self.wrong / max(self.kept + self.wrong, 1)

    def __str__(self) -> str:
        share = self.wrong / max(self.news, 1)
        return (
            f"{self.commits} commits: {self.kept + self.wrong} findings lived on in touched files, {self.wrong} "
            f"reported as fixed and new ({self.rate:.2%}; {share:.2%} of {self.news} reported news), "
            f"{self.swapped} took the place of an equal one, {self.missed} changes not noticed"
        )


class Follower:
    """Scans one commit after another as nights of one repository."""

    def __init__(self, root: Path, tools: Sequence[str]) -> None:
        self.root, self.tools = root, tools
        self.files, self.lives = Known(), Known()
        self.position = 0

    def scan(self, changed: Sequence[str], renamed: Mapping[str, str], deleted: Sequence[str]) -> None:
        """One night: the files that a commit touched."""
        self.position += 1
        records = [{"path": path, "language": language_of(path, b"")} for path in changed]
        options = {"tools": self.tools, "workers": 2, "timeout_s": 600, "redactor": Redactor()}
        found = analyze(records, root=self.root, **options)
        by_path: dict[tuple[str, str], list[Row]] = {}
        for finding in found.findings:
            by_path.setdefault(("run", finding.path), []).append(finding.to_json())
        was = {new: old for old, new in renamed.items()}
        base = {"root_run": "run", "run": "run", "reason": None, "ts": f"{self.position:06}", "blob": "b"}
        rows = {path: {**base, "path": path, "status": "deleted"} for path in deleted}
        rows |= {new: {**base, "path": new, "status": "renamed", "was": old} for new, old in was.items()}
        rows |= {path: {**base, "path": path, "status": "scanned", "was": was.get(path)} for path in changed}
        unread = frozenset(("run", one["path"], one["tool"]) for one in found.unparsed)
        fold(Night(("p", "r"), self.position, rows, by_path, {}, unread, {}), self.files, self.lives)

    def living(self) -> Iterator[Row]:
        """What is not fixed."""
        return (life for life in self.lives.rows.values() if life["fixed_night"] is None)

    def planted(self) -> Iterator[Row]:
        """Those that a generated history speaks of."""
        return (life for life in self.living() if life["tool"] == "ruff" and life["rule"] in BAD.values())


def generated(folder: Path, *, commits: int, files: int, seed: int) -> Score:
    """Follow a generated history; its truth says which finding stands in which line."""
    author = Author(folder, random.Random(seed), files)  # noqa: S311  repeatable, no secret
    follower, score = Follower(folder, ["ruff"]), Score()
    before: dict[str, str] = {}
    truth: dict[str, Place] = {}
    for _ in range(commits):
        changed, renamed, deleted = author.commit()
        follower.scan(changed, renamed, deleted)
        _judge(score, follower, before=before, old=truth, truth=author.truth(), changed=frozenset(changed))
        before = {_identity(author.truth(), life): life["finding"] for life in follower.planted()}
        before.pop("", None)
        truth = author.truth()
    score.commits = commits
    return score


def _identity(truth: Mapping[str, Place], life: Row) -> str:
    by_place = {place: name for name, place in truth.items()}
    return by_place.get((life["path"], life["line"]), "")


def _judge(
    score: Score,
    follower: Follower,
    *,
    before: Mapping[str, str],
    old: Mapping[str, Place],
    truth: Mapping[str, Place],
    changed: frozenset[str],
) -> None:
    """Compare who is who with the truth, by the line in which a finding stands."""
    now = {(life["path"], life["line"]): life for life in follower.planted()}
    for name, place in truth.items():
        life = now.get(place)
        if life is None:
            score.missed += 1
        elif name not in before:
            score.missed += life["first_night"] != follower.position
        elif place[0] in changed:
            same = life["finding"] == before[name]
            gone = follower.lives.rows[before[name]]["fixed_night"] == follower.position
            wrong = not same and gone and life["first_night"] == follower.position
            score.kept += not wrong
            score.swapped += not same and not wrong
            score.wrong += wrong
            if wrong:
                score.examples.append(f"{name}: {old.get(name)} -> {place} {life['rule']}")
    stale = {life["finding"] for life in follower.planted() if (life["path"], life["line"]) not in set(truth.values())}
    score.missed += len(stale)
    score.news += sum(life["first_night"] == follower.position for life in follower.lives.rows.values())
    score.news += sum(life["fixed_night"] == follower.position for life in follower.lives.rows.values())


def own(repository: Path, folder: Path, tools: Sequence[str] = ("ruff", "bandit")) -> Score:
    """Follow the history of a repository, one parent at a time."""
    _git(Path.cwd(), "clone", "-q", "--no-checkout", str(repository), str(folder))
    follower, score = Follower(folder, tools), Score()
    previous = _git(folder, "hash-object", "-t", "tree", "/dev/null").strip()
    for commit in _git(folder, "rev-list", "--reverse", "--first-parent", "HEAD").split():
        changed, renamed, deleted = _changes(folder, previous, commit)
        _git(folder, "checkout", "-q", "--force", commit)
        follower.scan(changed, renamed, deleted)
        _suspect(score, follower, frozenset(changed))
        previous = commit
        score.commits += 1
    return score


def _suspect(score: Score, follower: Follower, changed: frozenset[str]) -> None:
    lives = follower.lives.rows.values()
    at = follower.position
    gone = Counter(_text(life) for life in lives if life["fixed_night"] == at)
    came = [life for life in lives if life["first_night"] == at]
    score.news += len(came) + gone.total()
    score.kept += sum(life["path"] in changed and life["first_night"] != at for life in follower.living())
    for life in came:
        if gone[_text(life)]:
            gone[_text(life)] -= 1
            score.wrong += 1
            score.examples.append(f"{life['path']}:{life['line']} {life['rule']} {life['snippet'][:60]!r}")


def _text(life: Row) -> tuple[str, str, str]:
    return life["tool"], life["rule"], " ".join(life["snippet"].split())


def _changes(folder: Path, old: str, new: str) -> tuple[list[str], dict[str, str], list[str]]:
    words = iter(_git(folder, "diff", "--name-status", "-M", "-z", old, new).split("\0")[:-1])
    changed: list[str] = []
    renamed: dict[str, str] = {}
    deleted: list[str] = []
    for status in words:
        path = next(words)
        if status[0] == "D":
            deleted.append(path)
            continue
        if status[0] == "R":
            renamed[path] = path = next(words)
        changed.append(path)
    return changed, renamed, deleted


def _git(folder: Path, *words: str) -> str:
    return subprocess.run(
        ["git", *words],  # noqa: S607  git from the PATH
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def main() -> None:
    print(machine())
    repository = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1]
    for seed in (1, 2):
        with tempfile.TemporaryDirectory() as scratch:
            score = generated(Path(scratch), commits=COMMITS, files=FILES, seed=seed)
            print(f"generated, seed {seed}: {score}", *score.examples[:_SHOWN], sep="\n  ")
    with tempfile.TemporaryDirectory() as scratch:
        score = own(repository, Path(scratch) / "clone")
        print(f"this repository: {score} (goal: under 1 %)", *score.examples[:_SHOWN], sep="\n  ")


if __name__ == "__main__":
    main()
