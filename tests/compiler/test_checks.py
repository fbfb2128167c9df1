"""What Dagster shows of scans, from journal lines to events."""

import dagster as dg
import pytest

from elexirion_dagster.compiler.checks import evaluations, metadata, scan_checks, standing
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.journal import JournalWriter

KEY = dg.AssetKey(["nightly_files"])


def pipeline(usd=0.5):
    steps = [{"name": "a", "type": "set", "vars": {"x": 1}}]
    return Pipeline.model_validate({"name": "nightly", "budget": {"usd": usd}, "steps": steps})


@pytest.fixture
def home(home_path):
    return open_home(home_path)


def scan(home, night, findings, *, status="scanned", cost=None, reason=None):
    shown = {"tool": "t", "rule": "R", "line": 3, "message": "\x1b[31m" + "m" * 500, "confidence": "high"}
    found = [{**shown, "path": "a.py", "severity": level, "fingerprint": mark} for mark, level in findings.items()]
    with JournalWriter(home, root_run=f"s{night}", run=f"s{night}") as journal:
        journal.append("run_started", pipeline="nightly")
        if cost is not None:
            call = {"call_id": "c", "path": "review", "request_hash": "h", "occurrence": 0}
            usage = dict.fromkeys(("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"), 1)
            reply = {"blocks": [], "usage": usage, "stop_reason": "end_turn", "latency_s": 1.0}
            journal.append("reply", **call, reply=reply, cost_usd=None if cost == "unknown" else cost)
        journal.append("findings", path="analyze", findings=found, unparsed=[], tools=["t"])
        files = [
            {"path": "a.py", "blob": "b", "status": "scanned"},
            {"path": "b.py", "status": status, "reason": reason},
        ]
        journal.append("scanned", path="mark", pipeline="nightly", repo="r", night=night, files=files)
        journal.append("run_finished", status="succeeded", duration_s=2.5)


def passed(home, usd=0.5):
    return {one.check_name: one.passed for one in evaluations(KEY, pipeline(usd), standing(home, "nightly"))}


def test_the_checks_pass_before_any_scan_and_when_nothing_severe_is_new(home):
    assert passed(home) == {"no_new_high": True, "budget_respected": True, "coverage": True}
    scan(home, 1, {"f1": "medium"})
    assert passed(home) == {"no_new_high": True, "budget_respected": True, "coverage": True}


def test_a_new_high_finding_fails_its_check_until_it_is_no_news(home):
    scan(home, 1, {"f1": "high"})
    assert not passed(home)["no_new_high"]
    scan(home, 2, {"f1": "high"})
    assert passed(home)["no_new_high"]


@pytest.mark.parametrize(
    ("status", "reason", "covered"),
    [("failed", "crashed", False), ("excluded", None, False), ("excluded", "binary", True)],
)
def test_a_file_is_covered_when_it_was_scanned_or_excluded_for_a_reason(home, status, reason, covered):
    scan(home, 1, {}, status=status, reason=reason)
    assert passed(home)["coverage"] is covered


def test_a_file_that_no_scan_has_seen_is_not_covered(home):
    scan(home, 1, {})
    now = standing(home, "nightly", tracked={"r": ["a.py", "b.py", "c.py"]})
    assert [(one["path"], one["status"]) for one in now.unscanned] == [("c.py", "never scanned")]


@pytest.mark.parametrize(
    ("cost", "usd", "kept"), [(0.4, 0.5, True), (0.6, 0.5, False), (0.6, None, True), ("unknown", 0.5, False)]
)
def test_the_budget_is_respected_only_where_the_cost_is_known_to_be_within_it(home, cost, usd, kept):
    scan(home, 1, {}, cost=cost)
    assert passed(home, usd)["budget_respected"] is kept


def test_numbers_plot_over_nights_and_the_top_findings_are_a_table(home):
    scan(home, 1, {"f1": "high", "f2": "low"}, cost=0.25)
    shown = metadata(standing(home, "nightly"))
    numbers = {name: value for name, value in shown.items() if name != "top_findings"}
    severities = {"critical": 0, "high": 1, "medium": 0, "low": 1, "info": 0}
    news = {"new": 2, "reopened": 0, "fixed": 0}
    counts = {f"findings_{name}": count for name, count in (severities | news).items()}
    work = {"findings": 2, "files_scanned": 2, "files_unscanned": 0, "calls": 1, "cost_usd": 0.25, "seconds": 2.5}
    assert numbers == counts | work
    assert [record.data["severity"] for record in shown["top_findings"].records] == ["high", "low"]


def test_the_checks_run_in_dagster_and_an_op_may_log_them(home, home_path):
    scan(home, 1, {"f1": "high"})
    asset = dg.AssetSpec(KEY)
    checks = scan_checks(KEY, pipeline(), Settings(home=home_path))

    @dg.op
    def tell(context: dg.OpExecutionContext) -> None:
        for event in evaluations(KEY, pipeline(), standing(home, "nightly")):
            context.log_event(event)

    @dg.job
    def job() -> None:
        tell()

    with dg.DagsterInstance.ephemeral() as instance:
        defs = dg.Definitions(assets=[asset], asset_checks=checks, jobs=[job])
        alone = defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)
        told = defs.resolve_job_def("job").execute_in_process(instance=instance)
    expected = {"no_new_high": False, "budget_respected": True, "coverage": True}
    assert {one.check_name: one.passed for one in alone.get_asset_check_evaluations()} == expected
    assert {one.check_name: one.passed for one in told.get_asset_check_evaluations()} == expected
