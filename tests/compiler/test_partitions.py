"""Files as partitions in a real Dagster instance: registered, picked, materialised, failed alone."""

import subprocess

import dagster as dg
import pytest
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from elexirion_dagster.codebase.identity import partition_key, repository
from elexirion_dagster.compiler.compile import compile_files
from elexirion_dagster.compiler.partitions import partition_set
from elexirion_dagster.execution.executor import thread_executor
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.nights.scans import known_files

pytestmark = pytest.mark.slow

TEXT = """
name: eyes
inputs:
  repo: {{type: path, default: "{repo}"}}
  bad: {{type: string, default: ""}}
model: fake/echo
budget: {{usd: 1}}
partitions: {{by: file, include: ["*.py"], files_per_run: 2}}
schedule: {{cron: "30 2 * * *", timezone: Europe/Berlin}}
on: push
steps:
  - {{name: due, type: files, list: {{git: due}}}}
  - name: look
    type: for_each
    items: "{{{{ steps.due.data.files }}}}"
    as: file
    on_error: collect
    steps:
      - {{name: check, type: command, run: ["test", "{{{{ file.path }}}}", "!=", "{{{{ inputs.bad }}}}"]}}
outputs: {{findings: []}}
"""


class Place:
    """A repository, its home, and a code location with one pipeline over it."""

    def __init__(self, tmp_path, text=TEXT):
        self.root = tmp_path / "code"
        self.root.mkdir()
        self.git("init", "-q", "-b", "main")
        self.settings = Settings(home=tmp_path / "home")
        self.file = tmp_path / "eyes.yaml"
        self.file.write_text(text.format(repo=self.root))
        self.identity = repository(self.root).identity

    def git(self, *words):
        command = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org", *words]
        return subprocess.run(command, cwd=self.root, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, **files):
        for name, text in files.items():
            (self.root / f"{name}.py").write_text(text)
        self.git("add", "-A")
        self.git("commit", "-qm", "some")
        return self.git("rev-parse", "HEAD")

    @property
    def repository(self):
        defs = compile_files([self.file], self.settings, executor=thread_executor, finish=lambda *_: {})
        return defs.get_repository_def()

    def tick(self, instance):
        """The schedule's requests, or why there are none."""
        context = dg.build_schedule_context(instance=instance, scheduled_execution_time=None)
        data = self.repository.get_schedule_def("eyes_schedule").evaluate_tick(context)
        return data.run_requests or data.skip_message

    def run(self, instance, requests, **inputs):
        """Run what was requested."""
        job = self.repository.get_job("eyes")
        return [
            job.execute_in_process(
                run_config={**one.run_config, **inputs}, instance=instance, tags=one.tags, raise_on_error=False
            )
            for one in requests
        ]

    def pick(self, instance, first, last=None):
        """Materialise partitions as the UI does."""
        job = self.repository.get_implicit_global_asset_job_def()
        tags = {"dagster/partition": first}
        if last is not None:
            tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        chosen = [dg.AssetKey("eyes_files")]
        return job.execute_in_process(instance=instance, tags=tags, asset_selection=chosen, raise_on_error=False)

    def key(self, name):
        return partition_key(self.identity, f"{name}.py")

    def known(self):
        return known_files(open_home(self.settings.home), "eyes", self.identity)


@pytest.fixture
def instance(tmp_path):
    folder = tmp_path / "instance"
    folder.mkdir()
    with dg.instance_for_test(temp_dir=str(folder)) as instance:
        yield instance


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    made.commit(a="1\n", b="2\n", c="3\n")
    return made


def status(instance):
    """Materialised and failed partitions, as the asset's page shows them."""
    key, definition = dg.AssetKey("eyes_files"), partition_set("eyes")
    value = get_and_update_asset_status_cache_value(instance, key, definition, dynamic_partitions_loader=instance)
    failed = value.deserialize_failed_partition_subsets(definition)
    return instance.get_materialized_partitions(key), set(failed.get_partition_keys())


def test_a_night_scans_what_is_due_in_batches_and_the_next_one_nothing(place, instance):
    requests = place.tick(instance)
    assert [one.run_config["batch"]["files"] for one in requests] == [["a.py", "b.py"], ["c.py"]]
    assert len({one.run_key for one in requests}) == 2
    assert all(result.success for result in place.run(instance, requests))
    assert status(instance) == ({place.key("a"), place.key("b"), place.key("c")}, set())
    assert place.tick(instance).endswith("nothing is due")
    place.commit(b="changed\n")
    (again,) = place.tick(instance)
    assert again.run_config["batch"]["files"] == ["b.py"]


def test_a_file_that_fails_fails_alone_and_is_due_again(place, instance):
    first, _second = place.run(instance, place.tick(instance), bad="a.py")
    assert not first.success
    assert status(instance) == ({place.key("b"), place.key("c")}, {place.key("a")})
    (again,) = place.tick(instance)
    assert again.run_config["batch"]["files"] == ["a.py"]
    assert [result.success for result in place.run(instance, [again])] == [True]
    assert status(instance) == ({place.key("a"), place.key("b"), place.key("c")}, set())


