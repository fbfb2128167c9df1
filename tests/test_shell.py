import os
import resource
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from elexirion_dagster.errors import Cancelled, ElexirionError, InputError
from elexirion_dagster.shell import Limits, run

PYTHON = sys.executable


def python(code: str, cwd: Path, *, timeout_s: float = 30, **options):
    return run([PYTHON, "-c", code], cwd=cwd, timeout_s=timeout_s, **options)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(path: Path) -> str:
    while not (path.exists() and path.read_text().endswith("\n")):
        time.sleep(0.01)
    return path.read_text().strip()


def gone(pid: int) -> bool:
    for _ in range(200):
        if not alive(pid):
            return True
        time.sleep(0.02)
    return False


def test_output_and_exit_code_are_reported(tmp_path):
    done = python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)", tmp_path)
    assert (done.exit_code, done.stdout, done.stderr, done.truncated) == (3, "out\n", "err\n", False)
    assert done.args[0] == PYTHON
    assert done.duration_s > 0


def test_nothing_is_expanded_by_a_shell(tmp_path):
    assert run(["echo", "$HOME", "*", "`id`", "; ls"], cwd=tmp_path, timeout_s=10).stdout == "$HOME * `id` ; ls\n"


def test_a_command_runs_in_its_folder_and_takes_it_as_home(tmp_path):
    done = python("import os; print(os.getcwd(), os.environ['HOME'])", tmp_path)
    assert done.stdout.split() == [os.path.realpath(tmp_path), str(tmp_path)]


