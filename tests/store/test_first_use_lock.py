import errno
import fcntl
import os
import subprocess
import sys
import threading

import pytest

from elexirion_dagster.errors import StorageError
from elexirion_dagster.store.first_use import LOCK, first_use
from elexirion_dagster.store.home import open_home

HOLD = """
import sys
from pathlib import Path
from elexirion_dagster.store.first_use import first_use
with first_use(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path, environ):
    """Another process that holds the lock until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def test_who_waits_in_vain_is_told_who_holds_the_lock(tmp_path, holder):
    with pytest.raises(StorageError) as refused, first_use(tmp_path, wait_s=0.1):
        pytest.fail("two processes hold the lock")
    assert f"process {holder.pid} on {os.uname().nodename}" in refused.value.message
    assert "end it" in refused.value.mend


def test_a_process_that_is_killed_lets_go(tmp_path, holder):
    holder.kill()
    with first_use(tmp_path, wait_s=60):
        assert holder.wait() < 0


def test_the_holder_need_not_have_left_word(tmp_path):
    descriptor = os.open(tmp_path / LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(StorageError, match="another process has been preparing"), first_use(tmp_path, wait_s=0):
        pass
    os.close(descriptor)


def test_threads_exclude_one_another_and_all_come_to_their_turn(tmp_path):
    inside, most = [], []

    def work():
        with first_use(tmp_path, wait_s=60):
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 20


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_named_with_the_way_out(tmp_path, monkeypatch, code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StorageError, match=r"cannot be locked(.|\n)*local disk"):
        open_home(tmp_path / "home")


def test_a_full_disk_does_not_keep_an_old_home_from_being_opened(tmp_path, monkeypatch):
    home = open_home(tmp_path / "home")
    home.host_file.unlink()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    monkeypatch.setattr(os, "fsync", full)
    assert open_home(home.path) == home
