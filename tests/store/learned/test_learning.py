import json

import duckdb
import pytest

from elexirion_dagster.dialects.load import load_any
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.fake import FakeProvider, Rule
from elexirion_dagster.run import Run, RunInfo
from elexirion_dagster.settings import Settings
from elexirion_dagster.store import migrations
from elexirion_dagster.store.database import ingest, query
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.journal import JournalWriter
from elexirion_dagster.store.learned.learning import replies, rows, summary

EACH = """
name: p
inputs: {goal: {type: string, default: bugs}}
score:
  few: {of: review.look, value: "{{ steps.look.data.n < 3 }}"}
steps:
  - name: review
    type: for_each
    items: [{path: src/a.py, text: aa}, {path: src/b.py, text: bb}]
    as: file
    on_error: collect
    steps: [{name: look, type: llm, prompt: "{{ inputs.goal }} {{ file.text }}", output: {n: integer}}]
"""


def ended(run):
    run.all()
    run.run.close()
    return run.home


def said(home, run, path, **fields):
    with JournalWriter(home, root_run="feedback-1", run="feedback-1") as journal:
        place = {"about": run.run.info.root_run, "pipeline": "p", "step": "review.look", "step_path": path}
        journal.append("feedback", **place, **fields)


def test_an_answer_is_a_row_with_its_inputs_by_path_its_score_and_what_is_right(start):
    home = ended(start(EACH, rules=[Rule("aa", data={"n": 1}), Rule("bb", data={"n": 9})]))
    right, wrong = sorted(rows(home, "p", "review.look"), key=lambda row: row.group)
    assert right.inputs == {"inputs.goal": "bugs", "file.text": "aa"}
    assert (right.answer, right.expected, right.score, right.source) == ({"n": 1}, {"n": 1}, 1.0, "run")
    assert (wrong.answer, wrong.expected, wrong.score) == ({"n": 9}, None, 0.0)
    assert (right.group, wrong.group) == ("src/a.py", "src/b.py")
    assert right.model == "fake/fake"
    assert right.prompt_version.startswith("yaml:")
    assert right.key != wrong.key


def test_a_correction_is_gold_and_a_word_of_people_beats_a_newer_run(start):
    rules = [Rule("aa", data={"n": 1}), Rule("bb", data={"n": 9})]
    first = start(EACH, rules=rules)
    home = ended(first)
    said(home, first, "review[src/b.py].look", score=0.0, comment="only two", expected={"n": 2})
    ended(start(EACH, rules=rules))
    _, corrected = sorted(rows(home, "p", "review.look"), key=lambda row: row.group)
    assert (corrected.expected, corrected.comment, corrected.source) == ({"n": 2}, "only two", "feedback")
    assert corrected.score == 0.0


def test_degraded_failed_and_unparsed_answers_are_no_rows_and_an_unparsed_one_scores_0(start):
    text = """
name: p
steps:
  - {name: stands_in, type: llm, prompt: broken, output: {n: integer}, fallback: {answer: {n: 1}}}
  - {name: simpler, type: llm, prompt: broken, output: {n: integer}, fallback: {prompt: "plainly {{ run.id }}"}}
  - {name: bad, type: llm, prompt: broken, output: {n: integer}, continue_on_error: true}
  - {name: good, type: llm, prompt: fine, output: {n: integer}}
"""
    home = ended(
        start(text, rules=[Rule("plainly", data={"n": 7}), Rule("broken", text="no json"), Rule(data={"n": 3})])
    )
    found = {step: rows(home, "p", step) for step in ("stands_in", "simpler", "bad", "good")}
    assert {step: len(some) for step, some in found.items()} == {"stands_in": 0, "simpler": 0, "bad": 0, "good": 1}
    scores = dict(query(home, "SELECT path, value FROM scores WHERE source = 'schema'").rows)
    assert scores == {"stands_in": 0.0, "simpler": 0.0, "bad": 0.0, "good": 1.0}
    assert found["good"][0].score is None
    assert summary(home, "p", "bad").success == 0.0
    assert summary(home, "p", "bad").statuses == {"failed": 1}


def test_fallback_replies_and_samples_stand_with_their_step(start):
    text = """
name: p
steps:
  - {name: simpler, type: llm, prompt: broken, output: {n: integer}, fallback: {prompt: plainly}}
  - {name: often, type: llm, prompt: "hello {{ run.pipeline }}", samples: 3}
"""
    home = ended(start(text, rules=[Rule("plainly", data={"n": 7}), Rule("broken", text="no json"), Rule(text="hi")]))
    sql = "SELECT path, slot, step, status, is_fallback FROM outcomes WHERE is_last ORDER BY path"
    assert query(home, sql).rows == (
        *((f"often[sample {number}]", "often", "often", "succeeded", False) for number in (1, 2, 3)),
        ("simpler", "simpler", "simpler", "degraded", False),
        ("simpler[fallback]", "simpler", "simpler", "degraded", True),
    )
    (row,) = rows(home, "p", "often")
    assert row.answer == "hi"
    assert row.cost_usd == 0.0
    assert replies(home, "p", "simpler").keys() == {
        found for (found,) in query(home, "SELECT request_hash FROM outcomes WHERE path = 'simpler'").rows
    }


