import os
import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path

import duckdb
import pytest

from elexirion_dagster.errors import InputError, StorageError
from elexirion_dagster.records import Finding, StepError, StepResult
from elexirion_dagster.store.database import ingest, query
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.journal import JournalWriter, lines
from elexirion_dagster.store.replay import reply_to_json

TABLES = ("runs", "steps", "calls", "findings", "outcomes", "possibly_paid", "run_costs", "failures_by_cause")

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


def call(call_id, path="look", occurrence=0):
    names = {"call_id": call_id, "path": path, "request_hash": "h", "occurrence": occurrence}
    return {**names, "provider": "fake", "model": "m"}


def step(path, result):
    line = {"path": path, "step": path, "step_type": "llm", "status": result.status, "input_hash": "i"}
    return {**line, "result": result.to_json(), "started_at": "2026-11-22T10:00:00Z", "duration_s": 1.5}


FINDING = Finding("ruff", "E1", "low", "high", "a.py", 3, 1, 3, 9, "too 'long'", "x = 1", "ab12")


def write_a_run(home, reply, *, root="root", run="run"):
    answered = {"reply": reply_to_json(reply), "prompt": [{"role": "user"}], "inputs": {"file": "a.py"}}
    with JournalWriter(home, root_run=root, run=run) as writer:
        writer.append("run_started", pipeline="review", inputs={"repo": "."}, tags={}, trigger="cli")
        for name in ("paid", "lost", "failed"):
            writer.append("intent", **call(name, path=name), attempt=1, max_usd=0.5, max_tokens=100)
        writer.append("reply", **call("paid", path="paid"), **answered, prompt_version="v1", cost_usd=0.25)
        failure = {"cause": "timeout", "message": "slow", "status": 504, "usage": None, "billed": False}
        writer.append("call_failed", **call("failed", path="failed"), attempt=1, cost_usd=None, **failure)
        writer.append("step", **step("paid", StepResult("succeeded", data={"ok": True}, text="naïve")))
        writer.append("step", **step("failed", StepResult("failed", error=StepError("timeout", "slow"))))
        writer.append("findings", path="lint", findings=[FINDING.to_json(), FINDING.to_json()], unparsed=[])
        writer.append("progress", path="x", done=1)
        writer.append("outputs", outputs={"summary": "s"})
        writer.append("run_finished", status="failed", cause="timeout", message="slow", duration_s=2.0, cost_usd=0.25)


def everything(home):
    return {table: sorted(map(repr, query(home, f"FROM {table}").rows)) for table in TABLES}


def only(home, sql):
    answer = query(home, sql)
    (row,) = answer.rows
    return dict(zip(answer.columns, row, strict=True))


def the_file(home):
    (file,) = home.journal.glob("*/*.jsonl")
    return file


def test_an_empty_home_has_empty_tables(home):
    report = ingest(home)
    assert (report.lines, report.files, report.skipped, report.rebuilt) == (0, 0, 0, False)
    assert everything(home) == {table: [] for table in TABLES}


def test_every_line_is_taken_in_exactly_once(home, reply):
    write_a_run(home, reply)
    first = ingest(home)
    before = everything(home)
    second = ingest(home)
    assert (first.lines, first.files, first.skipped) == (12, 1, 0)
    assert (second.lines, second.files) == (0, 0)
    assert everything(home) == before


def test_the_order_and_the_portions_of_ingest_do_not_matter(home, reply, tmp_path):
    write_a_run(home, reply)
    whole = the_file(home).read_bytes()
    slow = open_home(tmp_path / "slow")
    (slow.journal / "root").mkdir()
    for end in range(1, len(whole), 997):
        (slow.journal / "root" / "run.1.jsonl").write_bytes(whole[:end])
        if end % 3 == 0:
            ingest(slow)
    (slow.journal / "root" / "run.1.jsonl").write_bytes(whole)
    ingest(home)
    ingest(slow)
    assert everything(slow) == everything(home)


def test_a_call_is_its_intent_joined_with_its_end(home, reply):
    write_a_run(home, reply)
    ingest(home)
    rows = query(home, "SELECT call_id, status, attempt, max_usd, cost_usd, cause, http_status, billed FROM calls").rows
    assert sorted(rows) == [
        ("failed", "failed", 1, 0.5, None, "timeout", 504, False),
        ("lost", "possibly_paid", 1, 0.5, None, None, None, None),
        ("paid", "replied", 1, 0.5, 0.25, None, None, True),
    ]


