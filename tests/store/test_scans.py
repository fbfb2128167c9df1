"""Files and findings as they live from night to night, from journal lines to tables."""

import itertools
import shutil
from dataclasses import dataclass, field

import pytest

from elexirion_dagster.store.database import ingest, query
from elexirion_dagster.store.home import Home, open_home
from elexirion_dagster.store.journal import JournalWriter
from elexirion_dagster.store.scans import known_files, next_night

PIPELINE, REPO = "nightly", "example.org/team/app"


def found(path, rule="B602", *, symbol="run", text="call(x)", number=1, line=3, tool="bandit", severity="high"):
    """A finding; the fingerprint is made of what the real one is made of."""
    mark = f"{tool} {rule} {symbol} {text} {number}"
    shown = {"column": 1, "end_line": line, "end_column": 9, "message": "m", "snippet": text, "confidence": "high"}
    place = {"path": path, "line": line, "symbol": symbol, "snippet_hash": text, "fingerprint": mark}
    return {"tool": tool, "rule": rule, "severity": severity, **shown, **place}


@dataclass
class Repository:
    """Scans of one repository, each batch a run of its own."""

    home: Home
    nights: int = 0
    batches: itertools.count = field(default_factory=itertools.count)

    def scan(self, files, *, findings=(), renamed=None, deleted=(), same_night=False, **more):
        """Write one batch: `files` maps paths to status or blob."""
        self.nights += not same_night
        statuses = ("failed", "excluded")
        listed = [
            {"path": path, "blob": f"blob of {said}", "status": said if said in statuses else "scanned", "reason": None}
            for path, said in files.items()
        ]
        line = {"path": "mark", "pipeline": PIPELINE, "repo": REPO, "root": "/srv/app", "commit": f"c{self.nights}"}
        line |= {"night": self.nights, "branch": "main", "ruleset": "rules", "model": None, "prompt_version": None}
        line |= {"renamed": renamed or {}, "deleted": list(deleted), "files": listed}
        looked = {"tools": more.pop("tools", ["bandit", "ruff"]), "unparsed": more.pop("unparsed", [])}
        run = f"batch{next(self.batches)}"
        with JournalWriter(self.home, root_run=run, run=run) as journal:
            journal.append("findings", path="analyze", findings=list(findings), **looked)
            journal.append("scanned", durable=True, **{**line, **more})

    def states(self, columns="path, rule, state"):
        ingest(self.home)
        return sorted(query(self.home, f"SELECT {columns} FROM finding_states").rows)  # noqa: S608  columns of the test


@pytest.fixture
def repository(home):
    return Repository(home)


def test_known_files_are_those_of_the_last_scan_that_did_not_fail(repository):
    repository.scan({"a.py": "1", "b.py": "1", "c.py": "1"})
    repository.scan({"a.py": "2", "b.py": "failed", "d.py": "failed"}, deleted=["c.py"])
    known = known_files(repository.home, PIPELINE, REPO)
    assert {path: (file.blob, file.status) for path, file in known.items()} == {
        "a.py": ("blob of 2", "scanned"),
        "b.py": ("blob of 1", "failed"),
    }
    assert known["a.py"].ruleset == "rules"
    assert known_files(repository.home, "other", REPO) == {}


def test_what_is_known_of_a_renamed_file_goes_with_it_also_where_names_are_swapped(repository):
    repository.scan({"a.py": "1", "b.py": "2", "c.py": "3"})
    repository.scan({}, renamed={"a.py": "b.py", "b.py": "a.py", "c.py": "d.py"})
    known = known_files(repository.home, PIPELINE, REPO)
    assert {path: file.blob for path, file in known.items()} == {
        "a.py": "blob of 2",
        "b.py": "blob of 1",
        "d.py": "blob of 3",
    }


def test_the_number_of_a_scan_follows_the_highest_one_known(repository):
    assert next_night(repository.home, PIPELINE, REPO) == 1
    repository.scan({"a.py": "1"})
    assert next_night(repository.home, PIPELINE, REPO) == 2
    assert next_night(repository.home, "other", REPO) == 1


def everything(home):
    asked = ("SELECT * EXCLUDE (before) FROM files", "FROM nights", "FROM finding_states")
    return {sql: sorted(map(repr, query(home, sql).rows)) for sql in asked}


def history(repository):
    """Five nights, some in two batches, with everything that can befall a file."""
    repository.scan({"a.py": "1", "b.py": "1"}, findings=[found("a.py"), found("b.py", "S1")])
    repository.scan({"c.py": "1"}, findings=[found("c.py", "S2")], same_night=True)
    repository.scan({"a.py": "2"}, findings=[])
    repository.scan({"d.py": "1"}, findings=[found("d.py", "S1")], renamed={"b.py": "d.py"})
    repository.scan({"c.py": "failed"}, same_night=True)
    repository.scan({"a.py": "3"}, findings=[found("a.py"), found("a.py", number=2)])
    repository.scan({"e.py": "1"}, findings=[found("e.py", "S2")], deleted=["c.py"])


@pytest.mark.parametrize("order", [1, -1, 3, -2], ids=["forth", "back", "mixed", "mixed back"])
def test_the_order_in_which_journal_files_arrive_does_not_matter(repository, tmp_path, order):
    history(repository)
    ingest(repository.home)
    late = open_home(tmp_path / "late")
    folders = sorted(repository.home.journal.iterdir())
    step = abs(order)
    for start in range(step):
        for folder in folders[:: order // step][start::step]:
            shutil.copytree(folder, late.journal / folder.name)
            ingest(late)
    assert everything(late) == everything(repository.home)
