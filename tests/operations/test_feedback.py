import json
import re

import pytest

from elexirion_dagster.errors import InputError
from elexirion_dagster.operations.feedback import Word, say
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.fake import Rule
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.database import query
from elexirion_dagster.store.learned.learning import rows

TEXT = """name: judged
steps:
  - name: review
    type: for_each
    items: [a, b]
    steps: [{name: look, type: llm, prompt: "look {{ item }}", output: {n: integer}}]
  - {name: ask, type: llm, prompt: plain}
  - {name: stood, type: llm, prompt: broken, fallback: {answer: x}}
"""
RULES = [Rule("broken", error=ProviderError("no", cause="auth")), Rule("look", data={"n": 1}), Rule(text="yes")]


@pytest.fixture
def settings(home_path, tmp_path):
    folder = tmp_path / "pipelines"
    folder.mkdir()
    (folder / "judged.yaml").write_text(TEXT)
    return Settings.from_env({"ELEXIRION_HOME": str(home_path), "ELEXIRION_PIPELINES": str(folder)})


@pytest.fixture
def run(start):
    run = start(TEXT, rules=RULES)
    run.all()
    run.run.close()
    return run


def test_a_word_on_one_item_s_answer_becomes_its_row_s_score_comment_and_right_answer(run, settings, tmp_path):
    (tmp_path / "right.json").write_text('{"n": 3}')
    word = Word("0.25", "two are missing", tmp_path / "right.json")
    said = say(settings, run.run.info.run[:6], "review[b].look", word)
    assert (said.path, said.step, said.score) == ("review[b].look", "review.look", 0.25)
    other, row = sorted(rows(run.home, "judged", "review.look"), key=lambda row: row.source, reverse=True)
    assert (row.score, row.comment, row.expected, row.source) == (0.25, "two are missing", {"n": 3}, "feedback")
    assert (other.score, other.source) == (None, "run")
    sql = "SELECT about, step_path, score, comment, expected FROM feedback"
    ((about, path, score, comment, expected),) = query(run.home, sql).rows
    assert (about, path, score, comment) == (run.run.info.root_run, "review[b].look", 0.25, "two are missing")
    assert json.loads(expected) == {"n": 3}


def test_the_last_word_counts_and_good_makes_the_answer_gold(run, settings):
    say(settings, run.run.info.run, "ask", Word("bad"))
    say(settings, run.run.info.run, "ask", Word("good"))
    (row,) = rows(run.home, "judged", "ask")
    assert (row.score, row.expected) == (1.0, "yes")


def test_a_text_step_s_right_answer_is_the_file_s_text(run, settings, tmp_path):
    (tmp_path / "right.txt").write_text("no, never\n")
    say(settings, run.run.info.run, "ask", Word("bad", expected=tmp_path / "right.txt"))
    assert rows(run.home, "judged", "ask")[0].expected == "no, never"


def test_secrets_in_a_word_are_not_kept(run, settings, tmp_path):
    key = "sk-ant-" + "a1b2c3d4e5f6g7h8"
    (tmp_path / "right.txt").write_text(key)
    say(settings, run.run.info.run, "ask", Word("bad", f"not {key}", tmp_path / "right.txt"))
    kept = "".join(file.read_text() for file in run.home.journal.glob("feedback-*/*"))
    assert kept
    assert key not in kept


@pytest.mark.parametrize("mark", ["great", "1.01", "-0.1", "nan", "inf", ""])
def test_a_mark_that_is_none_is_refused(settings, mark):
    with pytest.raises(InputError, match="from 0 to 1"):
        say(settings, "whatever", "ask", Word(mark))


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("review[c].look", r"Did you mean 'review\[[ab]\]\.look'"),
        ("review.look", "gave 2 answers"),
        ("nothing at all", "Answers: ask, "),
        ("stood", "no model answered"),
    ],
)
def test_a_step_that_is_not_one_answer_is_refused_and_named(run, settings, step, said):
    with pytest.raises(InputError) as caught:
        say(settings, run.run.info.run, step, Word("good"))
    assert re.search(said, str(caught.value))


def test_an_unknown_run_is_refused(settings):
    with pytest.raises(InputError, match="no run begins with"):
        say(settings, "no-such-run", "ask", Word("good"))
    with pytest.raises(InputError, match="at least 4"):
        say(settings, "r", "ask", Word("good"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("wrong.json", "does not fit the output of review.look"),
        ("broken.json", "no JSON"),
        ("broken.yaml", "broken.yaml:"),
        ("none.json", "does not exist"),
    ],
)
def test_an_expected_answer_that_does_not_fit_is_refused(run, settings, tmp_path, name, said):
    (tmp_path / "wrong.json").write_text('{"n": "three"}')
    (tmp_path / "broken.json").write_text("{n: 3}")
    (tmp_path / "broken.yaml").write_text("n: [")
    with pytest.raises(InputError, match=said):
        say(settings, run.run.info.run, "review[a].look", Word("bad", expected=tmp_path / name))
    assert not list(run.home.journal.glob("feedback-*"))


def test_an_expected_answer_needs_the_pipeline_that_it_is_for(run, home_path, tmp_path):
    settings = Settings.from_env({"ELEXIRION_HOME": str(home_path)})
    right, file = tmp_path / "right.yaml", tmp_path / "judged.yaml"
    right.write_text("n: 4")
    file.write_text(TEXT)
    with pytest.raises(InputError, match="--pipeline"):
        say(settings, run.run.info.run, "review[a].look", Word("bad", expected=right))
    say(settings, run.run.info.run, "review[a].look", Word("bad", expected=right, pipeline=str(file)))
    assert [row.expected for row in rows(run.home, "judged", "review.look") if row.expected] == [{"n": 4}]


def test_a_correction_holds_until_a_later_word_calls_the_answer_right(run, settings, tmp_path):
    (tmp_path / "right.txt").write_text("no")
    say(settings, run.run.info.run, "ask", Word("bad", expected=tmp_path / "right.txt"))
    say(settings, run.run.info.run, "ask", Word("0.4", "nearly"))
    assert rows(run.home, "judged", "ask")[0].expected == "no"
    say(settings, run.run.info.run, "ask", Word("good"))
    assert rows(run.home, "judged", "ask")[0].expected == "yes"
