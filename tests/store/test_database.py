import subprocess
import sys
from datetime import datetime

import pytest
from journaled import TABLES, call, everything, the_file, write_a_run

from elexirion_dagster.errors import InputError, StorageError
from elexirion_dagster.store.database import ingest, query
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.journal import JournalWriter
from elexirion_dagster.store.replay import reply_to_json


def only(home, sql):
    answer = query(home, sql)
    (row,) = answer.rows
    return dict(zip(answer.columns, row, strict=True))


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
