import json
import threading

import duckdb
import pytest

from elexirion_dagster.errors import Cancelled, PipelineError
from elexirion_dagster.steps.sql import interrupt

FINDINGS = [
    {"path": "a.py", "line": 3, "severity": "high", "fix": {"text": "x", "at": {"line": 4}}, "tags": ["s", "t"]},
    {"path": "b.py", "line": 9, "severity": "low", "fix": None, "tags": []},
    {"path": "a.py", "line": 7, "severity": "low", "score": 0.5},
]


@pytest.fixture
def ask(one):
    def ask(query, records=FINDINGS, **keys):
        step = {"name": "q", "type": "sql", "tables": {"findings": "{{ inputs.records }}"}, "query": query, **keys}
        return one(f"inputs: {{records: {{type: list}}}}\nsteps: [{json.dumps(step)}]", records=records)

    return ask


def rows(result):
    assert result.error is None, result.error
    return result.data


def test_rows_are_records_by_column_name(ask):
    query = "SELECT severity, count(*) AS n FROM findings GROUP BY ALL ORDER BY n DESC"
    assert rows(ask(query)) == [{"severity": "low", "n": 2}, {"severity": "high", "n": 1}]


def test_records_come_back_as_they_were_but_for_fields_they_lack(ask):
    names = ("path", "line", "severity", "fix", "tags", "score")
    assert rows(ask("FROM findings")) == [{name: record.get(name) for name in names} for record in FINDINGS]


def test_nested_fields_are_addressed_by_dots(ask):
    query = "SELECT fix.at.line + 1 AS after, len(tags) AS tags FROM findings WHERE fix.text = 'x'"
    assert rows(ask(query)) == [{"after": 5, "tags": 2}]


def test_plain_values_become_the_column_value(ask):
    assert rows(ask("SELECT sum(value) AS s FROM findings", records=[1, 2, None, 4.5])) == [{"s": 7.5}]


@pytest.mark.parametrize(
    ("records", "kind"),
    [
        ([1, 2], "BIGINT"),
        ([1, 2.5], "DOUBLE"),
        ([2**80, 1], "DOUBLE"),
        ([True], "BOOLEAN"),
        ([1, "a"], "VARCHAR"),
        ([1, {"a": 1}], None),
        ([{"v": 1}, {"v": {"a": 1}}], None),
    ],
)
def test_a_column_has_the_narrowest_type_that_holds_its_values(ask, records, kind):
    result = ask("SELECT DISTINCT typeof(value) AS kind FROM findings", records=records)
    if kind:
        assert rows(result) == [{"kind": kind}]
    else:
        assert result.error.cause == "bad_input"


def test_values_of_mixed_kinds_are_json_and_come_back_as_they_were(ask):
    records = [{"v": 1}, {"v": {"a": [1, None, "x"]}}, {"v": "t"}, {"v": []}, {"v": {}}]
    assert rows(ask("FROM findings", records=records)) == records
    assert rows(ask("SELECT v->>'$.a[2]' AS third FROM findings WHERE (v->'a') IS NOT NULL", records=records)) == [
        {"third": "x"}
    ]


def test_names_and_texts_are_taken_as_they_are(ask):
    record = {'od"d; DROP': 'it\'s {{ 1 }} "x" \u0000 \U0001f600', "select": 1, "row": 2, "row_": 3}
    assert rows(ask("FROM findings", records=[record])) == [record]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT severity, count(*) AS n FROM findings GROUP BY ALL",
        "SELECT lower(f.severity) AS s, sum(f.line) AS n FROM findings f WHERE line > 3 AND fix.text = 'x' GROUP BY s",
        "WITH worst AS (SELECT path FROM findings WHERE severity = 'high') SELECT path FROM worst ORDER BY path",
        "SELECT * FROM findings",
        "SELECT a.path FROM findings a JOIN findings b USING (path)",
        "SELECT upper(path) AS path FROM findings UNION ALL SELECT severity FROM findings",
    ],
)
def test_an_empty_list_is_a_table_with_the_columns_asked_for(ask, query):
    assert rows(ask(query, records=[])) == []


def test_an_empty_list_can_be_counted(ask):
    assert rows(ask("SELECT count(*) AS n, max(line) AS last FROM findings", records=[])) == [{"n": 0, "last": None}]


def test_an_empty_list_joins_a_full_one(ask):
    tables = {"findings": "{{ inputs.records }}", "owners": "{{ [{'path': 'a.py', 'owner': 'ada'}] }}"}
    query = "SELECT owner, count(severity) AS n FROM owners LEFT JOIN findings USING (path) GROUP BY owner"
    assert rows(ask(query, records=[], tables=tables)) == [{"owner": "ada", "n": 0}]


