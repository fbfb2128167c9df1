import json

import pytest
from journaled import write_a_run

from elexirion_dagster.store import migrations
from elexirion_dagster.store.database import ingest, query
from elexirion_dagster.store.journal import JournalWriter, lines

TABLES_OF_A_RUN = ("run_starts", "run_ends", "run_outputs", "intents", "answers", "steps", "findings", "looks")
VIEWS_OF_A_RUN = ("runs", "calls", "outcomes", "possibly_paid", "run_costs")
OF_A_SCAN = ("batches", "batch_files", "files", "lives", "nights", "scans", "finding_states")


def tenants(home, *names):
    return {name: query(home, f"SELECT DISTINCT tenant FROM {name}").rows for name in names}  # noqa: S608  names of tables


def write_as_before(home, reply, tenant):
    """A journal of 0.1: only the first line of a run names the tenant."""
    write_a_run(home, reply)
    (file,) = home.journal.glob("*/*.jsonl")
    first, *others = file.read_text(encoding="utf-8").splitlines()
    head = json.dumps({**json.loads(first), "tenant": tenant})
    file.write_text("\n".join([head, *others, ""]), encoding="utf-8")


def scan(home, tenant):
    found = {"path": "a.py", "tool": "ruff", "rule": "E1", "severity": "low", "confidence": "high", "message": "m"}
    found |= {"line": 1, "column": 1, "end_line": 1, "end_column": 2, "snippet": "x", "snippet_hash": "h"}
    with JournalWriter(home, root_run="scan1", run="scan1", tenant=tenant) as journal:
        journal.append("run_started", pipeline="p", inputs={}, tags={}, trigger="cli")
        journal.append("findings", path="look", findings=[{**found, "fingerprint": "f1"}], unparsed=[], tools=["ruff"])
        files = [{"path": "a.py", "blob": "b", "status": "scanned"}]
        journal.append(
            "scanned", path="look", pipeline="p", repo="r", night=1, files=files, renamed={}, deleted=["b.py"]
        )


def test_every_line_of_a_run_and_every_row_made_of_it_name_its_tenant(home):
    scan(home, "acme")
    assert {line["tenant"] for line in lines(home, "scan1")} == {"acme"}
    ingest(home)
    found = tenants(home, "run_starts", "findings", "looks", "runs", *OF_A_SCAN)
    assert found == dict.fromkeys(found, (("acme",),))


def test_without_a_tenant_there_is_none(home):
    scan(home, None)
    assert not any("tenant" in line for line in lines(home, "scan1"))
    ingest(home)
    assert set(tenants(home, *OF_A_SCAN).values()) == {((None,),)}


def test_lines_of_before_have_the_tenant_of_their_run(home, reply):
    write_as_before(home, reply, "acme")
    ingest(home)
    found = tenants(home, *TABLES_OF_A_RUN, *VIEWS_OF_A_RUN)
    assert found == dict.fromkeys(found, (("acme",),))


@pytest.fixture
def database_of_before(home, monkeypatch):
    """Ingest with the tables of 0.1."""

    def ingested():
        with monkeypatch.context() as patch:
            patch.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:6])
            patch.setattr("elexirion_dagster.store.database._Stage._with_tenant", lambda _self, fields: fields)
            ingest(home)

    return ingested


def test_a_database_of_before_is_brought_up_to_date(home, reply, database_of_before):
    write_as_before(home, reply, "acme")
    scan(home, "acme")
    database_of_before()
    assert query(home, "SELECT DISTINCT tenant FROM steps").rows == ((None,),)
    ingest(home)
    found = tenants(home, *TABLES_OF_A_RUN, *VIEWS_OF_A_RUN, *OF_A_SCAN)
    assert found == dict.fromkeys(found, (("acme",),))