def test_the_files_are_those_of_the_commit_whatever_lies_in_the_working_tree(place, instance):
    requests = place.tick(instance)
    (place.root / "a.py").write_text("not committed\n")
    place.git("checkout", "-q", "--detach")
    place.git("branch", "-qD", "main")
    blob = place.git("rev-parse", "HEAD:a.py")
    place.run(instance, requests)
    assert place.known()["a.py"].blob == blob


def test_deleted_files_are_retired_and_renamed_ones_are_not_scanned_again(place, instance):
    place.run(instance, place.tick(instance))
    place.git("mv", "a.py", "z.py")
    (place.root / "b.py").unlink()
    place.commit()
    requests = place.tick(instance)
    assert [one.run_config["batch"] for one in requests] == [
        {**requests[0].run_config["batch"], "files": [], "renamed": {"a.py": "z.py"}, "deleted": ["b.py"]}
    ]
    place.run(instance, requests)
    assert instance.get_dynamic_partitions("eyes_files") == [place.key("c"), place.key("z")]
    assert place.known().keys() == {"c.py", "z.py"}
    assert place.key("z") in status(instance)[0]
    assert place.tick(instance).endswith("nothing is due")


def test_picked_partitions_are_what_is_scanned_and_nothing_else(place, instance):
    place.tick(instance)
    assert place.pick(instance, place.key("b")).success
    assert place.known().keys() == {"b.py"}
    assert place.pick(instance, place.key("a"), place.key("b")).success
    assert status(instance)[0] == {place.key("a"), place.key("b")}


def test_a_reversed_range_fails_instead_of_doing_nothing(place, instance):
    place.tick(instance)
    assert not place.pick(instance, place.key("c"), place.key("a")).success
    assert place.known() == {}


def test_a_picked_file_that_is_gone_fails_and_the_others_are_scanned(place, instance):
    place.tick(instance)
    (place.root / "b.py").unlink()
    place.commit()
    assert not place.pick(instance, place.key("a"), place.key("c")).success
    assert status(instance) == ({place.key("a"), place.key("c")}, {place.key("b")})


def test_a_tick_while_a_scan_is_under_way_requests_nothing_and_says_why(place, instance):
    (first, _) = place.tick(instance)
    job = place.repository.get_job("eyes")
    instance.create_run_for_job(job, tags=first.tags, run_config=first.run_config, status=dg.DagsterRunStatus.STARTED)
    assert "an earlier scan is under way" in place.tick(instance)


def test_when_the_last_batch_has_ended_the_asset_shows_the_scan_once(place, instance):
    place.file.write_text(place.file.read_text().replace("model:", "asset: scan/eyes\nmodel:"))
    sensor = place.repository.get_sensor_def("record_scans")

    def look(cursor):
        context = dg.build_sensor_context(instance=instance, cursor=cursor, repository_def=place.repository)
        return sensor.evaluate_tick(context)

    first, second = place.tick(instance)
    place.run(instance, [first])
    job = place.repository.get_job("eyes")
    waiting = instance.create_run_for_job(job, tags=second.tags, run_config=second.run_config)
    early = look(None)
    instance.delete_run(waiting.run_id)
    place.run(instance, [second])
    late = look(early.cursor)
    again = look(late.cursor)
    events = instance.fetch_materializations(dg.AssetKey(["scan", "eyes"]), limit=10).records
    assert [event.asset_materialization.metadata["files_scanned"].value for event in events] == [3]
    assert early.cursor != late.cursor == again.cursor


def test_a_scan_that_a_person_launched_whole_is_shown_and_checked_when_it_ends(place, instance):
    place.file.write_text(place.file.read_text().replace("model:", "asset: scan/eyes\nmodel:"))
    done = place.repository.get_job("eyes").execute_in_process(instance=instance)
    checked = {one.check_name: one.passed for one in done.get_asset_check_evaluations()}
    assert checked == {"no_new_high": True, "budget_respected": True, "coverage": True}
    ((event,),) = [instance.fetch_materializations(dg.AssetKey(["scan", "eyes"]), limit=10).records]
    assert event.asset_materialization.metadata["files_scanned"].value == 3


def test_what_runs_materialise_is_described_and_hangs_together_with_its_files(place):
    text = place.file.read_text()
    place.file.write_text(text.replace("model:", "asset: scan/eyes\ndescription: Looks at files.\nmodel:"))
    graph = place.repository.asset_graph
    key = dg.AssetKey(["scan", "eyes"])
    assert graph.get(key).parent_keys == {dg.AssetKey(["eyes_files"])}
    assert graph.get(key).description == "Looks at files."


def test_what_the_repository_suppresses_is_read_out_of_the_commit(place, instance):
    (place.root / ".elexirion").mkdir()
    (place.root / ".elexirion" / "suppressions.yaml").write_text("suppressions: 3\n")
    place.commit()
    requests = place.tick(instance)
    assert all(result.success for result in place.run(instance, requests))
    assert place.known().keys() == {"a.py", "b.py", "c.py"}


def test_a_binary_file_is_looked_at_once_and_then_known(place, instance):
    (place.root / "d.py").write_bytes(b"\0\1")
    place.commit()
    place.run(instance, place.tick(instance))
    assert place.known()["d.py"].status == "excluded"
    assert place.tick(instance).endswith("nothing is due")
