import os
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import pytest
from journaled import everything, the_file, write_a_run

from elexirion_dagster.errors import StorageError
from elexirion_dagster.store.database import ingest, query
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.journal import JournalWriter, lines

INGEST = """
import sys
from pathlib import Path
from elexirion_dagster.store.database import ingest
from elexirion_dagster.store.home import Home
for _ in range(5):
    report = ingest(Home(Path(sys.argv[1])))
    print(report.lines, report.skipped, int(report.rebuilt))
"""


WRITE = """
import sys
from pathlib import Path
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.journal import JournalWriter
for run in range(40):
    with JournalWriter(Home(Path(sys.argv[1])), root_run=f"root{sys.argv[2]}", run=f"run{run}") as writer:
        for number in range(25):
            writer.append("intent", call_id=f"{sys.argv[2]}-{run}-{number}", path="p", max_usd=0.5)
"""


KEEP_OPEN = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
"""


def damage_garbage(path: Path):
    path.write_bytes(b"not a database" * 1000)


def damage_empty(path: Path):
    path.write_bytes(b"")


def damage_truncated(path: Path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_header(path: Path):
    content = bytearray(path.read_bytes())
    content[4200:8200] = os.urandom(4000)
    path.write_bytes(content)


def damage_foreign(path: Path):
    path.unlink()
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE mine (x INTEGER)")


def damage_newer(path: Path):
    with duckdb.connect(path) as connection:
        connection.execute("INSERT INTO _migrations VALUES ('m999_from_the_future', NULL)")


def damage_wal(path: Path):
    path.write_bytes(b"")
    path.with_name(path.name + ".wal").write_bytes(b"garbage" * 100)


@pytest.mark.parametrize(
    "damage",
    [damage_garbage, damage_empty, damage_truncated, damage_header, damage_foreign, damage_newer, damage_wal],
)
def test_an_unusable_database_is_set_aside_and_rebuilt_with_the_same_rows(home, reply, damage):
    write_a_run(home, reply)
    write_a_run(home, reply, root="another")
    ingest(home)
    before = everything(home)
    damage(home.outcomes_db)
    damaged = home.outcomes_db.read_bytes()
    report = ingest(home)
    assert (report.rebuilt, report.lines) == (True, 24)
    assert everything(home) == before
    aside = [path for path in home.path.glob("outcomes.duckdb.corrupt-*") if path.suffix != ".wal"]
    assert [path.read_bytes() for path in aside] == [damaged]
    assert not ingest(home).rebuilt


def test_the_write_ahead_log_of_an_unusable_database_is_set_aside_with_it(home):
    damage_wal(home.outcomes_db)
    ingest(home)
    (log,) = home.path.glob("outcomes.duckdb.corrupt-*.wal")
    assert log.read_bytes() == b"garbage" * 100


def test_an_ingest_that_fails_half_way_takes_nothing(home, reply):
    ingest(home)
    with duckdb.connect(home.outcomes_db) as connection:
        (sql,) = connection.execute("SELECT sql FROM duckdb_tables() WHERE table_name = 'findings'").fetchone()
        connection.execute("DROP TABLE findings")
        connection.execute(sql.replace("(root_run VARCHAR", "(root_run VARCHAR CHECK (root_run <> 'root')"))
    write_a_run(home, reply)
    with pytest.raises(StorageError, match="CHECK constraint"):
        ingest(home)
    assert query(home, "FROM steps").rows == query(home, "FROM _files").rows == ()


def test_a_journal_that_became_shorter_is_read_anew(home, reply):
    write_a_run(home, reply)
    ingest(home)
    the_file(home).write_bytes(the_file(home).read_bytes().splitlines(keepends=True)[0])
    report = ingest(home)
    assert (report.rebuilt, report.lines) == (True, 1)
    assert query(home, "FROM steps").rows == ()


def test_a_block_that_went_bad_is_told_with_a_mend(home, reply):
    for number in range(50):
        write_a_run(home, reply, root=f"root{number}")
    ingest(home)
    content = bytearray(home.outcomes_db.read_bytes())
    content[3 * 4096 :] = os.urandom(len(content) - 3 * 4096)
    home.outcomes_db.write_bytes(content)
    with pytest.raises(StorageError) as refused:
        query(home, "SELECT * FROM outcomes")
    assert "built anew from the journal" in refused.value.mend


def test_a_database_held_by_another_program_is_neither_damaged_nor_set_aside(home, reply):
    write_a_run(home, reply)
    ingest(home)
    holder = subprocess.Popen(
        [sys.executable, "-c", KEEP_OPEN, home.outcomes_db], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    holder.stdout.readline()
    for act in (lambda: ingest(home), lambda: query(home, "SELECT 1")):
        with pytest.raises(StorageError, match="another program has"):
            act()
    holder.communicate("\n")
    assert not ingest(home).rebuilt


def test_four_processes_ingesting_while_two_write_lose_and_double_nothing(home, child):
    processes = [child(WRITE, home.path, number) for number in range(2)]
    processes += [child(INGEST, home.path) for _ in range(4)]
    outputs = [process.communicate() for process in processes]
    assert [err for _, err in outputs] == [""] * 6
    reports = [tuple(map(int, line.split())) for out, _ in outputs[2:] for line in out.splitlines()]
    assert len(reports) == 20
    last = ingest(home)
    assert sum(lines for lines, _, _ in reports) + last.lines == 2000
    assert all(not skipped and not rebuilt for _, skipped, rebuilt in reports)
    assert query(home, "SELECT count(*), count(DISTINCT call_id) FROM intents").rows == ((2000, 2000),)


def test_threads_may_ingest_and_query_at_the_same_time(home, reply):
    write_a_run(home, reply)
    counts = []

    def work():
        ingest(home)
        counts.append(len(query(home, "FROM steps").rows))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [2] * 6


def test_an_ingest_killed_at_any_moment_loses_and_doubles_nothing(home, reply, child):
    for number in range(60):
        write_a_run(home, reply, root=f"root{number}")
    for _ in range(4):
        process = child(INGEST, home.path)
        while process.poll() is None and not any(home.cache.glob("ingest/steps")):
            pass
        process.kill()
        process.communicate()
    ingest(home)
    assert query(home, "SELECT count(*), count(DISTINCT root_run) FROM steps").rows == ((120, 60),)
    assert list(home.cache.iterdir()) == []


def write_outputs(home, count):
    with JournalWriter(home, root_run="root", run="run") as writer:
        for _ in range(count):
            writer.append("outputs", outputs="x" * 2000)


def test_an_ingest_on_a_full_disk_is_told_and_made_up_for_later(small_disk):
    home = open_home(small_disk.path / "home")
    ingest(home)
    with pytest.raises(StorageError):
        write_outputs(home, 10_000)
    whole = sum(1 for _ in lines(home, "root"))
    assert whole > 100
    with pytest.raises(StorageError) as refused:
        ingest(home)
    assert "disk space" in refused.value.mend
    small_disk.grow()
    report = ingest(home)
    assert (report.lines, report.rebuilt) == (whole, False)
    assert query(home, "SELECT count(*) FROM run_outputs").rows == ((whole,),)
