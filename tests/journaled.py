"""A run written into a journal, and what the tables make of it."""

from elexirion_dagster.records import Finding, StepError, StepResult
from elexirion_dagster.store.database import query
from elexirion_dagster.store.journal import JournalWriter
from elexirion_dagster.store.replay import reply_to_json

TABLES = ("runs", "steps", "calls", "findings", "outcomes", "possibly_paid", "run_costs", "failures_by_cause")


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


def the_file(home):
    (file,) = home.journal.glob("*/*.jsonl")
    return file
