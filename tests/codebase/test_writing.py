import os
import stat

import pytest

from elexirion_dagster.codebase.confine import open_real
from elexirion_dagster.codebase.writing import entry, parent_of, writable, write_below
from elexirion_dagster.errors import InputError, PolicyError


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    (folder / "sub").mkdir(parents=True)
    return folder


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_text("outside")
    return folder


def swap(folder, target):
    folder.rename(folder.with_name("was"))
    folder.symlink_to(target)


def test_a_link_put_in_a_folders_place_after_the_look_is_not_followed(root, outside):
    place = writable(root, "sub/file")
    swap(root / "sub", outside)
    with pytest.raises(OSError, match=r"sub|Not a directory|symbolic"), parent_of(root, place):
        pass
    with pytest.raises(OSError, match=r"sub|Not a directory|symbolic"):
        open_real(place)


def test_a_link_in_the_files_own_place_is_replaced_and_not_written_through(root, outside):
    def swapped():
        (root / "file").symlink_to(outside / "file")
        yield b"new"

    write_below(root, "file", swapped())
    assert (root / "file").read_text() == "new"
    assert not (root / "file").is_symlink()
    assert (outside / "file").read_text() == "outside"


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(root):
    def broken():
        yield b"half"
        raise OSError(28, "full")

    (root / "file").write_text("old")
    with pytest.raises(OSError, match="full"):
        write_below(root, "file", broken())
    assert (root / "file").read_text() == "old"
    assert sorted(os.listdir(root)) == ["file", "sub"]  # noqa: PTH208 - names


def test_a_file_keeps_its_mode_and_a_new_one_is_the_users_own(root):
    (root / "old").write_text("x")
    (root / "old").chmod(0o4755)
    write_below(root, "old", [b"y"])
    write_below(root, "new", [b"y"])
    assert [stat.S_IMODE((root / name).stat().st_mode) for name in ("old", "new")] == [0o755, 0o600]


@pytest.mark.parametrize("path", [".git", "a/.git/x", ".Git/config", "short/hooks/x"])
def test_what_is_gits_is_refused_also_through_a_link(root, path):
    (root / ".git" / "hooks").mkdir(parents=True)
    (root / "short").symlink_to(".git")
    for find in (writable, entry):
        with pytest.raises(PolicyError, match="belongs to git"):
            find(root, path)


def test_an_entry_is_the_link_itself(root, outside):
    (root / "link").symlink_to(outside)
    assert entry(root, "link") == root / "link"
    with pytest.raises(PolicyError):
        entry(root, "link/file")


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_only_a_file_is_replaced(root, kind):
    if kind == "folder":
        (root / "x").mkdir()
    else:
        os.mkfifo(root / "x")
    with pytest.raises(InputError):
        write_below(root, "x", [b"x"])
