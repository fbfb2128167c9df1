"""`elexirion up` on the home of a user of an earlier version: what was on is on, what was begun goes on."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from serving import Ui, up, wait_for
from stored import Record, Stored, lost, model, systems, unpack

from elexirion_dagster.rehearsal.server import RehearsalServer

pytestmark = pytest.mark.slow
RUNTIME, OPTIMIZER = "elexirion_dagster", "optimizer_assets"
REPOSITORY = Path(__file__).parents[2]
LEARNED = "Look twice."

_NAMES = """{ repositoriesOrError { ... on RepositoryConnection { nodes { location { name } jobs { name }
    schedules { name scheduleState { status } } sensors { name sensorState { status } }
    assetNodes { assetKey { path } partitionKeys } } } } }"""
_TICKS = """query Ticks($repository: RepositorySelector!, $since: Float!) {
    schedules: schedulesOrError(repositorySelector: $repository) { ... on Schedules { results { name
        state: scheduleState { ticks(afterTimestamp: $since) { ...tick } } } } }
    sensors: sensorsOrError(repositorySelector: $repository) { ... on Sensors { results { name
        state: sensorState { ticks(afterTimestamp: $since) { ...tick } } } } } }
    fragment tick on InstigationTick { status runIds skipReason error { message } }"""


@dataclass(frozen=True)
class Served:
    """The home under `elexirion up`, the models' server."""

    ui: Ui
    stored: Stored
    server: RehearsalServer

    def names(self) -> dict[str, Record]:
        """What each location has by name: jobs, assets with their partitions, schedules and sensors, which are on."""
        found = {}
        for node in self.ui.ask(_NAMES)["repositoriesOrError"]["nodes"]:
            instigators = {one["name"]: one["scheduleState"]["status"] for one in node["schedules"]}
            instigators |= {one["name"]: one["sensorState"]["status"] for one in node["sensors"]}
            found[node["location"]["name"]] = {
                "jobs": {job["name"] for job in node["jobs"]},
                "assets": {"/".join(one["assetKey"]["path"]): one["partitionKeys"] for one in node["assetNodes"]},
                "instigators": instigators,
            }
        return found

    def ticks(self, location: str) -> dict[str, list[Record]]:
        """What the location's schedules and sensors did, each time they looked since the home was stored."""
        repository = {"repositoryName": "__repository__", "repositoryLocationName": location}
        answer = self.ui.ask(_TICKS, repository=repository, since=self.stored.facts["ended"])
        found = [one for kind in answer.values() for one in kind["results"]]
        return {one["name"]: [tick for tick in one["state"]["ticks"] if tick["status"] != "STARTED"] for one in found}

    def hashes(self, root_run: str) -> set[tuple[str, str]]:
        """The hashes of a run's pipeline, steps and calls."""
        names = ("pipeline_hash", "input_hash", "request_hash")
        return {(name, line[name]) for line in self.ui.journal(root_run) for name in names if name in line}

    def asked_since(self, count: int) -> dict[str, int]:
        """The system texts that models were asked with after so many requests."""
        return systems(list(self.server.requests)[count:])

    def result(self, run_id: str) -> Record:
        """The outputs that the journal has of a run that was launched, once it has ended well."""
        found = self.ui.finished(run_id)
        assert found["status"] == "SUCCESS", run_id
        files = (self.stored.home / "journal").glob(f"*/{run_id}.*.jsonl")
        lines = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
        (outputs,) = [line["outputs"] for line in lines if line["kind"] == "outputs"]
        return outputs


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, clean_environ: dict[str, str]) -> Iterator[Served]:
    """Started in the repository in which its user works, with the model that the user has."""
    with model() as server:
        models = {"ELEXIRION_LOCAL_URL": f"{server.base_url}/v1", "ELEXIRION_LOCAL_MODEL": "any"}
        stored = unpack(tmp_path_factory.mktemp("stored"), {**clean_environ, "PYTHONPATH": str(REPOSITORY), **models})
        for name in ("number", "gate"):  # what runs missed that failed then
            (stored.folder / name).write_text("1", encoding="utf-8")
        with up(stored.shop, stored.environ) as ui:
            yield Served(ui, stored, server)


def test_jobs_assets_partitions_schedules_and_sensors_have_the_names_they_had(served):
    now = served.names()
    for location, before in served.stored.facts["names"].items():
        assert set(before["jobs"]) <= now[location]["jobs"]
        instigators = {**before["schedules"], **before["sensors"]}
        assert {name: now[location]["instigators"].get(name) for name in instigators} == instigators
        assets = now[location]["assets"]
        assert {name: keys for name, keys in before["assets"].items() if assets.get(name) != keys} == {}


