import json
import re
from datetime import UTC, datetime

import pytest

from elexirion_dagster.errors import InputError, StorageError
from elexirion_dagster.store.home import check_name, open_home, write_atomically

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_a_new_home_is_private_and_says_its_format(tmp_path):
    home = open_home(tmp_path / "deep" / "home")
    folders = (home.path, home.journal, home.dagster, home.prompts, home.runs, home.reports, home.cache)
    assert {oct(folder.stat().st_mode & 0o777) for folder in folders} == {"0o700"}
    assert oct(home.version_file.stat().st_mode & 0o777) == "0o600"
    assert json.loads(home.version_file.read_text()) == {"format": 1}


def test_opening_again_changes_nothing(tmp_path):
    before = open_home(tmp_path / "home")
    listing = sorted(tmp_path.rglob("*"))
    assert open_home(tmp_path / "home") == before
    assert sorted(tmp_path.rglob("*")) == listing


def test_a_home_of_a_newer_format_is_refused_and_left_alone(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "version.json").write_text('{"format": 2}')
    with pytest.raises(StorageError, match=r"has format 2.*up to 1\n.*Upgrade"):
        open_home(home)
    assert [path.name for path in home.iterdir()] == ["version.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", "\x00", '{"format": "x"}'])
def test_a_damaged_version_file_is_refused(tmp_path, text):
    home = open_home(tmp_path / "home")
    home.version_file.write_text(text)
    with pytest.raises(StorageError):
        open_home(tmp_path / "home")


@pytest.mark.parametrize("inside", ["", "home"])
def test_a_file_in_the_way_is_refused_with_a_mend(tmp_path, inside):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError) as refused:
        open_home(tmp_path / "file" / inside)
    assert "ELEXIRION_HOME" in refused.value.mend
    assert (tmp_path / "file").read_text() == "mine"


def test_a_read_only_home_is_refused_with_a_mend(open_folder, read_only):
    home = open_home(open_folder / "home")
    with read_only(home.path), pytest.raises(StorageError) as refused:
        open_home(home.path)
    assert refused.value.cause == "storage"
    assert "writable" in refused.value.mend
    assert open_home(home.path) == home


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\n", "é", "a" * 201, "a b", "\x00"])
def test_a_name_that_could_leave_its_folder_is_refused(name):
    with pytest.raises(InputError):
        check_name(name)


def test_ordinary_run_names_are_kept(tmp_path):
    home = open_home(tmp_path)
    assert home.workspace("0b9c-1.2_x") == tmp_path / "runs" / "0b9c-1.2_x"
    assert home.report("r") == tmp_path / "reports" / "r"


def test_a_failed_replacement_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "not bytes")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert re.fullmatch("0o600", oct(path.stat().st_mode & 0o777))
