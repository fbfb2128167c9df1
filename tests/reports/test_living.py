"""A report of findings that are followed from scan to scan, from journal lines to its four forms."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import pytest

from elexirion_dagster.records import Finding
from elexirion_dagster.reports import html, json_report, markdown, sarif
from elexirion_dagster.reports.living import of_scan
from elexirion_dagster.reports.report import Report
from elexirion_dagster.store.database import ingest, query
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.journal import JournalWriter

SCHEMA = Path(__file__).parents[1] / "data" / "sarif" / "sarif-2.1.0-rtm.5.json"
HOSTILE = "</script><svg onload=x>\x1b[31m \u202e `x` | **b** [a](javascript:x)"
RUN = {"pipeline": "nightly", "run_id": "r2", "root": "/srv/code", "status": "succeeded"}
EDIT = {"line": 3, "column": 1, "end_line": 4, "end_column": 0, "text": ""}


def found(name, **changes):
    """A finding whose fingerprint is told apart by its name alone."""
    known = {"severity": "high", "confidence": "high", "path": f"{name}.py", "line": 3, "column": 1, "end_line": 3}
    known |= {"end_column": 9, "message": "m", "snippet": "x", "snippet_hash": name, "symbol": "f"}
    known |= {"tool": "ruff", "rule": "F401", "fingerprint": f"f{name:0>15}", **changes}
    return Finding(**known).to_json()


def scan(home, night, findings, *, repo="example.org/team/app", commit="c0ffee"):
    files = [{"path": f"{name}.py", "blob": "b", "status": "scanned"} for name in "abcd"]
    with JournalWriter(home, root_run=f"scan{night}", run=f"scan{night}") as journal:
        journal.append("findings", path="analyze", findings=findings, unparsed=[], tools=["ruff", "bandit"])
        line = {"night": night, "files": files, "root": "/srv/code", "commit": commit, "branch": "main"}
        journal.append("scanned", path="mark", pipeline="nightly", repo=repo, **line)


def suppress(home, path, reason):
    ingest(home)
    sql = "SELECT finding, fingerprint, pipeline, repo FROM finding_states WHERE path = ?"
    answer = query(home, sql, [path])
    (row,) = answer.rows
    with JournalWriter(home, root_run="findings-x", run="findings-x") as journal:
        said = {"verdict": "suppressed", "reason": reason, "owner": "ada", "expires": "2999-12-31"}
        journal.append("feedback", **dict(zip(answer.columns, row, strict=True)), path=path, **said)


@pytest.fixture
def home(tmp_path):
    return open_home(tmp_path / "home")


def living(home, repo="example.org/team/app"):
    return of_scan(Report.from_outputs({"files": 4, "findings": [found("d")]}, RUN), home, "nightly", repo)


@pytest.fixture
def report(home):
    """After two scans: `a` is open, `b` fixed, `c` suppressed, `d` new with a fix that its tool knows."""
    scan(home, 1, [found("a"), found("b"), found("c")])
    suppress(home, "c.py", "constant")
    scan(home, 2, [found("a"), found("c"), found("d", fix=(EDIT,))])
    return living(home)


def test_a_report_holds_what_lives_in_the_repository_not_only_what_this_run_saw(report):
    assert [(one["path"], one["state"]) for one in report.findings] == [("a.py", "open"), ("d.py", "new")]
    assert report.by_state == {"new": 1, "open": 1, "fixed": 1, "reopened": 0, "suppressed": 1}
    assert [night["findings"] for night in report.nights] == [3, 3]
    assert report.place == {"repo": "example.org/team/app", "commit": "c0ffee", "branch": "main"}


def test_a_pipeline_that_scanned_nothing_has_its_own_report(home):
    report = Report.from_outputs({"findings": [found("d")]}, RUN)
    assert of_scan(report, home, "nightly", "elsewhere") == report


def validated(report):
    log = json.loads(sarif.render(report))
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker()).validate(log)
    return log["runs"][-1]


def test_the_sarif_log_tells_states_suppressions_fixes_and_the_commit(report):
    run = validated(report)
    results = {one["partialFingerprints"]["elexirionFinding/v1"][-1]: one for one in run["results"]}
    baselines = {name: one["baselineState"] for name, one in results.items()}
    assert baselines == {"a": "unchanged", "b": "absent", "c": "unchanged", "d": "new"}
    assert [(one["status"], one["justification"]) for one in results["c"]["suppressions"]] == [("accepted", "constant")]
    assert results["d"]["fixes"][0]["artifactChanges"][0]["replacements"] == [
        {
            "deletedRegion": {"startLine": 3, "startColumn": 1, "endLine": 4, "endColumn": 1},
            "insertedContent": {"text": ""},
        }
    ]
    (origin,) = run["versionControlProvenance"]
    assert origin["repositoryUri"] == "https://example.org/team/app"
    assert (origin["revisionId"], origin["branch"]) == ("c0ffee", "main")


@pytest.mark.parametrize("repo", ["/srv/my code", "host.example:8080/a b", "h/p//sub folder"])
def test_every_repository_has_an_address_that_the_schema_takes(home, repo):
    scan(home, 1, [found("a")], repo=repo, commit=None)
    assert "revisionId" not in validated(living(home, repo))["versionControlProvenance"][0]


def test_the_markdown_report_says_what_came_what_went_and_who_answers_for_the_rest(report):
    text = markdown.render(report)
    assert "| new | open | fixed | reopened | suppressed |\n|---|---|---|---|---|\n| 1 | 1 | 1 | 0 | 1 |" in text
    assert "| `f00000000000000c` | `c.py:3` | `F401` | constant | ada | 2999-12-31 |" in text
    assert "### new, high: `F401` at `d.py:3`" in text
    assert "## Scans" in text


def test_the_scans_of_each_repository_count_from_one_whatever_lay_between_them(home):
    for night, repo in ((1, "example.org/team/app"), (4, "example.org/team/other"), (9, "example.org/team/app")):
        scan(home, night, [found("d")], repo=repo)
    report = living(home)
    rows = [
        line.split("|")[1].strip()
        for line in markdown.render(report).split("## Scans")[1].splitlines()
        if "c0f" in line
    ]
    assert rows == ["2", "1"]
    assert [night["number"] for night in json.loads(json_report.render(report))["nights"]] == [1, 2]
    assert ">2: 20" in html.render(report)


class Tags(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_the_page_shows_scans_as_shapes_and_asks_nothing_of_the_network(report):
    tags = Tags(html.render(report)).found
    assert [attributes["points"].count(",") for tag, attributes in tags if tag == "polyline"] == [2]
    assert sum(attributes.get("class") == "new" and tag == "rect" for tag, attributes in tags) == 2
    assert not any({"src", "href", "xlink:href"} & attributes.keys() for _, attributes in tags)


def test_hostile_text_stays_text_in_every_form(home):
    hostile = found("a", message=HOSTILE, snippet=HOSTILE, rule=HOSTILE, path="a.py", severity="critical")
    scan(home, 1, [hostile, found("c", message=HOSTILE * 2_000)], commit=HOSTILE)
    suppress(home, "a.py", HOSTILE)
    scan(home, 2, [hostile], commit=HOSTILE)
    report = living(home)
    page = html.render(report)
    tags = Tags(page).found
    assert not any(name.startswith("on") for _, attributes in tags for name in attributes)
    assert len(re.findall("<svg", page)) == 1
    for text in (page, markdown.render(report)):
        assert "\x1b" not in text
        assert "\u202e" not in text
    validated(report)


def test_findings_with_impossible_values_are_reported_all_the_same(home):
    bare = {"path": "b.py", "tool": "ruff", "fingerprint": "f2"}
    scan(home, 1, [found("a", severity="dreadful", line=-3, column=0, end_line=0, fix=("x",)), bare])
    report = living(home)
    assert [(one["path"], one["severity"], one["line"]) for one in report.findings] == [
        ("a.py", "info", 1),
        ("b.py", "info", 1),
    ]
    validated(report)
    assert "a.py:1" in markdown.render(report)
    assert html.render(report)


def test_a_report_written_before_findings_were_followed_is_still_read(report):
    old = {
        name: value
        for name, value in json.loads(json_report.render(report)).items()
        if name not in ("nights", "place", "suppressed", "fixed", "by_state")
    }
    assert json_report.load(json.dumps(old)).place is None
    assert json_report.load(json_report.render(report)).by_state == report.by_state
