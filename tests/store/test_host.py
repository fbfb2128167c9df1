import json
from dataclasses import replace
from typing import NamedTuple

import psutil
import pytest

from elexirion_dagster.errors import StorageError
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.host import Host, is_local, this_host

HERE = this_host()
ELSEWHERE = Host("m2", "b2", "elsewhere")


class Partition(NamedTuple):
    """As psutil describes a mount."""

    mountpoint: str
    fstype: str


@pytest.fixture
def home(tmp_path):
    return open_home(tmp_path / "home")


@pytest.fixture
def on(monkeypatch):
    """Have the system say that the test's folders are on a file system of this kind."""

    def mounted(folder, fstype):
        mounts = [Partition("/", "ext4"), Partition(str(folder), fstype)]
        monkeypatch.setattr(psutil, "disk_partitions", lambda **_: mounts)

    return mounted


def known(home):
    return Host.from_json(json.loads(home.host_file.read_text()))


def remember(home, host):
    home.host_file.write_text(json.dumps(host.to_json()))


def test_a_home_knows_its_machine_and_keeps_no_raw_id(home):
    assert known(home) == HERE
    assert "machine-id" not in home.host_file.read_text()
    assert HERE.boot is None or len(HERE.boot) == 32


def test_a_home_of_before_opens_and_knows_its_machine_from_then_on(home):
    home.host_file.unlink()
    open_home(home.path)
    assert known(home) == HERE


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (Host("m1", "b1", "one"), True),
        (Host("m1", "b2", "one"), True),  # after a restart
        (Host("m2", "b1", "two"), True),  # another container
        (Host(None, "b1", "two"), True),
        (Host("m2", "b2", "one"), False),
        (Host(None, "b2", "one"), False),
        (Host(None, None, "one"), False),
    ],
)
def test_containers_and_restarts_are_the_same_machine_others_are_not(other, same):
    assert Host("m1", "b1", "one").is_same(other) is same


def test_two_machines_of_which_nothing_is_known_are_not_the_same():
    assert not Host(None, None, "one").is_same(Host(None, None, "one"))


@pytest.mark.parametrize("fstype", ["nfs4", "cifs", "fuse.sshfs", "9p", "something_new"])
def test_on_a_shared_disk_another_machine_is_refused_with_the_way_out(home, on, fstype):
    remember(home, ELSEWHERE)
    on(home.path, fstype)
    with pytest.raises(StorageError, match=r"'elsewhere'") as refused:
        open_home(home.path)
    assert refused.value.cause == "storage"
    assert str(home.host_file) in refused.value.mend
    home.host_file.unlink()  # what the message says
    open_home(home.path)
    assert known(home) == HERE


def test_a_home_that_was_moved_to_a_disk_of_this_machine_is_taken_over(home, on):
    remember(home, ELSEWHERE)
    on(home.path, "ext4")
    open_home(home.path)
    assert known(home) == HERE


def test_after_a_restart_the_home_knows_the_new_boot(home, on):
    remember(home, replace(HERE, machine="m1", boot="before"))
    on(home.path, "ext4")
    open_home(home.path)
    assert known(home).boot == HERE.boot


@pytest.mark.parametrize("text", ["", "[]", "{}", "\x00"])
def test_a_damaged_record_is_named_with_the_way_out(home, text):
    home.host_file.write_text(text)
    with pytest.raises(StorageError, match="Remove that file"):
        open_home(home.path)


def test_the_innermost_mount_decides(tmp_path, on):
    on(tmp_path, "nfs4")
    assert not is_local(tmp_path / "deep" / "home")
    assert is_local(tmp_path.parent)
