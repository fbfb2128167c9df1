"""A repository whose scans are written into a journal night by night."""

import itertools
from dataclasses import dataclass, field

import pytest

from elexirion_dagster.store.database import ingest, query
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.journal import JournalWriter

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
        looked |= {"marks": more.pop("marks")} if "marks" in more else {}
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
