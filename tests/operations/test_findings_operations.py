"""What people say of findings, through the command and into the journal."""

import json

import pytest

from elexirion_dagster.store.database import ingest
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.journal import JournalWriter, lines

MARKS = {"a.py": "faaa000000000001", "b.py": "faaa000000000001", "c.py": "fccc000000000003"}


def scan(home, marks, night):
    """One scan whose findings have these fingerprints."""
    shown = {"column": 1, "end_line": 3, "end_column": 9, "snippet": "x", "snippet_hash": "h", "confidence": "high"}
    found = [
        {"tool": "bandit", "rule": "B602", "severity": "high", "path": path, "line": 3, "fingerprint": mark, **shown}
        | {"message": "shell=True \x1b[31m red\n" + "long " * 100}
        for path, mark in marks.items()
    ]
    files = [{"path": path, "blob": "b", "status": "scanned", "reason": None} for path in MARKS]
    with JournalWriter(home, root_run=f"scan{night}", run=f"scan{night}") as journal:
        journal.append("findings", path="analyze", findings=found, unparsed=[], tools=["bandit"])
        journal.append("scanned", path="mark", pipeline="nightly", repo="r", night=night, files=files)


@pytest.fixture
def home(home_path):
    home = open_home(home_path)
    scan(home, MARKS, 1)
    return home


def states(elexirion, *options):
    said = json.loads(elexirion("findings", "list", "--json", *options).stdout)
    return [(one["path"], one["state"], one["verdict"]) for one in said]


scanned = pytest.mark.usefixtures("home")


@scanned
def test_open_findings_are_listed_without_what_would_steer_a_terminal(elexirion):
    said = elexirion("findings").stdout
    assert said.count("faaa000000000001") == 2
    assert "3 findings" in said
    assert "\x1b" not in said
    assert elexirion("findings", "list", "--limit", 1).stdout.rstrip().endswith("… and 2 more")


def test_an_empty_home_has_no_findings(elexirion):
    assert elexirion("findings").stdout == "0 findings\n"


def test_a_suppression_needs_a_reason_and_hides_one_finding_until_its_day(home, elexirion):
    done = elexirion("findings", "suppress", "fccc", "--reason", "key sk-ant-api03-" + "Ab1" * 30, "--owner", "ada")
    assert done.stdout == "fccc000000000003 c.py:3 B602 suppressed, now suppressed\n"
    assert ("c.py", "suppressed", "suppressed") in states(elexirion, "--state", "suppressed")
    assert [path for path, _, _ in states(elexirion)] == ["a.py", "b.py"]
    (line,) = [line for root in home.journal.glob("findings-*") for line in lines(home, root.name)]
    assert (line["kind"], line["owner"], line["reason"]) == ("feedback", "ada", "key [redacted:anthropic_key]")


@scanned
def test_accepted_findings_stay_open_and_rejected_ones_do_not(elexirion):
    assert elexirion("findings", "accept", "fccc", "--comment", "true").returncode == 0
    assert elexirion("findings", "reject", "faaa", "--path", "a.py").returncode == 0
    assert states(elexirion) == [("b.py", "new", None), ("c.py", "new", "accepted")]


def test_what_people_said_outlives_the_tables(home, elexirion):
    elexirion("findings", "reject", "fccc")
    home.outcomes_db.unlink()
    assert states(elexirion, "--state", "suppressed") == [("c.py", "suppressed", "rejected")]


@scanned
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["suppress", "fccc"], "Missing option '--reason'"),
        (["suppress", "fccc", "--reason", " "], "a suppression needs a reason"),
        (["suppress", "fccc", "--reason", "x", "--until", "soon"], "'soon' is no day"),
        (["suppress", "fccc", "--reason", "x", "--until", "2020-01-01"], "the day 2020-01-01 is past"),
        (["suppress", "fccc", "--reason", "x" * 1001], "at most 1000"),
        (["accept", "faaa"], "2 findings have a fingerprint that begins with 'faaa':\n  faaa000000000001 a.py:3 r"),
        (["accept", "fff0"], "no finding has a fingerprint that begins with 'fff0'"),
        (["accept", "fccc", "--path", "x.py"], "no finding has a fingerprint that begins with 'fccc' in 'x.py'"),
        (["accept", "f"], "at least 4 characters"),
        (["reject", "' OR 1=1 --"], "no finding has a fingerprint"),
        (["list", "--state", "bad"], "is not one of"),
    ],
)
def test_what_cannot_be_recorded_is_refused_with_the_reason(elexirion, words, said):
    done = elexirion("findings", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_finding_that_is_fixed_needs_no_word(home, elexirion):
    scan(home, {"a.py": MARKS["a.py"]}, 2)
    ingest(home)
    done = elexirion("findings", "suppress", "fccc", "--reason", "x")
    assert done.returncode == 2
    assert "fccc000000000003 is fixed since" in done.stderr