def test_an_outcome_has_what_learning_needs(home, reply):
    write_a_run(home, reply)
    ingest(home)
    outcome = only(home, "SELECT * EXCLUDE (ts) FROM outcomes WHERE status = 'succeeded'")
    expected = {
        "pipeline": "review",
        "path": "paid",
        "model": "m",
        "prompt_version": "v1",
        "inputs": '{"file":"a.py"}',
        "prompt": '[{"role":"user"}]',
        "text": "naïve \U0001f600 text",
        "data": '{"ok":true}',
        "call_status": "replied",
        "is_last": True,
        "cost_usd": 0.25,
        "input_tokens": 10,
        "cache_write_tokens": 4,
        "latency_s": 0.5,
    }
    assert {name: outcome[name] for name in expected} == expected


def test_of_several_calls_of_a_step_the_result_rests_on_the_last(home, reply):
    answer = {"reply": reply_to_json(reply), "prompt": "p", "inputs": {}}
    with JournalWriter(home, root_run="root", run="run") as writer:
        for turn in range(3):
            writer.append("reply", **call(f"c{turn}", occurrence=turn), **answer)
    ingest(home)
    assert query(home, "SELECT call_id FROM outcomes WHERE is_last").rows == (("c2",),)


def test_runs_costs_failures_and_doubtful_calls_can_be_asked_for(home, reply):
    write_a_run(home, reply)
    ingest(home)
    run = only(home, "FROM runs")
    assert (run["pipeline"], run["status"], run["cause"], run["trigger"]) == ("review", "failed", "timeout", "cli")
    assert isinstance(run["started_at"], datetime)
    assert run["started_at"].tzinfo is None
    costs = only(home, "FROM run_costs")
    assert (costs["calls"], costs["replied"], costs["failed"], costs["possibly_paid"]) == (3, 1, 1, 1)
    assert (costs["cost_usd"], costs["possibly_usd"], costs["output_tokens"]) == (0.25, 0.5, 20)
    assert only(home, "FROM possibly_paid")["call_id"] == "lost"
    failures = query(home, "SELECT what, cause, failures, last_message FROM failures_by_cause").rows
    assert sorted(failures) == [(what, "timeout", 1, "slow") for what in ("call", "run", "step")]


def test_a_run_without_an_end_is_unfinished(home):
    with JournalWriter(home, root_run="root", run="run") as writer:
        writer.append("run_started", pipeline="review")
    ingest(home)
    assert only(home, "FROM runs")["status"] == "unfinished"


def test_times_are_utc(home):
    (home.journal / "root").mkdir()
    line = '{"v":1,"kind":"outputs","ts":"2026-11-22T23:59:59.123456Z","root_run":"root","run":"run","outputs":{}}\n'
    (home.journal / "root" / "run.1.jsonl").write_text(line)
    ingest(home)
    assert query(home, "SELECT ts FROM run_outputs").rows == ((datetime(2026, 11, 22, 23, 59, 59, 123456),),)  # noqa: DTZ001  naive is what the column holds


def test_torn_corrupt_and_hostile_lines_do_not_stop_the_rest(home, reply):
    write_a_run(home, reply)
    good = the_file(home).read_bytes()
    head = '{"v":1,"ts":"2026-11-22T10:00:00Z","root_run":"root","run":"run",'
    hostile = [
        "nonsense",
        '{"v":1}',
        '{"v":1,"kind":"reply","root_run":"r","run":"r"}',
        head + '"kind":"findings","path":"p","findings":[1]}',
        head + '"kind":"findings","path":"p","findings":7}',
        '{"v":1,"kind":"outputs","root_run":["a"],"run":"r"}',
        head + '"kind":["outputs"]}',
    ]
    odd = [
        head + '"kind":"intent","call_id":"odd","occurrence":1e999,"max_usd":NaN,"max_tokens":' + "9" * 40 + "}",
        head + '"kind":"outputs","outputs":' + "[" * 500 + "]" * 500 + "}",
        head + '"kind":"outputs","outputs":{"\\ud800":"a\\udc00\\u0000","x":-Infinity}}',
        '{"v":1,"kind":"run_finished","ts":"never","root_run":"r\'; DROP TABLE steps; --","run":"r","status":{"a":1}}',
        head + '"kind":"unheard_of"}',
    ]
    the_file(home).write_bytes(good + "\n".join([*hostile, *odd, '{"v":1,"torn']).encode())
    report = ingest(home)
    assert (report.lines, report.skipped) == (12 + len(odd), len(hostile))
    assert query(home, "SELECT occurrence, max_usd, max_tokens FROM intents WHERE call_id = 'odd'").rows == (
        (None, None, None),
    )
    assert len(query(home, "FROM run_outputs").rows) == 3
    assert len(query(home, "FROM steps").rows) == 2
    assert ingest(home).lines == 0


