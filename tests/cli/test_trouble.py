"""Trouble around a command: homes, disks, ports and tables that cannot be used, and the exit codes that tell."""

import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from commands import GOOD

from elexirion_dagster.cli.exits import exit_code, run_exit_code

LARGE = """
name: large
steps:
  - {name: counts, type: command, run: [seq, "200000"]}
outputs: {text: "{{ steps.counts.text }}"}
"""


def test_a_home_that_is_a_file_is_told(elexirion_here, pipeline, home_path):
    home_path.touch()
    for words in (["run", pipeline(GOOD)], ["init"], ["outcomes"], ["prune"], ["up"]):
        code, _, err = elexirion_here(*words)
        assert code == 1
        assert "ELEXIRION_HOME" in err


def test_a_home_of_a_newer_program_is_refused(elexirion_here, pipeline, home_path):
    elexirion_here("init")
    (home_path / "version.json").write_text('{"format": 99}')
    code, _, err = elexirion_here("run", pipeline(GOOD))
    assert code == 1
    assert "Upgrade elexirion" in err


def test_a_read_only_home_is_told(elexirion_here, monkeypatch):
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o555)
        monkeypatch.setenv("ELEXIRION_HOME", str(Path(name) / "home"))
        if os.geteuid() == 0:
            os.seteuid(65534)
        try:
            code, _, err = elexirion_here("init")
        finally:
            if os.getuid() == 0:
                os.seteuid(0)
            Path(name).chmod(0o755)
    assert code == 1
    assert "Make it writable" in err


def test_damaged_settings_of_dagster_are_told(elexirion_here, pipeline, home_path):
    elexirion_here("init")
    (home_path / "dagster" / "dagster.yaml").write_text("telemetry: {nonsense: 1}\n")
    code, _, err = elexirion_here("run", pipeline(GOOD))
    assert code == 2
    assert "dagster.yaml" in err
    assert "elexirion init" in err


def test_a_damaged_table_file_is_set_aside_and_built_anew(elexirion_here, pipeline, home_path):
    elexirion_here("run", pipeline(GOOD))
    (home_path / "outcomes.duckdb").write_bytes(b"no database " * 1000)
    code, out, err = elexirion_here("outcomes", "--json", "--sql", "SELECT pipeline FROM runs")
    assert (code, json.loads(out)) == (0, [{"pipeline": "good"}])
    assert "set aside" in err
    assert list(home_path.glob("outcomes.duckdb.corrupt-*"))


def test_a_report_that_cannot_be_written_is_told(elexirion_here, git_repository, home_path):
    elexirion_here("init")
    (home_path / "reports").rmdir()
    (home_path / "reports").symlink_to("/proc")
    code, _, err = elexirion_here("scan", git_repository)
    assert code == 1
    assert "report cannot be written" in err


def test_a_full_disk_ends_a_run_with_a_message(elexirion, pipeline, home_path):
    """The limit on the size of a file stands for the end of the disk."""
    file = pipeline(LARGE)
    assert elexirion("init").returncode == 0

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

    done = elexirion("run", file, preexec_fn=limit)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert str(home_path) in done.stderr


def test_a_port_in_use_is_told(elexirion_here):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, _, err = elexirion_here("up", "--port", taken.getsockname()[1])
    assert code == 2
    assert "--port" in err


def test_output_that_nobody_reads_is_no_stack_trace(environ, tmp_path):
    words = [sys.executable, "-m", "elexirion_dagster.cli.main", "schema"]
    process = subprocess.Popen(words, env=environ, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    err = process.stderr.read().decode()
    assert process.wait(30) == 1
    process.stderr.close()
    assert err == ""


@pytest.mark.parametrize(("cause", "code"), [("bad_input", 2), ("budget_exceeded", 3), ("cancelled", 130), (None, 1)])
def test_exit_codes_by_cause(cause, code):
    assert exit_code(cause) == code


def test_a_run_that_failed_on_its_input_while_it_ran_is_a_failed_run():
    assert run_exit_code("failed", "bad_input") == 1
    assert run_exit_code("failed", "budget_exceeded") == 3
    assert run_exit_code("cancelled", "cancelled") == 130
    assert run_exit_code("succeeded", None) == 0


LIGHT = """
import sys
sys.argv = ["elexirion", *sys.argv[1:]]
from elexirion_dagster.cli.main import main
try:
    main()
finally:
    print(*sorted(sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize("words", [["--help"], ["check"], ["list"], ["schema"], ["run", "--help"]], ids=" ".join)
def test_light_commands_import_nothing_heavy(environ, tmp_path, words):
    command = [sys.executable, "-c", LIGHT, *words]
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    modules = set(done.stderr.split()) - {"google"}  # a namespace that google-generativeai opens in every interpreter
    loaded = {name.partition(".")[0] for name in modules}
    assert not loaded & {"dagster", "duckdb", "dspy", "litellm", "anthropic", "openai", "httpx", "google"}
