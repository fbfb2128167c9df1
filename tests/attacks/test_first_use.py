"""Processes that begin a home together, as CI jobs and pre-commit hooks do."""

import pytest

HELLO = "name: hello\nsteps: [{name: greet, type: command, run: [echo, hello]}]\n"
RUN = ["run", "hello.yaml"]
EIGHT_RUNS = [RUN] * 8
EIGHT_OF_ALL_KINDS = [RUN, ["doctor"], ["init"], ["scan", "code"], ["health"], ["init"], RUN, RUN]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "hello.yaml").write_text(HELLO, encoding="utf-8")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text("eval(input())\n", encoding="utf-8")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("commands", [EIGHT_RUNS, EIGHT_OF_ALL_KINDS], ids=["runs", "all kinds"])
def test_none_of_many_processes_is_lost_on_a_new_home(folder, start_elexirion, elexirion, commands):
    started = [start_elexirion(*command, cwd=folder) for command in commands]
    ends = [(process.communicate(timeout=280)[1], process.returncode) for process in started]
    assert [said for said, code in ends if code] == []
    for command in (RUN, ["doctor"]):
        done = elexirion(*command, cwd=folder)
        assert done.returncode == 0, done.stderr
