import os
import sys
from pathlib import Path

import pytest

from elexirion_dagster.sandbox.places import installed, locate, toolchains


def program(file: Path, text: str = "#!/bin/sh\n") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)
    return file


@pytest.fixture
def person(tmp_path, monkeypatch):
    """A user's home with interpreters in it, as version managers leave them."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


def on_path(*folders: Path) -> dict[str, str]:
    return {"PATH": os.pathsep.join([*map(str, folders), "/usr/bin", "/bin"])}


def test_a_virtual_environment_is_shown_with_the_interpreter_behind_it(person):
    real = program(person / ".local/share/uv/python/cpython-3.12.1/bin/python3.12")
    (real.parents[1] / "lib").mkdir()
    (person / ".local/share/uv/python/cpython-3.12").symlink_to(real.parents[1])
    venv = person / "work" / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "pyvenv.cfg").touch()
    (venv / "bin" / "python").symlink_to(person / ".local/share/uv/python/cpython-3.12/bin/python3.12")
    found = installed(str(venv / "bin" / "python"), person, on_path())
    assert {venv, real.parents[1]} <= set(found)
    assert person not in found
    assert venv.parent not in found


def test_the_interpreter_of_a_script_is_shown(person):
    real = program(person / "tools/node-v20/bin/node")
    (real.parents[1] / "lib").mkdir()
    script = program(person / "bin" / "tool", f"#!{real} --flag\n")
    assert real.parents[1] in installed("tool", person, on_path(script.parent))
    env = program(person / "bin" / "other", "#!/usr/bin/env -S X=1 node -v\n")
    assert real.parents[1] in installed(str(env), person, on_path(real.parent))


def test_a_folder_of_path_never_shows_the_home_or_a_checkout_around_it(person):
    program(person / "bin" / "tool")
    (person / "lib").mkdir()
    program(person / ".local/bin/other")
    (person / ".local/lib").mkdir()
    checkout = program(person / "project/bin/run").parents[1]
    (checkout / "lib").mkdir()
    (checkout / ".git").mkdir()
    folders = (person / "bin", person / ".local/bin", checkout / "bin")
    found = installed("true", person, on_path(*folders))
    assert set(folders) <= set(found)
    assert not {person, person / ".local", checkout} & set(found)


def test_links_in_path_show_what_they_lead_to(person):
    real = program(person / ".local/share/pipx/venvs/tool/bin/tool")
    (real.parents[1] / "pyvenv.cfg").touch()
    (person / ".local/bin").mkdir(parents=True)
    (person / ".local/bin/tool").symlink_to(real)
    assert real.parents[1] in installed("true", person, on_path(person / ".local/bin"))


def test_version_managers_are_shown_and_named(person):
    (person / ".asdf" / "installs").mkdir(parents=True)
    (person / ".mix").mkdir()
    environ = {"HOME": str(person), "MIX_HOME": str(person / "elsewhere")}
    assert toolchains(environ) == {"ASDF_DATA_DIR": str(person / ".asdf")}
    assert toolchains({"HOME": str(person)})["MIX_HOME"] == str(person / ".mix")
    assert person / ".asdf" in installed("true", person, {**on_path(), **toolchains(environ)})


def test_nothing_is_shown_for_the_systems_own_programs(person):
    assert installed("sh", person, on_path()) == ()


def test_a_program_is_found_as_exec_finds_it(tmp_path):
    script = program(tmp_path / "here")
    assert locate("./here", tmp_path, "/usr/bin") == str(tmp_path / "./here")
    assert locate(str(script), Path("/"), "") == str(script)
    assert locate("nowhere", tmp_path, "/usr/bin") is None
    assert locate(sys.executable, tmp_path, "") == sys.executable
