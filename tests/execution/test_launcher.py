import json
import os
import resource
import shutil
import signal
import sys
import time
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.events import DagsterEvent, EngineEventData
from dagster._core.launcher.base import LaunchRunContext, WorkerStatus
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import PythonFileTarget

from elexirion_dagster.compiler.sensors import reap_sensor
from elexirion_dagster.execution import launcher, workers
from elexirion_dagster.execution.launcher import is_same_interpreter

pytestmark = pytest.mark.slow
JOBS = Path(__file__).with_name("worker_jobs.py")
PATIENCE_S = 60


@pytest.fixture(scope="module", autouse=True)
def few_files():
    """As many open files as macOS grants, for everything that is started here."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


class House:
    """An instance whose runs start in warm workers."""

    def __init__(self, folder, preload=()):
        self.folder = folder
        settings = {
            "telemetry": {"enabled": False},
            "run_launcher": {
                "module": "elexirion_dagster.execution.launcher",
                "class": "WarmRunLauncher",
                "config": {"preload": list(preload)},
            },
        }
        (folder / "dagster.yaml").write_text(json.dumps(settings))
        self.instance = dg.DagsterInstance.from_config(str(folder))
        self.workers = folder / "workers"

    def create(self, job, work, **options):
        found = ReconstructableJob.for_file(str(JOBS), job)
        origin = options.pop("job_code_origin", found.get_python_origin())
        return self.instance.create_run_for_job(
            found.get_definition(), run_config={"folder": str(work)}, job_code_origin=origin, **options
        )

    def launched(self, job, work):
        run = self.create(job, work)
        self.instance.launch_run(run.run_id, None)
        return run.run_id

    def status(self, run_id):
        return self.instance.get_run_by_id(run_id).status.value

    def ended(self, run_id):
        return wait_for(lambda: self.instance.get_run_by_id(run_id).is_finished and self.status(run_id))

    def health(self, run_id):
        return self.instance.run_launcher.check_run_worker_health(self.instance.get_run_by_id(run_id))

    def died(self, run_id):
        """What is said of a worker that is dead and left its run as it was."""
        health = wait_for(lambda: said if (said := self.health(run_id)).status is WorkerStatus.FAILED else None)
        assert not self.instance.get_run_by_id(run_id).is_finished
        return health.msg

    def zygote(self):
        return wait_for(
            lambda: next((one for one in psutil.Process().children() if str(self.folder) in one.cmdline()), None)
        )

    def said(self, run_id):
        return [entry.message for entry in self.instance.all_logs(run_id)]


def wait_for(look):
    """What `look` gives once it gives something."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError("nothing came in time")


def gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    made = House(tmp_path_factory.mktemp("house"))
    yield made
    made.instance.dispose()


def test_a_run_works_in_a_process_of_its_own_with_the_environment_of_its_launch(house, tmp_path, monkeypatch):
    first = house.launched("tells", tmp_path)  # the zygote is there from now on
    assert house.ended(first) == "SUCCESS"
    monkeypatch.setenv("MARK", "set after the zygote began")
    monkeypatch.chdir(tmp_path)
    second = house.launched("tells", tmp_path)
    assert house.ended(second) == "SUCCESS"
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["pid"] not in (os.getpid(), house.zygote().pid)
    assert f"[WarmRunLauncher] forked the warm worker {told.pop('pid')}" in house.said(second)
    assert told == {
        "mark": "set after the zygote began",
        "cwd": str(tmp_path),
        "leader": True,
        "sockets": [],
        "hears_ctrl_c": True,
    }


def test_a_crash_of_native_code_is_noticed_and_its_trace_told(house, tmp_path):
    run_id = house.launched("aborts", tmp_path)
    assert house.died(run_id) == "its worker ended unexpectedly"
    told = house.instance.run_launcher.get_run_worker_debug_info(house.instance.get_run_by_id(run_id))
    assert "Segmentation fault" in told
    assert "worker_jobs.py" in told


