from dataclasses import fields, replace

from elexirion_dagster.records import Finding
from elexirion_dagster.store.database import ingest
from elexirion_dagster.store.journal import JournalWriter
from elexirion_dagster.store.nights.findings import of_run

FINDING = Finding(
    "ruff", "E1", "low", "high", "a.py", 3, 1, 3, 9, "it's \ud83d\ude00", "x = 1", "ab12", "https://x", "f", "fp"
)


def test_a_run_s_findings_come_back_whole_and_in_the_order_of_the_code(home):
    found = [replace(FINDING, path="b.py"), replace(FINDING, line=9), FINDING]
    with JournalWriter(home, root_run="root", run="run") as writer:
        writer.append("findings", path="lint[x].check", findings=[each.to_json() for each in found], unparsed=[])
    with JournalWriter(home, root_run="root", run="other") as writer:
        writer.append("findings", path="lint", findings=[FINDING.to_json()], unparsed=[])
    ingest(home)
    answer = of_run(home, "run")
    rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    names = [field.name for field in fields(Finding)]
    whole = replace(FINDING, message="it's \U0001f600")
    assert [Finding(**{name: row[name] for name in names}) for row in rows] == [
        whole,
        replace(whole, line=9),
        replace(whole, path="b.py"),
    ]
    assert {row["step_path"] for row in rows} == {"lint[x].check"}
