from dataclasses import dataclass, replace

import pytest

from elexirion_dagster.sandbox.hints import hint
from elexirion_dagster.sandbox.policy import Sandbox


@dataclass(frozen=True)
class Ended:
    exit_code: int = 1
    stdout: str = ""
    stderr: str = ""
    isolation: str = "bubblewrap"


def test_a_path_outside_is_named_with_the_key_unless_a_model_asks(tmp_path):
    file = tmp_path / "data.csv"
    file.touch()
    ended = Ended(stderr=f"cat: {file}: No such file or directory\n")
    told = hint(ended, Sandbox(), names_paths=True)
    assert f"{file} exists" in told
    assert "may have caused" in told
    assert "input of type path" in told
    assert hint(ended, Sandbox(), names_paths=False) is None
    assert hint(ended, Sandbox(readable=(tmp_path,)), names_paths=True) is None
    assert hint(replace(ended, stderr=f"cat: {file}2: No such file"), Sandbox(), names_paths=True) is None


@pytest.mark.parametrize(
    ("stderr", "key"),
    [
        ("curl: (6) Could not resolve host: example.org", "network: true"),
        ("OSError: [Errno 101] Network is unreachable", "network: true"),
        ("touch: cannot touch '/usr/x': Read-only file system", "sandbox: off"),
    ],
)
def test_what_the_sandbox_refuses_is_told_with_its_key(stderr, key):
    assert key in hint(Ended(stderr=stderr), Sandbox(), names_paths=False)
    assert hint(Ended(stderr=stderr, isolation="none"), Sandbox(), names_paths=True) is None
    assert hint(Ended(exit_code=0, stderr=stderr), Sandbox(), names_paths=True) is None


def test_a_failure_of_the_program_itself_is_left_alone():
    assert hint(Ended(stderr="AssertionError: 1 != 2"), Sandbox(), names_paths=True) is None
    assert hint(Ended(stderr="Could not resolve host"), Sandbox(network=True), names_paths=True) is None
    assert "sandbox: off" in hint(Ended(exit_code=127), Sandbox(), names_paths=True)