def test_a_worker_that_ignores_signals_is_killed_with_what_it_started(house, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "GRACE_S", 0.3)
    run_id = house.launched("ignores_signals", tmp_path)
    pid = int(wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
    assert house.instance.run_launcher.terminate(run_id)
    assert house.ended(run_id) == "CANCELED"
    assert gone(pid)
    assert gone(int((tmp_path / "child").read_text()))


def test_what_a_killed_worker_was_running_is_killed_too(house, tmp_path):
    run_id = house.launched("runs_a_command", tmp_path)
    command = tmp_path / "command"
    group = int(wait_for(lambda: command.exists() and command.read_text()))
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert house.died(run_id) == "its worker ended unexpectedly"
    assert wait_for(lambda: gone(group))
    assert not [one for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == ["sleep", "318"]]


def test_a_worker_whose_fork_outlives_it_counts_as_dead(house, tmp_path):
    run_id = house.launched("forks_and_dies", tmp_path)
    house.died(run_id)
    child = int((tmp_path / "child").read_text())
    assert not gone(child)
    os.kill(child, signal.SIGKILL)


def test_a_leak_ends_the_run_or_is_noticed(house, tmp_path):
    run_id = house.launched("leaks", tmp_path)  # with no memory left it may not be able to say so itself

    def over():
        status = house.status(run_id)
        return status if status == "FAILURE" else house.health(run_id).status is WorkerStatus.FAILED

    assert wait_for(over)
    assert house.status(run_id) != "SUCCESS"


def test_a_run_survives_its_zygote_and_the_next_one_gets_another(house, tmp_path):
    before = house.zygote()
    first = house.launched("waits", tmp_path)
    before.kill()
    (tmp_path / "go").touch()
    second = house.launched("tells", tmp_path)
    assert [house.ended(run_id) for run_id in (first, second)] == ["SUCCESS", "SUCCESS"]
    assert house.zygote().pid != before.pid


def test_what_lies_in_the_place_of_the_socket_is_no_hindrance(house, tmp_path):
    zygote = house.zygote()
    zygote.kill()
    wait_for(lambda: gone(zygote.pid))
    (house.folder / "zygote.sock").unlink()
    (house.folder / "zygote.sock").write_text("not a socket")
    assert house.ended(house.launched("tells", tmp_path)) == "SUCCESS"


def test_terminating_twice_cancels_once(house, tmp_path):
    run_id = house.launched("waits", tmp_path)
    wait_for((tmp_path / "pid").exists)
    assert house.instance.run_launcher.terminate(run_id)
    house.instance.run_launcher.terminate(run_id)
    assert house.ended(run_id) == "CANCELED"
    wait_for(lambda: workers.worker(house.workers, run_id) is None)
    assert len(house.instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_CANCELED)) == 1
    assert not house.instance.run_launcher.terminate(run_id)


def test_twenty_runs_side_by_side_need_few_files(house, tmp_path):
    runs = [house.launched("waits", tmp_path) for _ in range(20)]
    (tmp_path / "go").touch()
    assert {house.ended(run_id) for run_id in runs} == {"SUCCESS"}


@pytest.mark.parametrize(
    ("status", "end"),
    [(dg.DagsterRunStatus.STARTING, "FAILURE"), (dg.DagsterRunStatus.CANCELING, "CANCELED")],
    ids=lambda given: getattr(given, "value", given),
)
def test_a_run_whose_worker_died_before_it_started_or_while_it_was_cancelled_is_ended(house, tmp_path, status, end):
    run_id = house.create("tells", tmp_path, status=status).run_id
    tick = reap_sensor()
    assert tick(dg.build_sensor_context(house.instance)).skip_message == "ended 0 runs"  # it may be about to be forked
    child = os.fork()
    if child == 0:
        workers.claim(house.workers, run_id, "warm")
        workers.log_file(house.workers, run_id).write_text("its last words")
        os._exit(1)
    os.waitpid(child, 0)
    assert tick(dg.build_sensor_context(house.instance)).skip_message == "ended 1 runs"
    assert house.status(run_id) == end
    assert any("its last words" in said for said in house.said(run_id))


