import contextlib
import json
import os
import signal
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elexirion_dagster.errors import InputError, StorageError
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.journal import JournalWriter, append_once, lines

STREAM = """
import sys
from pathlib import Path
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.journal import JournalWriter
writer = JournalWriter(Home(Path(sys.argv[1])), root_run="root", run="run")
number = 0
while True:
    writer.append("progress", durable=number % 50 == 0, done=number, note="x" * 3000)
    number += 1
    if number % 50 == 1:
        print(number, flush=True)
"""

FULL = """
import resource, sys
from pathlib import Path
from elexirion_dagster.errors import StorageError
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.journal import JournalWriter
writer = JournalWriter(Home(Path(sys.argv[1])), root_run="root", run="run")
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
written = 0
try:
    while True:
        writer.append("progress", durable=True, note="x" * 700)
        written += 1
except StorageError as error:
    print(error.mend)
try:
    writer.append("progress", note="y" * 900)
except StorageError:
    pass
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
writer.append("progress", note="after")
print(written)
"""


def the_file(home, root_run="root"):
    (file,) = (home.journal / root_run).iterdir()
    return file


def fill(writer):
    for number in range(1000):
        writer.append("progress", done=number, note="x" * 5000)


def descriptor_of(path):
    wanted = path.stat()
    (found,) = (
        number for number in (int(path.name) for path in Path("/dev/fd").iterdir()) if is_open_on(number, wanted)
    )
    return found


def is_open_on(number, wanted):
    try:
        return os.path.samestat(os.fstat(number), wanted)
    except OSError:
        return False


def test_a_line_says_its_format_kind_time_and_runs(home):
    with JournalWriter(home, root_run="root", run="run") as writer:
        writer.append("pin", durable=True, name="model", value="fake/m")
    (line,) = lines(home, "root")
    assert line.pop("ts").endswith("Z")
    assert line == {"v": 1, "kind": "pin", "root_run": "root", "run": "run", "name": "model", "value": "fake/m"}


def test_file_and_folder_are_private_and_named_after_run_and_process(home):
    JournalWriter(home, root_run="root", run="run").close()
    assert the_file(home).name == f"run.{os.getpid()}.jsonl"
    assert oct(the_file(home).stat().st_mode & 0o777) == "0o600"
    assert oct((home.journal / "root").stat().st_mode & 0o777) == "0o700"


@pytest.mark.parametrize("names", [("..", "run"), ("root", "a/b"), ("root", "run\n"), ("", "run")])
def test_names_that_are_paths_are_refused(home, names):
    with pytest.raises(InputError):
        JournalWriter(home, root_run=names[0], run=names[1])
    assert list(home.journal.iterdir()) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=JSON)
def test_any_json_comes_back_lone_surrogates_and_line_separators_included(home, value):
    with JournalWriter(home, root_run="any", run="run") as writer:
        writer.append("pin", name="x", value=value)
    assert list(lines(home, "any"))[-1]["value"] == value


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\u2028\u2029\x85\x0b\x0c\r\n", "\x00", "\U0001f600"])
def test_text_that_breaks_naive_writers_comes_back(home, text):
    with JournalWriter(home, root_run="root", run="run") as writer:
        writer.append("pin", name=text, value=[text])
        writer.append("pin", name="next", value=1)
    first, second = lines(home, "root")
    assert (first["name"], first["value"], second["name"]) == (text, [text], "next")


def test_threads_and_two_writers_of_one_run_never_mix_their_lines(home):
    writers = [JournalWriter(home, root_run="root", run="run") for _ in range(2)]

    def work(number):
        for step in range(50):
            writers[number % 2].append("progress", durable=step % 10 == 0, done=number, total=step, note="x" * 5000)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = lines(home, "root")
    assert sorted((line["done"], line["total"]) for line in found) == [(n, s) for n in range(16) for s in range(50)]
    assert found.skipped == 0


def test_two_living_writers_of_one_run_have_files_of_their_own_and_the_next_one_takes_the_free_name(home):
    first, second = (JournalWriter(home, root_run="root", run="run") for _ in range(2))
    names = [writer.path.name for writer in (first, second)]
    assert names == [f"run.{os.getpid()}.jsonl", f"run.{os.getpid()}.2.jsonl"]
    first.close()
    with JournalWriter(home, root_run="root", run="run") as third:
        assert third.path == first.path
    second.close()


def test_a_line_for_later_comes_with_the_next_one_or_at_the_end_in_its_place(home):
    with JournalWriter(home, root_run="root", run="run") as writer:
        writer.append("pin", later=True, name="a", value=1)
        assert list(lines(home, "root")) == []
        writer.append("pin", name="b", value=2)
        assert [line["name"] for line in lines(home, "root")] == ["a", "b"]
        writer.append("pin", later=True, name="c", value=3)
    assert [line["name"] for line in lines(home, "root")] == ["a", "b", "c"]