def test_a_column_of_nulls_takes_part_in_anything(ask):
    query = "SELECT sum(x) AS s, max(lower(x)) AS m, count(*) FILTER (x > 3 OR x = 'high') AS n FROM findings"
    assert rows(ask(query, records=[{"x": None}])) == [{"s": None, "m": None, "n": 0}]


def test_declared_columns_are_there_whatever_the_records_hold(ask):
    tables = {"findings": {"from": "{{ inputs.records }}", "columns": {"owner": "string", "line": "integer"}}}
    assert rows(ask("SELECT typeof(owner) AS o, typeof(line) AS l FROM findings LIMIT 1", tables=tables)) == [
        {"o": "VARCHAR", "l": "BIGINT"}
    ]
    refused = ask("SELECT 1 AS one", tables=tables, records=[{"line": 1}, {"line": "x"}])
    assert "record 2 of table findings: the column line is declared integer, and here it is a text" in (
        refused.error.message
    )


def test_parameters_are_values_and_never_sql(ask):
    query = "SELECT path FROM findings WHERE severity = $severity AND line IN (SELECT unnest($lines))"
    given = {"severity": "{{ inputs.records[0].severity }}", "lines": [3, "{{ 4 + 5 }}"]}
    assert rows(ask(query, parameters=given)) == [{"path": "a.py"}]
    assert rows(ask("SELECT $x AS x", parameters={"x": "' OR 1=1; DROP TABLE findings --"})) == [
        {"x": "' OR 1=1; DROP TABLE findings --"}
    ]


def test_what_json_lacks_is_said_in_json(ask):
    query = """SELECT DATE '2024-02-29' AS day, TIMESTAMPTZ '2024-02-29 12:00:00+02' AS at, TIME '01:02:03' AS time,
        1.50::DECIMAL(9, 2) AS price, 'nan'::DOUBLE AS nan, 'inf'::DOUBLE AS inf, 2::HUGEINT ** 100 AS big,
        INTERVAL 90 SECONDS AS wait, MAP {'a': 1} AS map, [1, NULL] AS list, '{"a": [1]}'::JSON AS json,
        {'j': '"x"'::JSON, 'l': ['{}'::JSON]} AS inner, '00000000-0000-0000-0000-000000000001'::UUID AS id"""
    assert rows(ask(query)) == [
        {
            "day": "2024-02-29",
            "at": "2024-02-29T10:00:00+00:00",
            "time": "01:02:03",
            "price": 1.5,
            "nan": None,
            "inf": None,
            "big": 2.0**100,
            "wait": 90.0,
            "map": {"a": 1},
            "list": [1, None],
            "json": {"a": [1]},
            "inner": {"j": "x", "l": [{}]},
            "id": "00000000-0000-0000-0000-000000000001",
        }
    ]
    assert rows(ask("SELECT 170141183460469231731687303715884105727::HUGEINT AS h")) == [{"h": 2**127 - 1}]


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("SELECT * FROM read_csv('/etc/passwd')", "disabled"),
        ("SELECT * FROM '/etc/passwd'", "does not exist"),
        ("SELECT content FROM read_text('/etc/passwd')", "disabled"),
        ("SELECT * FROM glob('/*')", "disabled"),
        ("SELECT * FROM sniff_csv('/etc/passwd')", "disabled"),
        ("SELECT * FROM read_json('https://example.org/x.json')", "disabled"),
        ("SELECT * FROM query('COPY findings TO ''x''')", "SELECT"),
        ("SELECT getenv('HOME')", "does not exist"),
        ("COPY findings TO 'out.csv'", "COPY came"),
        ("ATTACH 'x.duckdb'", "ATTACH came"),
        ("INSTALL httpfs", "LOAD came"),
        ("SET enable_external_access = true", "SET came"),
        ("CALL pragma_version()", "CALL came"),
        ("CREATE TABLE x (i INTEGER)", "CREATE came"),
        ("INSERT INTO findings VALUES (1)", "INSERT came"),
        ("SELECT 1; SELECT 2", "SELECT, SELECT came"),
        ("SELECT 1 AS a; DROP VIEW findings", "SELECT, DROP came"),
        ("-- nothing", "nothing came"),
        ("SELECT 1 +", "syntax error"),
        ("SELECT oops FROM findings", "oops"),
        ("SELECT 1 AS a, 2 AS a", "two columns named 'a'"),
        ("SELECT 'x'::BLOB AS b", "JSON cannot hold"),
        ("SELECT list(range) AS l FROM range(1000000000)", "of memory"),
        ("SELECT * FROM range(1000000000000)", "more than 10,000 rows"),
        ("SELECT $x AS x", "$x, which is not among the parameters"),
    ],
)
def test_a_query_that_cannot_be_had_is_refused(ask, query, why):
    error = ask(query).error
    assert (error.cause, why in error.message) == ("bad_input", True), error.message