def test_a_line_longer_than_duckdb_s_own_limit_is_taken_in(home):
    with JournalWriter(home, root_run="root", run="run") as writer:
        writer.append("outputs", outputs={"text": "é" * 10_000_000})
    ingest(home)
    assert query(home, "SELECT length(outputs->>'text') FROM run_outputs").rows == ((10_000_000,),)


def test_a_newer_format_stops_the_ingest_and_nothing_is_half_taken(home, reply):
    write_a_run(home, reply)
    ingest(home)
    before = everything(home)
    write_a_run(home, reply, root="another")
    with the_file_of(home, "another").open("a") as file:
        file.write('{"v":2}\n')
    with pytest.raises(StorageError, match="format 2"):
        ingest(home)
    assert everything(home) == before


def the_file_of(home, root):
    (file,) = (home.journal / root).iterdir()
    return file


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


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO steps (run) VALUES ('x')",
        "DELETE FROM steps",
        "DROP VIEW calls",
        "CREATE TEMP TABLE t (x INT)",
        "ATTACH ':memory:' AS m",
        "COPY steps TO '/tmp/never.csv'",
        "INSTALL httpfs",
        "LOAD json",
        "SET enable_external_access = true",
        "SELECT 1; DROP VIEW calls",
        "BEGIN",
        "",
        "-- nothing",
        "PREPARE q AS SELECT 1",
    ],
)
def test_only_one_select_is_run(home, sql):
    with pytest.raises(InputError) as refused:
        query(home, sql)
    assert "one SELECT statement was expected" in refused.value.message


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM '/etc/hostname'",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM read_csv('https://example.org/x.csv')",
        "EXPLAIN ANALYZE DELETE FROM steps",
        "SELECT nonsense",
        "SELEC 1",
        "SELECT 1/",
        "SELECT CAST('a' AS INTEGER)",
        "SELECT ?",
    ],
)
def test_what_cannot_be_run_is_refused_in_duckdb_s_words(home, sql):
    with pytest.raises(InputError, match=r"(?s)the query cannot be run: .* Error"):
        query(home, sql)


def test_a_variable_of_the_caller_is_no_table(home):
    with pytest.raises(InputError, match="Table with name home does not exist"):
        query(home, "SELECT * FROM home")


def test_the_tables_can_be_explored(home):
    assert ("outcomes",) in query(home, "SHOW TABLES").rows
    assert query(home, "DESCRIBE outcomes").columns[0] == "column_name"
    assert query(home, "WITH a AS (SELECT ? AS x) SELECT x FROM a", ["y"]).rows == (("y",),)
    assert query(home, "EXPLAIN SELECT 1").rows


def test_the_database_is_private(home):
    ingest(home)
    names = {path.name: oct(path.stat().st_mode & 0o777) for path in home.path.glob("outcomes*")}
    assert names == {"outcomes.duckdb": "0o600", "outcomes.lock": "0o600"}
    assert list(home.cache.iterdir()) == []


def test_duckdb_is_not_loaded_by_the_modules_a_light_command_needs():
    code = (
        "import sys\n"
        "from elexirion_dagster.store import home, journal, outcomes, replay\n"
        "from elexirion_dagster.store.accounts import ledger\n"
        "from elexirion_dagster.store.nights import findings\n"
        "from elexirion_dagster.store.registry import prompts\n"
        "print('duckdb' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
