import json
import re
import stat
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from urllib.parse import unquote

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from elexirion_dagster.errors import StorageError
from elexirion_dagster.records import Finding
from elexirion_dagster.reports import html, json_report, markdown, sarif
from elexirion_dagster.reports.report import Report, visible
from elexirion_dagster.reports.terminal import findings_table, summary
from elexirion_dagster.reports.write import write

SCHEMA = Path(__file__).parents[1] / "data" / "sarif" / "sarif-2.1.0-rtm.5.json"
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)> `x` | **b** [a](javascript:x) \x1b[31m \u202e"
RUN = {
    "pipeline": "nightly",
    "run_id": "r1",
    "root": "/srv/code",
    "started_at": "2026-01-02 03:04 UTC",
    "duration_s": 1.5,
    "status": "succeeded",
}


def finding(**changes: object) -> dict[str, object]:
    known = {
        "tool": "bandit",
        "rule": "B602",
        "severity": "high",
        "confidence": "high",
        "path": "src/a b.py",
        "line": 3,
        "column": 5,
        "end_line": 4,
        "end_column": 9,
        "message": "shell=True",
        "snippet": "run(x,\n    shell=True)",
        "snippet_hash": "0123456789abcdef",
        "url": "https://bandit.example/b602",
    }
    return Finding(**{**known, **changes}).to_json()  # type: ignore[arg-type]


def tool(name: str = "bandit", **changes: object) -> dict[str, object]:
    known = {"name": name, "version": "1.9", "files": 2, "findings": 1, "seconds": 0.5, "status": "ran", "reason": None}
    return {**known, **changes}


def report(**outputs: object) -> Report:
    known = {
        "files": 2,
        "findings": [finding()],
        "tools": [tool(), tool("ruff", status="missing", reason="not installed")],
        "unparsed": [{"path": "bad.py", "tool": "bandit", "reason": "syntax error"}],
        "skipped": [{"path": "logo.png", "reason": "binary"}],
    }
    return Report.from_outputs({**known, **outputs}, RUN)


def hostile_report() -> Report:
    return report(
        findings=[finding(path=HOSTILE, message=HOSTILE, snippet=HOSTILE, rule=HOSTILE, url=f"javascript:{HOSTILE}")],
        unparsed=[{"path": HOSTILE, "tool": "bandit", "reason": HOSTILE}],
        skipped=[{"path": HOSTILE, "reason": HOSTILE}],
        tools=[tool(status="failed", reason=HOSTILE)],
        reviews=[
            {"path": HOSTILE, "line": 3, "rule": HOSTILE, "verdict": "unsure", "explanation": HOSTILE, "fix": HOSTILE}
        ],
        note=HOSTILE,
        review_note=HOSTILE,
        title=HOSTILE,
    )


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_a_report_needs_nothing_but_a_run(tmp_path: Path):
    made = Report.from_outputs({}, {})

    assert (made.files, made.findings, made.cost_usd, made.status) == (0, (), None, "unknown")
    assert sorted(write(made, tmp_path)) == ["report.html", "report.json", "report.md", "report.sarif"]


def test_outputs_may_be_the_data_of_files_and_analyze_steps_as_they_are():
    listed = {
        "root": "/other",
        "files": [{"path": "a.py"}],
        "source": "walk",
        "note": "all",
        "skipped": [{"path": "b", "reason": "binary"}],
    }
    analysis = {"findings": [finding()], "unparsed": [], "tools": [tool()], "files": 7}

    made = Report.from_outputs({"listed": listed, "analysis": analysis}, RUN)

    assert (made.files, made.source, made.note, made.root) == (1, "walk", "all", "/other")
    assert made.by_severity == {"critical": 0, "high": 1, "medium": 0, "low": 0, "info": 0}
    assert made.skipped == ({"path": "b", "reason": "binary"},)


def test_findings_stand_from_the_worst_to_the_mildest():
    made = report(findings=[finding(severity="info"), finding(severity="critical"), finding(severity="low", line=1)])

    assert [found["severity"] for found in made.findings] == ["critical", "low", "info"]


@pytest.mark.parametrize(
    ("calls", "cost_usd", "said"), [(0, None, "no model calls"), (3, None, "unknown"), (3, 0.5, "$0.5000")]
)
def test_an_unknown_cost_is_never_shown_as_nothing(calls: int, cost_usd: float | None, said: str):
    assert report(calls=calls, cost_usd=cost_usd).cost == said


def test_written_reports_are_private_whole_and_replace_older_ones(tmp_path: Path):
    folder = tmp_path / "new" / "reports"
    write(report(findings=[]), folder)
    written = write(report(), folder)

    assert sorted(path.name for path in folder.iterdir()) == sorted(written)
    assert {stat.S_IMODE(path.stat().st_mode) for path in written.values()} == {0o600}
    assert len(json.loads(written["report.json"].read_text())["findings"]) == 1


def test_a_report_read_back_from_its_json_is_the_same_report():
    text = json_report.render(report())

    assert json_report.render(json_report.load(text)) == text


def test_a_folder_that_cannot_be_written_is_told_with_a_way_out(tmp_path: Path):
    (tmp_path / "file").touch()

    with pytest.raises(StorageError, match="cannot be written") as caught:
        write(report(), tmp_path / "file")
    assert caught.value.mend


def test_the_html_page_asks_nothing_of_the_network():
    for tag, attributes in Tags(html.render(report())).found:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base")
        assert not {"src", "href", "srcset", "action"} & attributes.keys()
    assert "@import" not in html.render(report())
    assert "url(" not in html.render(report())


def test_hostile_text_makes_no_element_of_the_html_page():
    calm, hostile = Tags(html.render(full_report())).found, Tags(html.render(hostile_report())).found

    assert [tag for tag, _ in hostile] == [tag for tag, _ in calm]
    assert not any(name.startswith("on") for _, attributes in hostile for name in attributes)


def full_report() -> Report:
    return report(tools=[tool()], note="n", review_note="r")


def data_of(page: str) -> list[dict[str, object]]:
    match = re.search(r'(?s)<script type="application/json" id="data">(.*?)</script>', page)
    assert match
    found: list[dict[str, object]] = json.loads(match[1])
    return found


def test_the_data_in_the_html_page_is_whole_and_links_only_to_https():
    (row,) = data_of(html.render(hostile_report()))

    assert row["message"] == visible(HOSTILE)
    assert row["url"] is None
    assert data_of(html.render(report()))[0]["url"] == "https://bandit.example/b602"


def test_control_and_direction_characters_never_reach_a_reader():
    made = hostile_report()
    console = Console(width=200, record=True, file=StringIO())
    console.print(summary(made), findings_table(made, 10))
    texts = [html.render(made), markdown.render(made), console.export_text()]

    for text in texts:
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "\\u202e" in text


@given(st.text())
def test_code_in_markdown_cannot_leave_its_fence(snippet: str):
    text = markdown.render(report(findings=[finding(snippet=snippet)], tools=[], unparsed=[], skipped=[]))
    fences = re.findall(r"(?m)^(`{3,})$", text)

    assert len(fences[0]) > max((len(run) for run in re.findall("`+", snippet)), default=0)
    assert text.count(f"\n{fences[0]}\n") == 2


def test_markup_in_messages_and_paths_is_escaped_in_markdown():
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown.render(hostile_report()))
    kinds = {inner.type for token in tokens for inner in (token, *(token.children or ()))}
    texts = [inner.content for token in tokens for inner in token.children or () if inner.type == "text"]

    assert not kinds & {"html_block", "html_inline", "link_open", "image"}
    assert any("<script>alert(1)</script>" in text for text in texts)
    assert any(
        "**b** [a](javascript:x)" in "".join(inner.content for inner in token.children or ()) for token in tokens
    )


