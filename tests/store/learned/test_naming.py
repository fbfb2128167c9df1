"""A word on a finding is one on the answer that named it."""

import pytest

from elexirion_dagster.operations.findings import Word, judge
from elexirion_dagster.providers.fake import Rule
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.database import query
from elexirion_dagster.store.journal import JournalWriter
from elexirion_dagster.store.learned.learning import rows

TEXT = """name: p
steps:
  - name: review
    type: for_each
    items: [{path: a.py}, {path: b.py}]
    as: file
    steps:
      - {name: look, type: llm, prompt: "look {{ file.path }}", output: {problems: [{rule: string, message: string}]}}
"""
SAID = {"problems": [{"rule": "Open Door", "message": "the door\n  is open"}, {"rule": "x", "message": "other"}]}


@pytest.fixture
def scanned(start):
    """A run whose model names the same problem in two files; a finding was made of each."""
    run = start(TEXT, rules=[Rule(data=SAID)])
    run.all()
    run.run.close()
    root = run.run.info.root_run
    shown = {"column": 1, "end_line": 3, "end_column": 9, "snippet": "x", "snippet_hash": "h", "confidence": "medium"}
    found = [
        {
            "tool": "review",
            "rule": "open-door",
            "severity": "high",
            "path": path,
            "line": 3,
            "fingerprint": mark,
            **shown,
        }
        | {"message": "the door is open"}
        for path, mark in (("a.py", "faaa0001"), ("b.py", "fbbb0002"))
    ]
    files = [{"path": one["path"], "blob": "b", "status": "scanned", "reason": None} for one in found]
    with JournalWriter(run.home, root_run=root, run="claims") as journal:
        journal.append("findings", path="claims", findings=found, unparsed=[], tools=["review"])
        journal.append("scanned", path="mark", pipeline="p", repo="r", night=1, files=files)
    return run.home


def test_accepting_and_rejecting_a_finding_scores_the_answer_about_its_file_alone(scanned):
    settings = Settings(home=scanned.path)
    judge(settings, "faaa0001", Word("rejected", comment="it is a window"))
    (first,) = [row for row in rows(scanned, "p", "review.look") if row.score is not None]
    assert (first.group, first.score, first.comment, first.source) == ("a.py", 0.0, "it is a window", "feedback")
    judge(settings, "fbbb0002", Word("accepted"))
    assert {row.group: row.score for row in rows(scanned, "p", "review.look")} == {"a.py": 0.0, "b.py": 1.0}
    sql = "SELECT path, value FROM scores WHERE source = 'finding' ORDER BY path"
    assert query(scanned, sql).rows == (("review[a.py].look", 0.0), ("review[b.py].look", 1.0))


def test_one_right_finding_does_not_make_the_whole_answer_gold(scanned):
    judge(Settings(home=scanned.path), "fbbb0002", Word("accepted"))
    assert [row.expected for row in rows(scanned, "p", "review.look")] == [None, None]


def test_the_last_word_on_a_finding_counts(scanned):
    settings = Settings(home=scanned.path)
    judge(settings, "faaa0001", Word("accepted"))
    judge(settings, "faaa0001", Word("rejected"))
    assert [row.score for row in rows(scanned, "p", "review.look") if row.group == "a.py"] == [0.0]
