import json
import os
import socket
import stat
import subprocess
import sys
import time

import psutil
import pytest

from elexirion_dagster.execution import workers, zygote

pytestmark = pytest.mark.slow
RUN = "22222222-2222-2222-2222-222222222222"
PATIENCE_S = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a zygote serves."""
    folder = tmp_path_factory.mktemp("a" * 60) / ("b" * 60)  # longer than a socket's path may be
    folder.mkdir()
    process = subprocess.Popen(zygote.command(folder, ["json"]))
    deadline = time.monotonic() + PATIENCE_S
    while not (folder / zygote.SOCKET).exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield folder
    process.terminate()
    process.wait()


def ask(folder, text):
    """What the zygote answers to these bytes."""
    with socket.socket(socket.AF_UNIX) as connection:
        descriptor = os.open(folder, os.O_RDONLY)
        connection.connect(f"/proc/self/fd/{descriptor}/{zygote.SOCKET}")
        os.close(descriptor)
        try:
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has heard enough
        with connection.makefile("rb") as reading:
            return json.loads(reading.readline())


def order(**changes):
    fields = {"run": RUN, "job": "none", "args": "{}", "cwd": "/", "nice": 0, "environ": {}}
    return json.dumps({**fields, **changes}).encode() + b"\n"


def test_nobody_else_can_use_the_socket(folder):
    assert stat.S_IMODE((folder / zygote.SOCKET).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"no json\n",
        b"5\n",
        b"[1]\n",
        b'{"run": "x"}\n',
        b'{"without": "an end"}',
        order(environ=None),
        order(more="fields"),
        b'"' + b"x" * 5_000_000 + b'"\n',
    ],
    ids=["empty", "garbage", "number", "list", "few_fields", "no_end", "wrong_type", "more_fields", "oversized"],
)
def test_what_is_no_request_is_refused_and_the_next_one_heard(folder, text):
    assert ask(folder, text)["error"].startswith("not a request: ")
    assert ask(folder, b"{}\n") == {}


def test_a_name_that_leaves_the_folder_is_no_run(folder):
    with pytest.raises(json.JSONDecodeError):  # the worker ended without an answer
        ask(folder, order(run="../../escaped"))
    assert not list(folder.parent.rglob("escaped*"))
    assert ask(folder, b"{}\n") == {}


def test_an_order_for_a_run_that_a_process_has_is_answered_with_its_pid(folder):
    with workers.working_on(folder / workers.WORKERS, RUN):
        assert ask(folder, order()) == {"pid": os.getpid()}


def test_a_worker_that_cannot_even_begin_claims_its_run_and_leaves_the_reason(folder):
    run = RUN.replace("2", "3")
    assert ask(folder, order(run=run))["pid"]
    log, deadline = workers.log_file(folder / workers.WORKERS, run), time.monotonic() + PATIENCE_S
    while "Error" not in (log.read_text() if log.exists() else ""):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert workers.claimed(folder / workers.WORKERS, run) == "warm"


def test_it_ends_when_the_process_that_it_serves_is_not_its_parent_any_more(tmp_path):
    module = "elexirion_dagster.execution.zygote"
    done = subprocess.run([sys.executable, "-m", module, "1", str(tmp_path)], timeout=PATIENCE_S, check=False)
    assert done.returncode == 0
    assert not [one for one in psutil.process_iter(["cmdline"]) if str(tmp_path) in (one.info["cmdline"] or ())]


def test_threads_of_native_code_are_seen():
    code = (
        "import ctypes, threading\n"
        "from elexirion_dagster.execution.zygote import _threads\n"
        "assert not _threads()\n"
        "import _thread, time\n"
        "_thread.start_new_thread(time.sleep, (60,))\n"  # as native code does: the threading module does not know it
        "print(_threads())\n"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "1 threads of native code"


def test_migrations_are_read_once_and_say_the_same():
    code = (
        "import sqlite3, sys\n"
        "from alembic.script import ScriptDirectory\n"
        "from dagster._core.storage.sql import check_alembic_revision, get_alembic_config\n"
        "import sqlalchemy\n"
        "from elexirion_dagster.execution.zygote import read_migrations_once\n"
        "config = get_alembic_config(sys.modules['dagster._core.storage.sql'].__file__)\n"
        "before = ScriptDirectory.from_config(config).as_revision_number('head')\n"
        "read_migrations_once()\n"
        "ScriptDirectory._load_revisions = None\n"  # whoever reads them again fails
        "with sqlalchemy.create_engine('sqlite://').connect() as connection:\n"
        "    assert check_alembic_revision(config, connection) == (None, before)\n"
        "print(before)\n"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip()
