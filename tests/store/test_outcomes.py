from elexirion_dagster.records import StepResult
from elexirion_dagster.store.database import ingest
from elexirion_dagster.store.journal import JournalWriter
from elexirion_dagster.store.outcomes import recent
from elexirion_dagster.store.replay import reply_to_json


def test_the_newest_outcomes_come_first_with_what_the_step_came_to(home, reply):
    with JournalWriter(home, root_run="root", run="run") as writer:
        writer.append("run_started", pipeline="review")
        for number in range(5):
            line = {"call_id": f"c{number}", "path": f"p{number}", "provider": "fake", "model": "m"}
            writer.append("reply", **line, reply=reply_to_json(reply))
        result = StepResult("degraded", text="t").to_json()
        writer.append("step", path="p4", step="p4", status="degraded", result=result)
    ingest(home)
    answer = recent(home, limit=3)
    rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    assert [row["path"] for row in rows] == ["p4", "p3", "p2"]
    assert [row["status"] for row in rows] == ["degraded", "replied", "replied"]
    assert (rows[0]["model"], rows[0]["tokens"], rows[0]["pipeline"]) == ("fake/m", 37, "review")