def test_a_select_that_writes_is_refused(ask):
    query = "WITH gone AS (DELETE FROM stored.findings RETURNING *) SELECT * FROM gone"
    assert ask(query).error.cause == "bad_input"


def test_a_function_that_would_write_a_file_writes_none(ask, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ask("SELECT * FROM enable_logging('QueryLog', storage := 'file', storage_config := {'path': 'logs'})")
    ask("SELECT * FROM enable_profiling(format := 'json', save_location := 'profile.json')")
    assert [path.name for path in tmp_path.iterdir()] == ["elexirion_home"]


def test_an_error_names_the_tables_and_their_columns(ask):
    assert "findings(path, line, severity, fix, tags, score)" in ask("SELECT oops FROM findings").error.mend


def test_more_rows_than_allowed_are_an_error(ask):
    assert "more than 2 rows" in ask("FROM findings", max_rows=2).error.message
    assert len(rows(ask("FROM findings", max_rows=3))) == 3


def test_a_parameter_that_is_not_used_is_refused(ask):
    assert "has no $y" in ask("SELECT 1 AS one", parameters={"y": 1}).error.message


def test_a_query_ends_at_its_deadline(ask):
    result = ask("SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b", timeout_s=0.5)
    assert result.error.cause == "timeout"


def test_a_query_ends_when_the_run_is_cancelled(start):
    rehearsed = start(
        "steps: [{name: q, type: sql, query: 'SELECT count(*) AS n FROM range(1000000000000)'}]",
    )
    threading.Timer(0.3, rehearsed.run.cancelled.set).start()
    with pytest.raises(Cancelled):
        rehearsed.all()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sql ")]


def test_interrupting_a_query_that_has_just_ended_is_no_error():
    """A query may end, and close its connection, between the deadline and the interruption."""
    connection = duckdb.connect(":memory:")
    connection.close()
    interrupt(connection)


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([{"a": 1}, 2], "record 2 of table findings: it is a number"),
        ([{"a": 1, "A": 2}], "'a' and 'A'"),
        ([{"": 1}], "''"),
        ([{str(key): 1 for key in range(1001)}], "more than 1,000 columns"),
    ],
)
def test_records_that_make_no_table_are_refused(ask, records, why):
    error = ask("SELECT 1 AS one", records=records).error
    assert (error.cause, why in error.message) == ("bad_input", True), error.message


def test_a_table_that_is_no_list_is_refused(ask):
    assert "must be a list, got a map" in ask("SELECT 1 AS one", tables={"t": "{{ {'a': 1} }}"}).error.message


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"query": "SELECT * FROM {{ inputs.records }}"}, "query is not a template"),
        ({"tables": {"Bad-Name": "{{ inputs.records }}"}}, "Bad-Name"),
        ({"tables": {"t": {"from": "{{ inputs.records }}"}}}, "columns"),
        ({"tables": {"t": {"from": "{{ inputs.records }}", "columns": {"a": "text"}}}}, "string"),
        ({"tables": {"t": "{{ steps.nowhere.data }}"}}, "nowhere"),
        ({"parameters": {"p": "{{ steps.nowhere.data }}"}}, "nowhere"),
        ({"parameters": {"1p": 1}}, "1p"),
        ({"max_rows": 0}, "max_rows"),
    ],
)
def test_a_step_that_cannot_work_is_refused_at_load(ask, keys, why):
    with pytest.raises(PipelineError, match=why):
        ask(**{"query": "SELECT 1 AS one", **keys})


def test_many_records_are_no_matter(ask):
    records = [{"id": index, "path": f"src/{index % 500}.py", "size": index / 7} for index in range(100_000)]
    query = "SELECT path, count(*) AS n, max(id) AS last FROM findings GROUP BY path ORDER BY last DESC LIMIT 1"
    assert rows(ask(query, records=records)) == [{"path": "src/499.py", "n": 200, "last": 99_999}]


def test_queries_run_side_by_side(start):
    step = "{name: q, type: sql, tables: {t: '{{ [{\"n\": item}] }}'}, query: 'SELECT n * 2 AS n FROM t'}"
    results = start(
        f"steps: [{{name: all, type: for_each, items: '{{{{ range(20) | list }}}}', max_parallel: 8, steps: [{step}]}}]"
    ).all()
    assert [entry["q"]["data"][0]["n"] for entry in results["all"].results] == [2 * n for n in range(20)]