def test_a_run_of_a_code_server_that_was_killed_is_looked_for_by_its_process(house, tmp_path):
    run = house.create("tells", tmp_path, status=dg.DagsterRunStatus.STARTED)
    child = os.fork()
    if child == 0:
        time.sleep(120)
        os._exit(0)
    house.instance.report_engine_event("Started process", run, EngineEventData.in_process(child))
    assert house.health(run.run_id).status is WorkerStatus.RUNNING
    os.kill(child, signal.SIGKILL)
    assert wait_for(lambda: house.health(run.run_id).status is WorkerStatus.FAILED)
    os.waitpid(child, 0)
    assert house.health(run.run_id).msg == f"its process {child} is gone"


def test_changed_python_is_what_the_next_run_has(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}")
    module = tmp_path / "warm_module.py"
    module.write_text("TEXT = 'before'\n")
    (tmp_path / "dagster").mkdir()
    house = House(tmp_path / "dagster", ["warm_module"])
    try:
        assert house.ended(house.launched("tells_of_module", tmp_path)) == "SUCCESS"
        assert (tmp_path / "told").read_text() == "before"
        module.write_text("TEXT = 'it is after'\n")
        assert house.ended(house.launched("tells_of_module", tmp_path)) == "SUCCESS"
        assert (tmp_path / "told").read_text() == "it is after"
    finally:
        house.instance.dispose()


def test_where_a_fork_is_not_safe_dagsters_default_launcher_starts_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}")
    (tmp_path / "starts_thread.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, name='of-the-module', daemon=True).start()\n"
    )
    (tmp_path / "dagster").mkdir()
    house = House(tmp_path / "dagster", ["starts_thread"])
    target = PythonFileTarget(str(JOBS), "tells", working_directory=str(tmp_path), location_name="jobs")
    with WorkspaceProcessContext(house.instance, target) as process_context:
        context = process_context.create_request_context()
        job = context.get_code_location("jobs").get_repository("__repository__tells").get_full_job("tells")
        run = house.create("tells", tmp_path, remote_job_origin=job.get_remote_origin())
        house.instance.launch_run(run.run_id, context)
        assert house.ended(run.run_id) == "SUCCESS"
    (why,) = [said for said in house.said(run.run_id) if "default launcher" in said]
    assert why.endswith("not safe to fork: importing started the threads of-the-module")
    assert not workers.claim(house.workers, run.run_id, "warm")  # a worker that comes too late does not do it again
    house.instance.dispose()


def test_a_zygote_that_cannot_begin_is_not_tried_for_every_run(tmp_path):
    house = House(tmp_path, ["there_is_no_such_module"])
    for _ in range(2):
        run_id = house.create("tells", tmp_path).run_id
        with pytest.raises(dg.DagsterInvariantViolationError):  # the default launcher wants a workspace
            house.instance.launch_run(run_id, None)
        assert any("No module named 'there_is_no_such_module'" in said for said in house.said(run_id))
        assert house.status(run_id) == "FAILURE"
        (tmp_path / "zygote.log").unlink(missing_ok=True)
    assert not (tmp_path / "zygote.log").exists()
    house.instance.dispose()


def test_a_run_of_another_interpreter_is_left_to_the_default_launcher(house, tmp_path):
    origin = ReconstructableJob.for_file(str(JOBS), "tells").get_python_origin()
    elsewhere = origin.repository_origin._replace(executable_path="/other/python")
    run_id = house.create("tells", tmp_path, job_code_origin=origin._replace(repository_origin=elsewhere)).run_id
    with pytest.raises(dg.DagsterInvariantViolationError):
        house.instance.launch_run(run_id, None)
    assert any("another interpreter, /other/python" in said for said in house.said(run_id))