def test_a_launch_from_the_launchpad_asks_with_what_was_learned(served):
    before = len(served.server.requests)
    run_id = served.ui.started("sorting", text="blue sky")
    assert served.result(run_id) == {"kind": "blue"}
    assert served.asked_since(before) == {LEARNED: 1}
    then, now = (served.hashes(one) for one in (served.stored.facts["finished"], run_id))
    assert now == then, "by these what was paid and finished then is found again"


def test_a_finished_run_is_re_executed_whole_and_asks_with_what_is_in_use_now(served):
    before = len(served.server.requests)
    again = served.ui.resumed(served.stored.facts["before_learning"], "ALL_STEPS")
    assert served.result(again) == {"kind": "green"}
    assert served.asked_since(before) == {LEARNED: 1}


def in_the_ui(served: Served, run_id: str) -> str:
    """What `elexirion recoveries` tells a user to do: re-execute the run from failure in Dagster."""
    return served.ui.resumed(run_id)


def in_the_terminal(served: Served, run_id: str) -> str:
    return json.loads(served.stored.elexirion("resume", run_id, "--json"))["run"]


def _is_step(line: Record, run_id: str) -> bool:
    return line["run"] == run_id and line["kind"] == "step"


GO_ON: list[tuple[str, Callable[[Served, str], str], Record, set[str]]] = [
    ("parked", in_the_ui, {"sum": 43}, {"each", "each[hall].number"}),
    ("adopted", in_the_ui, {"sum": 43}, {"each", "each[yard].number"}),
    ("killed", in_the_terminal, {"who": "Ada is.", "gate": "1"}, {"gate"}),
]
"""The stored run, how a user has it go on, its outputs, and the steps that it has left to do."""


@pytest.mark.parametrize(("which", "go_on", "outputs", "left"), GO_ON, ids=[which for which, *_ in GO_ON])
def test_a_run_that_stopped_goes_on_where_it_stopped_and_pays_for_nothing_again(served, which, go_on, outputs, left):
    before = len(served.server.requests)
    assert served.ui.recoveries(served.stored.facts[which]) == [], "nothing began by itself"
    run_id = go_on(served, served.stored.facts[which])
    assert served.result(run_id) == outputs
    assert served.asked_since(before) == {}
    done = [line["path"] for line in served.ui.journal(served.stored.facts[which]) if _is_step(line, run_id)]
    assert sorted(done) == sorted(left), "what was finished is not done again"


def test_a_derived_document_is_known_as_what_was_derived(served):
    (recovery,) = served.ui.recoveries(served.stored.facts["derived"])
    assert served.ui.finished(served.ui.resumed(recovery["runId"], "ALL_STEPS"))["status"] == "SUCCESS"


def test_a_conversation_goes_on_from_the_run_before_to_the_next(served):
    assert served.result(served.ui.started("talk")) == {"answer": "On Tuesday, as you said."}
    turns = [turn["content"] for turn in served.server.requests[-1].body["messages"]]
    assert turns == ["Remember Tuesday.", "I will.", "What did we agree on?"]


def test_a_whole_scan_from_the_launchpad_finds_nothing_new(served):
    stored = served.stored
    run_id = served.ui.started("nightly_scan", repo=str(stored.cellar))
    assert served.result(run_id)["files"] > 0
    alerts = stored.alerts(stored.home / "reports" / run_id / "report.sarif")
    assert [one for one in alerts if one["new"]] == []
    assert lost(stored.facts["alerts"]["cellar"], alerts) == []
    found = json.loads(stored.elexirion("findings", "list", "--state", "new", "--state", "reopened", "--json"))
    known = {one["finding"] for one in stored.answers["findings"]}
    assert {one["finding"] for one in found} <= known


def test_what_was_switched_on_looks_again_and_begins_nothing(served):
    """Sensors go on where they were, and a schedule makes up for its last tick; nothing of it is news."""
    before = served.stored.facts["names"]
    on = {
        location: [name for name, status in {**names["schedules"], **names["sensors"]}.items() if status == "RUNNING"]
        for location, names in before.items()
    }
    assert {"nightly_scan_schedule", "watch_schedule"} <= set(on[RUNTIME])
    assert on[OPTIMIZER] == ["learn_prompts"]
    on[RUNTIME].remove("nightly_scan_schedule")  # whose tick comes at night

    def looked() -> dict[str, list[Record]] | None:
        ticks = {name: served.ticks(location)[name] for location, names in on.items() for name in names}
        return ticks if all(ticks.values()) else None

    ticks = wait_for(looked)
    assert [tick for some in ticks.values() for tick in some if tick["status"] == "FAILURE"] == []
    # newer analyzers may have the schedule scan again; what such a scan finds is asked above
    assert {name for name, some in ticks.items() for tick in some if tick["runIds"]} <= {"watch_schedule"}
    assert served.names()[RUNTIME]["assets"]["watch_files"] == before[RUNTIME]["assets"]["watch_files"]


def test_ctrl_c_ends_it_with_the_code_it_had(served):
    assert served.ui.stop() == 130