def test_the_environment_is_scrubbed(tmp_path, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret")
    done = python("import os; print(sorted(os.environ))", tmp_path, env={"EXTRA": "1"})
    names = set(eval(done.stdout))  # noqa: S307 - the list that the line above printed
    assert names == {"EXTRA", "HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "TZ"}


def test_given_variables_win(tmp_path):
    assert python("import os; print(os.environ['HOME'])", tmp_path, env={"HOME": "/x"}).stdout == "/x\n"


def test_stdin_is_empty_unless_given(tmp_path):
    code = "import sys; print(repr(sys.stdin.read()))"
    assert python(code, tmp_path).stdout == "''\n"
    assert python(code, tmp_path, stdin="é\n").stdout == "'é\\n'\n"


def test_a_large_stdin_and_output_do_not_block_each_other(tmp_path):
    text = "x" * 3_000_000
    assert python("import sys; sys.stdout.write(sys.stdin.read())", tmp_path, stdin=text).stdout == text


def test_a_command_that_does_not_read_its_stdin_still_ends(tmp_path):
    assert python("print('done')", tmp_path, stdin="x" * 3_000_000).stdout == "done\n"


def test_output_is_bounded_and_the_command_is_not_blocked(tmp_path):
    done = python(
        "import sys; sys.stdout.write('a' * 5_000_000); sys.stderr.write('e')", tmp_path, limits=Limits(output_bytes=10)
    )
    assert (done.stdout, done.stderr, done.truncated, done.exit_code) == ("a" * 10, "e", True, 0)


def test_bytes_that_are_not_utf_8_are_replaced(tmp_path):
    assert python("import sys; sys.stdout.buffer.write(b'a\\xffb')", tmp_path).stdout == "a\ufffdb"


def test_the_deadline_ends_the_command(tmp_path):
    with pytest.raises(ElexirionError, match=r"stopped after 0\.3 s") as caught:
        run(["sleep", "60"], cwd=tmp_path, timeout_s=0.3)
    assert caught.value.cause == "timeout"


def test_a_command_that_ignores_sigterm_is_killed(tmp_path):
    code = (
        "import signal, os, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "open('pid', 'w').write(f'{os.getpid()}\\n'); time.sleep(60)"
    )
    with pytest.raises(ElexirionError, match="stopped after"):
        python(code, tmp_path, timeout_s=2)
    assert gone(int((tmp_path / "pid").read_text()))


GRANDCHILD = """
import os, subprocess, sys, time
stubborn = 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)'
child = subprocess.Popen([sys.executable, '-c', stubborn], start_new_session=OWN)
open('pid.new', 'w').write(f'{child.pid}\\n')
os.rename('pid.new', 'pid')
THEN
"""


def with_grandchild(then: str, *, own_session: bool = False) -> str:
    return GRANDCHILD.replace("OWN", str(own_session)).replace("THEN", then)


@pytest.mark.parametrize("own_session", [False, True])
def test_the_deadline_ends_grandchildren_too(tmp_path, own_session):
    with pytest.raises(ElexirionError, match="stopped after"):
        python(with_grandchild("time.sleep(60)", own_session=own_session), tmp_path, timeout_s=2)
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_grandchild_that_outlives_its_parent_is_killed(tmp_path):
    done = python(with_grandchild("print('parent done')"), tmp_path)
    assert done.stdout == "parent done\n"
    assert gone(int((tmp_path / "pid").read_text()))


def test_cancelling_ends_the_command(tmp_path):
    cancelled = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(
            python,
            "import os, time; open('pid', 'w').write(f'{os.getpid()}\\n'); time.sleep(60)",
            tmp_path,
            cancelled=cancelled,
        )
        pid = int(wait_for(tmp_path / "pid"))
        cancelled.set()
        with pytest.raises(Cancelled):
            future.result()
    assert gone(pid)


def test_a_cancelled_run_starts_nothing(tmp_path):
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(Cancelled):
        python("open('ran', 'w')", tmp_path, cancelled=cancelled)
    assert not (tmp_path / "ran").exists()


def test_a_missing_program_is_named(tmp_path):
    with pytest.raises(ElexirionError, match="cannot start 'no-such-program'") as caught:
        run(["no-such-program"], cwd=tmp_path, timeout_s=10)
    assert caught.value.cause == "command_failed"


def test_a_file_that_is_not_executable_is_named(tmp_path):
    (tmp_path / "script").write_text("echo hi\n")
    with pytest.raises(ElexirionError, match=r"cannot start '\./script'") as caught:
        run(["./script"], cwd=tmp_path, timeout_s=10)
    assert caught.value.cause == "command_failed"


@pytest.mark.parametrize("args", [[], [""], ["echo", "a\x00b"]])
def test_unusable_arguments_are_refused(tmp_path, args):
    with pytest.raises(InputError):
        run(args, cwd=tmp_path, timeout_s=10)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        run(["true"], cwd=tmp_path / "nowhere", timeout_s=10)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="the platform cannot limit a running process")
class TestLimits:
    def test_memory_is_bounded(self, tmp_path):
        done = python(
            "import time; time.sleep(0.2); x = bytearray(800_000_000)", tmp_path, limits=Limits(memory_mb=500)
        )
        assert done.exit_code != 0
        assert "MemoryError" in done.stderr

    def test_processor_time_is_bounded(self, tmp_path):
        assert python("while True: pass", tmp_path, limits=Limits(cpu_s=1)).exit_code < 0

    def test_file_size_is_bounded(self, tmp_path):
        code = "import time; time.sleep(0.2); open('big', 'wb').write(b'x' * 3_000_000)"
        assert python(code, tmp_path, limits=Limits(file_mb=1)).exit_code != 0
        assert (tmp_path / "big").stat().st_size <= 1024 * 1024


def test_sixty_four_threads_may_run_commands_at_once(tmp_path):
    with ThreadPoolExecutor(64) as pool:
        results = list(pool.map(lambda n: run(["echo", str(n)], cwd=tmp_path, timeout_s=60).stdout, range(128)))
    assert results == [f"{n}\n" for n in range(128)]


def test_no_descriptor_stays_open(tmp_path):
    run(["true"], cwd=tmp_path, timeout_s=10)
    before = psutil.Process().num_fds()
    for _ in range(5):
        run(["true"], cwd=tmp_path, timeout_s=10, stdin="x")
    assert psutil.Process().num_fds() == before
