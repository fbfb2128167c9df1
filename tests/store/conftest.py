import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from elexirion_dagster.records import Reply, TextBlock, ThinkingBlock, ToolUseBlock, Usage
from elexirion_dagster.store.home import Home, open_home

MOUNT, UNMOUNT = "/bin/mount", "/bin/umount"


@pytest.fixture
def home(tmp_path) -> Home:
    return open_home(tmp_path / "home")


@pytest.fixture
def reply() -> Reply:
    return Reply(
        blocks=(
            ThinkingBlock({"type": "thinking", "thinking": "hm", "signature": "c2ln"}),
            TextBlock("naïve \U0001f600 "),
            TextBlock("text"),
            ToolUseBlock("t1", "read", {"path": "a.py"}),
        ),
        stop_reason="tool_use",
        usage=Usage(10, 20, 3, 4),
        model="m",
        provider="fake",
        latency_s=0.5,
        request_id="req_1",
        cost_usd=0.25,
    )


@pytest.fixture
def child():
    """Start Python code in a process of its own, which sees the arguments as sys.argv[1:]."""
    root = str(Path(__file__).parents[2])

    def start(code: str, *args: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", "-c", code, *map(str, args)]
        return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


@pytest.fixture
def read_only(unprivileged):
    """Make a folder and what lies in it unwritable, and become somebody who must heed that."""

    @contextmanager
    def enter(folder: Path) -> Iterator[None]:
        everything = [folder, *folder.rglob("*")]
        for path in everything:
            path.chmod(0o555 if path.is_dir() else 0o444)
        try:
            with unprivileged():
                yield
        finally:
            for path in everything:
                path.chmod(0o700 if path.is_dir() else 0o600)

    return enter


@dataclass(frozen=True)
class SmallDisk:
    path: Path

    def grow(self) -> None:
        subprocess.run([MOUNT, "-o", "remount,size=64m", str(self.path)], check=True)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[SmallDisk]:
    """A file system of 2 MB that can be made bigger; only root can mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = [MOUNT, "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if (
        os.geteuid() != 0
        or not Path(MOUNT).exists()
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        pytest.skip("mounting a file system is not allowed here")
    yield SmallDisk(folder)
    subprocess.run([UNMOUNT, str(folder)], check=True)