def test_a_logged_reply_is_found_by_what_was_asked(start):
    run = start(EACH, rules=[Rule("aa", data={"n": 1}), Rule("bb", data={"n": 9})])
    home = ended(run)
    asked = {line["request_hash"]: line["reply"] for line in run.lines("reply")}
    found = replies(home, "p", "review.look")
    assert {key: json.loads(reply.text) for key, reply in found.items()} == {
        key: json.loads(reply["blocks"][0]["text"]) for key, reply in asked.items()
    }
    assert {reply.model for reply in found.values()} == {"fake/fake"}


def test_a_summary_counts_what_is_new_since_a_time(start):
    home = ended(start(EACH, rules=[Rule("aa", data={"n": 1}), Rule("bb", error=ProviderError("no", cause="auth"))]))
    before = summary(home, "p", "review.look")
    assert (before.rows, before.new_rows, before.success, before.scored) == (1, 1, 0.5, 1)
    ended(start(EACH, goal="style", rules=[Rule(data={"n": 5})]))
    after = summary(home, "p", "review.look", since=before.newest)
    assert (after.rows, after.new_rows) == (3, 2)
    assert after.success == 0.25


def test_what_was_too_large_to_be_recorded_is_no_row(start):
    text = (
        'name: p\nsteps: [{name: ask, type: llm, prompt: "{{ inputs.long | length }}"}]\ninputs: {long: {type: string}}'
    )
    home = ended(start(text, long="x" * 100_000))
    assert rows(home, "p", "ask") == ()


def test_a_slot_that_nobody_asked_has_no_rows(start):
    home = ended(start(EACH, rules=[Rule(data={"n": 1})]))
    assert rows(home, "p", "nothing") == ()
    assert replies(home, "other", "review.look") == {}
    assert summary(home, "p", "nothing").success is None


@pytest.mark.parametrize("value", [1.5, -0.1, "high", float("nan"), None])
def test_a_mark_that_is_no_score_counts_nothing(start, value):
    run = start(EACH, rules=[Rule(data={"n": 1})])
    home = ended(run)
    said(home, run, "review[src/a.py].look", score=value, comment="hm")
    assert all(row.source == "run" for row in rows(home, "p", "review.look"))


def test_a_database_from_before_takes_what_came_since(start):
    run = start(EACH, rules=[Rule(data={"n": 1})])
    home = ended(run)
    with duckdb.connect(home.outcomes_db) as old:
        old.execute("CREATE TABLE _migrations (name VARCHAR, applied_at TIMESTAMP)")
        for migration in migrations.MIGRATIONS[:4]:
            migration(old)
            old.execute(
                "INSERT INTO _migrations VALUES (?, current_timestamp AT TIME ZONE 'UTC')", [migration.__name__]
            )
        old.execute("INSERT INTO feedback (finding, pipeline, repo, verdict) VALUES ('f', 'p', 'r', 'accepted')")
        old.execute(
            "INSERT INTO answers (root_run, run, call_id, path, status) VALUES ('o', 'o', 'c', 'a[x.py].b', 'replied')"
        )
    assert not ingest(home).rebuilt
    assert len(rows(home, "p", "review.look")) == 2
    assert query(home, "SELECT slot FROM outcomes WHERE root_run = 'o'").rows == (("a.b",),)
    assert query(home, "SELECT finding, verdict FROM feedback").rows == (("f", "accepted"),)


def test_the_calls_of_a_named_child_stand_under_it_and_its_own_score_is_asked(tmp_path, home_path):
    (tmp_path / "child.yaml").write_text(
        'name: child\nscore: {s: {of: ask, value: "{{ steps.ask.text == inputs.word }}"}}\n'
        'inputs: {word: {type: string}}\nsteps: [{name: ask, type: llm, prompt: "{{ inputs.word }}"}]\n'
    )
    (tmp_path / "outer.yaml").write_text(
        "name: outer\nsteps:\n"
        "  - {name: sub, type: for_each, items: [a, b], steps:"
        '      [{name: run, type: pipeline, pipeline: ./child.yaml, inputs: {word: "{{ item }}"}}]}\n'
        "  - {name: inline, type: pipeline, pipeline: {steps: [{name: inner, type: llm, prompt: x}]}}\n"
    )
    loaded = load_any(tmp_path / "outer.yaml")
    info = RunInfo("run-1", "run-1", {}, {}, "test")
    fake = FakeProvider([Rule("a", text="a"), Rule(text="c")])
    run = Run(
        loaded.pipeline,
        info,
        Settings(home=home_path, model="fake"),
        opened={"fake": fake},
        pipelines=loaded.pipelines,
    )
    for step in loaded.pipeline.steps:
        assert run.step(step, {}).status == "succeeded"
    run.close()
    home = Home(home_path)
    assert {row.answer: row.score for row in rows(home, "child", "ask")} == {"a": 1.0, "c": 0.0}
    assert len(rows(home, "outer", "inline.inner")) == 1
    sql = "SELECT pipeline, slot, path FROM outcomes ORDER BY path"
    ingest(home)
    assert query(home, sql).rows == (
        ("outer", "inline.inner", "inline.inner"),
        ("child", "ask", "sub[a].run.ask"),
        ("child", "ask", "sub[b].run.ask"),
    )