@pytest.mark.parametrize("name", ["python", "python3", f"python3.{sys.version_info.minor}"])
def test_a_run_whose_interpreter_is_spelled_differently_gets_a_warm_worker(house, tmp_path, name):
    origin = ReconstructableJob.for_file(str(JOBS), "tells").get_python_origin()
    spelled = origin.repository_origin._replace(executable_path=str(Path(sys.executable).with_name(name)))
    run = house.create("tells", tmp_path, job_code_origin=origin._replace(repository_origin=spelled))
    house.instance.launch_run(run.run_id, None)
    assert house.ended(run.run_id) == "SUCCESS"
    assert any("forked the warm worker" in said for said in house.said(run.run_id))


def venv(folder, base, *names):
    """A folder that Python takes for a virtual environment over an interpreter."""
    (folder / "bin").mkdir(parents=True)
    (folder / "pyvenv.cfg").touch()
    (folder / "bin" / "python").symlink_to(base)
    for name in names:
        (folder / "bin" / name).symlink_to("python")
    return folder / "bin"


def test_interpreters_are_compared_as_files_and_by_their_virtual_environment(tmp_path):
    base = tmp_path / "base"
    base.write_text("an interpreter")
    one, other = venv(tmp_path / "one", base, "python3", "python3.11"), venv(tmp_path / "other", base)
    (tmp_path / "link").symlink_to(tmp_path / "one")
    copied = tmp_path / "one" / "bin" / "copied"
    shutil.copy(base, copied)
    (tmp_path / "another").write_text("another interpreter")
    newer = one / "python3.12"
    newer.symlink_to(tmp_path / "another")
    same = [one / "python", one / "python3.11", tmp_path / "link" / "bin" / "python3", copied]
    assert all(is_same_interpreter(str(one / "python3"), str(path)) for path in same)
    assert is_same_interpreter(str(base), str(base))
    different = [base, other / "python", newer, tmp_path / "missing"]
    assert not any(is_same_interpreter(str(one / "python3"), str(path)) for path in different)


def test_a_run_works_in_the_folder_that_its_code_was_loaded_in_whoever_launches_it(house, tmp_path, monkeypatch):
    loaded, elsewhere = tmp_path / "loaded", tmp_path / "elsewhere"
    loaded.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(loaded)
    run = house.create("tells", tmp_path)
    monkeypatch.chdir(elsewhere)
    house.instance.launch_run(run.run_id, None)
    assert house.ended(run.run_id) == "SUCCESS"
    assert json.loads((tmp_path / "told.json").read_text())["cwd"] == str(loaded)


def test_a_run_is_abandoned_when_its_launcher_is_dead_and_not_as_long_as_that_is_at_work(house, tmp_path, monkeypatch):
    run = house.create("tells", tmp_path)
    house.instance.report_dagster_event(DagsterEvent("PIPELINE_STARTING", job_name="tells"), run.run_id)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with workers.launching(house.workers, run.run_id):
            os.write(writing, b"x")
            time.sleep(120)
        os._exit(0)
    os.read(reading, 1)
    monkeypatch.setattr(launcher, "_ABANDONED_S", -1)
    assert house.health(run.run_id).status is WorkerStatus.RUNNING
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    monkeypatch.setattr(launcher, "_ABANDONED_S", 60)  # the next daemon may have taken it a moment ago
    assert house.health(run.run_id).status is WorkerStatus.RUNNING
    monkeypatch.setattr(launcher, "_ABANDONED_S", -1)
    assert house.died(run.run_id) == "what was about to start it is gone"
    os.close(reading)
    os.close(writing)


def test_a_run_that_another_worker_has_is_not_started_again(house, tmp_path):
    run_id = house.launched("waits", tmp_path)
    pid = int(wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
    house.instance.run_launcher.launch_run(LaunchRunContext(house.instance.get_run_by_id(run_id), None))
    assert workers.worker(house.workers, run_id) == pid
    assert house.said(run_id).count(f"[WarmRunLauncher] forked the warm worker {pid}") == 2
    (tmp_path / "go").touch()
    assert house.ended(run_id) == "SUCCESS"
