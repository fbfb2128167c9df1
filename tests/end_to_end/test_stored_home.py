"""What users of an earlier version have still holds: tables, findings, prompts, recoveries. No server is started."""

import importlib
import json
from contextlib import chdir
from pathlib import Path

import pytest
from click.testing import CliRunner
from stored import Stored, lost, model, systems, unpack

from elexirion_dagster import tags
from elexirion_dagster.cli.main import cli
from elexirion_dagster.dialects.load import load_any
from elexirion_dagster.spec.children import pipeline_hash
from elexirion_dagster.yamlio import load_file

pytestmark = pytest.mark.slow

STATES = [word for state in ("new", "open", "fixed", "reopened", "suppressed") for word in ("--state", state)]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, clean_environ: dict[str, str]) -> Stored:
    """The home as it was left, for tests that only look."""
    return unpack(tmp_path_factory.mktemp("stored"), clean_environ)


@pytest.fixture
def own(tmp_path: Path, environ: dict[str, str]) -> Stored:
    """A copy of the home for a test that changes it."""
    return unpack(tmp_path, environ)


def did(home: Stored, *words: str) -> str:
    """What a command prints that needs no process of its own."""
    with chdir(home.shop):
        environ = {"ELEXIRION_HOME": str(home.home)}
        done = CliRunner().invoke(cli, words, env=environ, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def asked(home: Stored, *words: str):
    """What a command answers as JSON."""
    return json.loads(did(home, *words, "--json"))


@pytest.mark.parametrize("built_anew", [False, True], ids=["as_it_lies", "built_anew_from_the_journal"])
def test_every_table_and_view_has_every_column_and_row_that_it_had(stored, built_anew):
    if built_anew:
        (stored.home / "outcomes.duckdb").unlink()
    tables = {name: rows for name, rows in stored.answers["tables"].items() if not name.startswith("_")}
    assert len(tables) > 30
    for table, before in tables.items():
        now = asked(stored, "outcomes", "--sql", f"FROM {table}")
        shown = [
            {name: value for name, value in row.items() if name != "before"} for row in before
        ]  # kept to undo with
        assert lost(shown, now) == [], table


def test_every_tag_that_runs_bear_is_one_of_ours(stored):
    borne = {tag for row in stored.answers["tables"]["run_starts"] for tag in json.loads(row["tags"])}
    assert {tag for tag in borne if tag.startswith("elexirion/")} - set(map(str, vars(tags).values())) == set()


def test_a_pipeline_of_the_user_is_the_one_that_its_runs_began_with(stored):
    """Else what failed or waits is parked as changed; words that the language got since must not count."""
    files = {file.stem: file for file in (stored.shop / "pipelines_yaml").glob("*.yaml")}
    begun = {row["pipeline"]: row["pipeline_hash"] for row in stored.answers["tables"]["run_starts"]}
    then = {name: found for name, found in begun.items() if name in files}
    assert len(then) > 5
    loaded = {name: load_any(files[name], files) for name in then}
    assert {name: pipeline_hash(one.pipeline, one.pipelines) for name, one in loaded.items()} == then


def test_findings_prompts_and_recoveries_are_listed_as_they_were(stored):
    for words in (("findings", "list", *STATES), ("prompts", "list"), ("recoveries", "list", "--limit", "100")):
        before = stored.answers[words[0]]
        assert before
        assert lost(before, asked(stored, *words)) == [], words


def test_every_command_there_was_is_there(stored):
    assert set(stored.answers["commands"]) <= set(cli.list_commands(None))


def test_class_paths_that_stand_in_the_files_of_users_lead_somewhere(stored):
    launcher = load_file(stored.home / "dagster" / "dagster.yaml").data["run_launcher"]
    paths = [(launcher["module"], launcher["class"]), ("elexirion_dagster.component", "PipelineComponent")]
    assert [name for module, name in paths if not hasattr(importlib.import_module(module), name)] == []
    modules = [*launcher["config"]["preload"], "optimizer_assets.definitions"]
    assert [name for name in modules if importlib.util.find_spec(name) is None] == []


def test_a_whole_new_scan_reports_nothing_new_and_its_alerts_are_those_of_before(own):
    before = asked(own, "findings", "list", *STATES)
    done = json.loads(own.elexirion("scan", ".", "--all", "--no-model", "--fail-on", "new-info", "--json"))
    assert done["files_scanned"] == done["files"] > 0
    assert (done["findings"]["new"], done["failing"]) == (0, [])
    alerts = own.alerts(Path(done["reports"]["sarif"]))
    assert [one for one in alerts if one["new"]] == []
    assert lost(own.facts["alerts"]["shop"], [{**one, **one["fingerprints"]} for one in alerts]) == []
    held = ("finding", "fingerprint", "suppressed_by", "owner", "reason", "expires", "verdict", "comment", "fixed_at")
    assert lost([{name: one[name] for name in held} for one in before], asked(own, "findings", "list", *STATES)) == []
    assert own.elexirion("scan", ".", "--no-model", "--fail-on", "medium", code=3), "what was open is open"


def test_an_optimisation_finds_nothing_better_and_changes_nothing(own):
    before = asked(own, "prompts", "list")
    with model() as server:
        environ = {**own.environ, "ELEXIRION_LOCAL_URL": f"{server.base_url}/v1"}
        own = Stored(own.root, environ, own.facts, own.answers)
        events = own.elexirion("optimize", "sorting/sort", "--json").splitlines()
        assert systems(server.requests).keys() <= {"Look twice."}, "what is in use is what was learned"
        own.elexirion("optimize", "shades/sort", code=3)
    assert json.loads(events[-1])["outcome"] == "keep"
    assert asked(own, "prompts", "list") == before


def test_what_a_person_says_today_is_taken_with_what_was_kept(own):
    """Rollback, release and adoption read what was written then, and the day's words follow those of before."""
    did(own, "prompts", "rollback", "sorting/sort")
    did(own, "prompts", "unpin", "shades/sort")
    listed = {one["slot"]: one for one in asked(own, "prompts", "list")}
    assert listed["sorting/sort"]["in_use"] is None
    assert (listed["shades/sort"]["pinned"], listed["shades/sort"]["canary"]) == (False, own.facts["on_trial"])
    did(own, "recoveries", "adopt", own.facts["derived"])
    own.elexirion("recoveries", "adopt", own.facts["adopted"], code=2)
    did(own, "feedback", own.facts["before_learning"], "sort", "good")
    (hidden,) = (one for one in asked(own, "findings", "list", *STATES) if one["suppressed_by"] == "file")
    did(own, "findings", "accept", hidden["fingerprint"][:8])