def test_every_thread_whose_line_was_lost_is_told(home):
    writer = JournalWriter(home, root_run="root", run="run")
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write_end, b"x" * 4096)
    os.set_blocking(write_end, True)
    os.dup2(write_end, descriptor_of(writer.path))  # the first thread hangs in its write, the others queue behind it
    told = []

    def append(number):
        try:
            writer.append("pin", durable=True, name=str(number), value=number)
        except StorageError as error:
            told.append(error)

    threads = [threading.Thread(target=append, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    os.close(read_end)
    for thread in threads:
        thread.join()
    writer.close()
    os.close(write_end)
    assert len(told) == len(threads)


def test_a_writer_killed_in_the_stream_loses_nothing_it_had_synced(home, child):
    process = child(STREAM, home.path)
    for _ in range(8):
        synced = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    found = lines(home, "root")
    done = [line["done"] for line in found]
    assert done == list(range(len(done)))
    assert len(done) >= synced
    assert found.skipped == 0


def test_a_full_disk_is_told_and_leaves_whole_lines_and_the_writer_usable(home, child):
    out, err = child(FULL, home.path).communicate()
    assert err == ""
    mend, written = out.splitlines()
    assert "disk space" in mend
    content = the_file(home).read_bytes()
    assert content.endswith(b"\n")
    notes = [json.loads(line)["note"] for line in content.splitlines()]
    assert notes == ["x" * 700] * int(written) + ["after"]
    assert int(written) > 1


def test_a_really_full_file_system_leaves_whole_lines(small_disk):
    home = open_home(small_disk.path / "home")
    with JournalWriter(home, root_run="root", run="run") as writer:
        with pytest.raises(StorageError, match="No space left"):
            fill(writer)
        written = [line["done"] for line in lines(home, "root")]
        assert written == list(range(len(written)))
        assert len(written) > 5
        assert the_file(home).read_bytes().endswith(b"\n")
        small_disk.grow()
        writer.append("progress", done=-1)
    assert [line["done"] for line in lines(home, "root")] == [*written, -1]


def test_a_read_only_journal_is_told(open_folder, read_only):
    home = open_home(open_folder / "home")
    home.path.chmod(0o755)
    with read_only(home.journal), pytest.raises(StorageError) as refused:
        JournalWriter(home, root_run="root", run="run")
    assert refused.value.cause == "storage"


def test_a_closed_writer_says_so(home):
    writer = JournalWriter(home, root_run="root", run="run")
    writer.close()
    writer.close()
    with pytest.raises(StorageError, match="is closed"):
        writer.append("progress")


def test_of_many_that_write_a_line_once_one_does_and_its_line_is_whole(home):
    def write(number):
        done = append_once(home, root_run="root", run="run", kind="run_finished", name="failed", message=str(number))
        written.append((done, str(number)))

    written: list[tuple[bool, str]] = []
    threads = [threading.Thread(target=write, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (first,) = (message for done, message in written if done)
    assert [line["message"] for line in lines(home, "root")] == [first]
    assert [file.name for file in (home.journal / "root").iterdir()] == ["run.failed.jsonl"]
    assert (home.journal / "root" / "run.failed.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_line_that_cannot_be_written_once_is_told_and_may_be_written_later(home):
    (home.journal / "root").touch()
    with pytest.raises(StorageError):
        append_once(home, root_run="root", run="run", kind="run_finished", name="failed")
    (home.journal / "root").unlink()
    assert append_once(home, root_run="root", run="run", kind="run_finished", name="failed")


def test_after_a_failed_fsync_nothing_more_is_promised(home):
    writer = JournalWriter(home, root_run="root", run="run")
    read_end, write_end = os.pipe()
    descriptor = descriptor_of(writer.path)
    file_end = os.dup(descriptor)
    os.dup2(write_end, descriptor)  # a pipe takes the line and cannot be synced
    with pytest.raises(StorageError, match="Invalid argument"):
        writer.append("progress", durable=True)
    os.dup2(file_end, descriptor)
    with pytest.raises(StorageError, match="failed before"):
        writer.append("progress", durable=True)
    writer.close()
    for handle in (read_end, write_end, file_end):
        os.close(handle)


def test_a_torn_last_line_is_ignored_and_a_corrupt_middle_line_is_counted(home):
    with JournalWriter(home, root_run="root", run="run") as writer:
        writer.append("pin", name="a", value=1)
    good = the_file(home).read_bytes()
    broken = b'{"v":1,"kind"\n\xff\xfe\n[]\n{}\n{"v":"1"}\n{"v":true}\n\n' + b"[" * 100_000 + b"\n"
    the_file(home).write_bytes(good + broken + good + good[:-20])
    found = lines(home, "root")
    assert [line["name"] for line in found] == ["a", "a"]
    assert found.skipped == 8


def test_a_writer_with_the_pid_of_a_dead_one_begins_a_new_line(home):
    with JournalWriter(home, root_run="root", run="run") as writer:
        writer.append("pin", name="a", value=1)
    with the_file(home).open("ab") as file:
        file.write(b'{"v":1,"kind":"pi')
    with JournalWriter(home, root_run="root", run="run") as writer:
        writer.append("pin", name="b", value=2)
    found = lines(home, "root")
    assert [line["name"] for line in found] == ["a", "b"]
    assert found.skipped == 1


def test_a_line_of_a_newer_format_is_refused(home):
    with JournalWriter(home, root_run="root", run="run") as writer:
        writer.append("pin", name="a", value=1)
    with the_file(home).open("a") as file:
        file.write('{"v":2,"kind":"pin"}\n')
    with pytest.raises(StorageError, match=r"format 2.*\n.*Upgrade"):
        list(lines(home, "root"))


def test_an_unknown_root_run_has_no_lines(home):
    assert list(lines(home, "nobody")) == []


def test_what_is_not_json_never_reaches_the_file(home):
    with JournalWriter(home, root_run="root", run="run") as writer:
        with pytest.raises(TypeError):
            writer.append("pin", name="a", value={1, 2})
        writer.append("pin", name="b", value=1)
    assert [line["name"] for line in lines(home, "root")] == ["b"]
