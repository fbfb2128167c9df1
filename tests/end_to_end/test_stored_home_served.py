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
    schedules { name scheduleState { status ticks(limit: 9) { ...tick } } }
    sensors { name sensorState { status ticks(limit: 9) { ...tick } } }
    assetNodes { assetKey { path } partitionKeys } } } } }
    fragment tick on InstigationTick { timestamp status runIds skipReason error { message } }"""


@dataclass(frozen=True)
class Served:
    """The home under `elexirion up`, the models' server."""

    ui: Ui
    stored: Stored
    server: RehearsalServer

    def names(self) -> dict[str, Record]:
        """What each location has by name; assets with their partitions, schedules and sensors with their ticks."""
        found = {}
        for node in self.ui.ask(_NAMES)["repositoriesOrError"]["nodes"]:
            instigators = [
                (one["name"], one[f"{kind}State"]) for kind in ("schedule", "sensor") for one in node[f"{kind}s"]
            ]
            found[node["location"]["name"]] = {
                "jobs": {job["name"] for job in node["jobs"]},
                "assets": {"/".join(one["assetKey"]["path"]): one["partitionKeys"] for one in node["assetNodes"]},
                "on": {name for name, state in instigators if state["status"] == "RUNNING"},
                "all": {name for name, _ in instigators},
                "ticks": {name: self._ended(state["ticks"]) for name, state in instigators},
            }
        return found

    def _ended(self, ticks: list[Record]) -> list[Record]:
        return [
            tick for tick in ticks if tick["status"] != "STARTED" and tick["timestamp"] > self.stored.facts["ended"]
        ]

    def asked_since(self, count: int) -> dict[str, int]:
        """The system texts that models were asked with after so many requests."""
        return systems(list(self.server.requests)[count:])

    def result(self, run_id: str) -> Record:
        """The outputs that the journal has of a run that was launched, once it has ended well."""
        found = self.ui.finished(run_id)
        assert found["status"] == "SUCCESS", run_id
        root = next((tag["value"] for tag in found["tags"] if tag["key"] == "dagster/root_run_id"), run_id)
        lines = [line for name in {run_id, root} for line in self._journal(name)]
        (outputs,) = [line["outputs"] for line in lines if (line["kind"], line["run"]) == ("outputs", run_id)]
        return outputs

    def _journal(self, root_run: str) -> list[Record]:
        return self.ui.journal(root_run) if (self.stored.home / "journal" / root_run).is_dir() else []


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
        instigators = {**before["schedules"], **before["sensors"]}
        assert set(before["jobs"]) <= now[location]["jobs"]
        assert set(instigators) <= now[location]["all"]
        assert {name for name, status in instigators.items() if status == "RUNNING"} <= now[location]["on"]
        assets = now[location]["assets"]
        assert {name: keys for name, keys in before["assets"].items() if assets.get(name) != keys} == {}


def test_a_launch_from_the_launchpad_asks_with_what_was_learned(served):
    before = len(served.server.requests)
    assert served.result(served.ui.started("sorting", text="green leaf")) == {"kind": "green"}
    assert served.asked_since(before) == {LEARNED: 1}


def test_a_finished_run_is_re_executed_whole_and_asks_with_what_is_in_use_now(served):
    before = len(served.server.requests)
    again = served.ui.resumed(served.stored.facts["before_learning"], "ALL_STEPS")
    assert served.result(again) == {"kind": "green"}
    assert served.asked_since(before) == {LEARNED: 1}


def in_the_ui(served: Served, run_id: str) -> str:
    """What `elexirion recoveries` tells a user to do: re-execute the run from failure in Dagster."""
    return served.ui.resumed(run_id)


GO_ON: list[tuple[str, Callable[[Served, str], str], Record]] = [
    ("parked", in_the_ui, {"sum": 43}),
    ("adopted", in_the_ui, {"sum": 43}),
]


@pytest.mark.parametrize(("which", "go_on", "outputs"), GO_ON, ids=[which for which, *_ in GO_ON])
def test_a_run_that_stopped_goes_on_where_it_stopped_and_pays_for_nothing_again(served, which, go_on, outputs):
    before = len(served.server.requests)
    assert served.ui.recoveries(served.stored.facts[which]) == [], "nothing began by itself"
    assert served.result(go_on(served, served.stored.facts[which])) == outputs
    assert served.asked_since(before) == {}


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
    files = served.names()[RUNTIME]["assets"]["nightly_scan_files"]
    assert files == stored.facts["names"][RUNTIME]["assets"]["nightly_scan_files"]


def test_what_was_switched_on_looks_again_and_begins_nothing(served):
    """Sensors go on where they were, and a schedule makes up for its last tick; nothing of it is news."""
    on = [
        (location, name)
        for location, names in served.stored.facts["names"].items()
        for name, status in {**names["schedules"], **names["sensors"]}.items()
        if status == "RUNNING" and name != "nightly_scan_schedule"  # whose tick comes at night
    ]
    assert (RUNTIME, "watch_schedule") in on
    assert (OPTIMIZER, "learn_prompts") in on

    def looked() -> list[list[Record]] | None:
        names = served.names()
        found = [names[location]["ticks"][name] for location, name in on]
        return found if all(found) else None

    ended = wait_for(looked)
    assert [tick for ticks in ended for tick in ticks if tick["status"] == "FAILURE"] == []
    # newer analyzers may have the schedule scan again; what such a scan finds is asked below
    begun = {name: tick for (_, name), ticks in zip(on, ended, strict=True) for tick in ticks if tick["runIds"]}
    assert begun.keys() <= {"watch_schedule"}


def test_ctrl_c_ends_it_with_the_code_it_had(served):
    assert served.ui.stop() == 130
