import os

import pytest

from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.execution.processes import Group
from elexirion_dagster.operations import serve
from elexirion_dagster.operations.serve import _EXITS, _Keeping
from elexirion_dagster.settings import Settings


def kept(tmp_path, home_path, command, until):
    """Keep a program running that counts its starts in `starts`; returns what was said."""
    said = []
    with Group(os.environ, cwd=tmp_path) as group:
        group.start("program", ["sh", "-c", f"echo x >> starts; {command}"])
        _Keeping(group, Settings(home=home_path), said.append).running(until=until, within_s=60)
    return said


def starts(tmp_path):
    return (tmp_path / "starts").read_text().count("x") if (tmp_path / "starts").exists() else 0


def test_a_program_that_exits_is_started_again_after_a_pause_that_grows_and_not_for_ever(
    tmp_path, home_path, monkeypatch
):
    monkeypatch.setattr(serve, "_LONGEST_PAUSE_S", 0)
    with pytest.raises(ElexirionError, match="the program exited with code 3, 6 times in a row"):
        kept(tmp_path, home_path, "exit 3", lambda: False)
    assert starts(tmp_path) == _EXITS + 1


def test_the_pause_before_a_restart_does_not_hold_up_the_others(tmp_path, home_path):
    said = kept(tmp_path, home_path, "test $(wc -l < starts) = 3 && exec sleep 60", lambda: starts(tmp_path) == 3)
    assert said == [f"the program exited with code 1; starting it again in {pause_s} s" for pause_s in (1, 2)]


def test_a_program_that_is_killed_is_started_again_at_once(tmp_path, home_path):
    command = "test $(wc -l < starts) = 3 && exec sleep 60; kill -9 $$"
    said = kept(tmp_path, home_path, command, lambda: starts(tmp_path) == 3)
    assert said == ["the program was killed by signal 9; starting it again"] * 2