def test_a_markdown_report_names_what_was_not_read_and_which_tool_failed():
    text = markdown.render(report())

    assert "`bad.py`" in text
    assert "`logo.png`" in text
    assert "not installed" in text


def test_a_long_markdown_report_says_how_much_it_leaves_out():
    text = markdown.render(report(findings=[finding(line=line) for line in range(1, 703)]))

    assert "and 202 more in `report.json`" in text


@pytest.mark.parametrize(
    "made", [report(), hostile_report(), Report.from_outputs({}, {})], ids=["usual", "hostile", "empty"]
)
def test_the_sarif_log_fits_the_official_schema(made: Report):
    schema = json.loads(SCHEMA.read_text())

    jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker()).validate(
        json.loads(sarif.render(made))
    )


def test_the_sarif_log_places_results_below_the_root_with_exclusive_ends():
    run, _ruff = json.loads(sarif.render(report()))["runs"]
    place = run["results"][0]["locations"][0]["physicalLocation"]

    assert run["originalUriBaseIds"] == {"SRCROOT": {"uri": "file:///srv/code/"}}
    assert place["artifactLocation"] == {"uri": "src/a%20b.py", "uriBaseId": "SRCROOT"}
    assert unquote(place["artifactLocation"]["uri"]) == "src/a b.py"
    assert (place["region"]["startColumn"], place["region"]["endColumn"]) == (5, 10)


def test_the_sarif_log_tells_unread_files_and_missing_tools():
    bandit, ruff = (run["invocations"][0] for run in json.loads(sarif.render(report()))["runs"])

    told = [(note["level"], note["message"]["text"]) for note in bandit["toolExecutionNotifications"]]
    assert told == [("error", "syntax error"), ("note", "binary")]
    assert bandit["executionSuccessful"] is True
    assert ruff["executionSuccessful"] is False
    assert ruff["toolExecutionNotifications"][0]["message"]["text"] == "not installed"


def fingerprints(*findings: dict[str, object]) -> list[str]:
    results = json.loads(sarif.render(report(findings=findings)))["runs"][0]["results"]
    return [result["partialFingerprints"]["elexirionSnippet/v1"] for result in results]


def test_a_fingerprint_survives_moved_lines_and_tells_equal_lines_apart():
    assert fingerprints(finding(line=3)) == fingerprints(finding(line=30, end_line=31))
    first, second = fingerprints(finding(line=3), finding(line=30))
    assert first != second
    assert fingerprints(finding(snippet_hash="f" * 16)) != fingerprints(finding())


def test_a_model_verdict_stands_with_its_finding():
    review = {
        "path": "src/a b.py",
        "line": 3,
        "rule": "B602",
        "verdict": "false_positive",
        "explanation": "constant",
        "fix": None,
    }
    made = report(reviews=[review, None])

    assert data_of(html.render(made))[0]["review"] == {
        "verdict": "false_positive",
        "explanation": "constant",
        "fix": "",
    }
    assert (
        json.loads(sarif.render(made))["runs"][0]["results"][0]["properties"]["review"]["verdict"] == "false_positive"
    )
    assert "false\\_positive" in markdown.render(made)


def test_the_terminal_table_says_how_many_findings_it_leaves_out():
    console = Console(width=120, record=True, file=StringIO())
    console.print(findings_table(report(findings=[finding(line=line) for line in range(1, 6)]), 3))
    text = console.export_text()

    assert text.count("B602") == 3
    assert "and 2 more" in text
