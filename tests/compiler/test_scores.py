"""Scores of a run in Dagster: there when it has ended, well or not, and once."""

from elexirion_dagster.store.database import ingest, query
from elexirion_dagster.store.home import Home

SCORED = """name: scored
model: fake/parrot
score:
  said: {of: each.say, value: "{{ word in steps.say.text and steps.after.data.exit_code == 0 }}"}
  wrong: {of: each.say, value: "{{ 7 }}"}
steps:
  - {name: each, type: for_each, items: [a, b], as: word, steps: [{name: say, type: llm, prompt: "{{ word }}"}]}
  - {name: after, type: command, needs: [each], run: ["true"]}
"""


def scores(home_path):
    home = Home(home_path)
    ingest(home)
    sql = "SELECT path, name, value, error IS NULL FROM scores WHERE source = 'expression' ORDER BY name, path"
    found = query(home, sql).rows
    assert query(home, "SELECT count(*) FROM marks").rows == ((len(found),),)
    return found


def test_a_run_is_scored_when_it_has_ended_and_a_wrong_score_is_a_warning(finished, instance, home_path):
    done = finished(SCORED)
    assert done.status == "succeeded"
    assert scores(home_path) == (
        ("each[a].say", "said", 1.0, True),
        ("each[b].say", "said", 1.0, True),
        ("each[a].say", "wrong", None, False),
        ("each[b].say", "wrong", None, False),
    )
    (warning,) = [one.user_message for one in instance.all_logs(done.run) if "score wrong" in one.user_message]
    assert "came 7, in `{{ 7 }}`" in warning


def test_a_failed_run_is_scored_by_what_failed_it(finished, home_path):
    text = SCORED.replace('["true"]', '["false"]').replace("{{ 7 }}", "{{ steps.after.data.nothing }}")
    assert finished(text).status == "failed"
    assert [found[:3] for found in scores(home_path)] == [("each[a].say", "said", 0.0), ("each[b].say", "said", 0.0)]
