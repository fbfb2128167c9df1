import json

from scripted_task import ROWS, asking, task_of

from benchmarks import scripted
from optimizer_assets.task import Candidate

BUG = "Call it bug when it"
ALL = "\n".join(f"Call it {kind} when it" for kind in scripted.KINDS)


def right(home, candidate, *, seed=0, rows=ROWS):
    with asking(home, task_of(), scripted.ScriptedModel(seed=seed), rows) as asker:
        return {one.row.key: one.score for one in asker.try_all(candidate, rows)}


def test_rows_are_all_different_and_their_kinds_in_turns():
    rows = scripted.rows(90, 3)
    assert len({row.key for row in rows}) == 90
    assert [row.expected["kind"] for row in rows[:3]] == list(scripted.KINDS)
    assert rows == scripted.rows(90, 3) != scripted.rows(90, 4)


def test_a_hint_or_an_example_of_a_kind_makes_answers_of_that_kind_right_and_no_other(home_path):
    rows = scripted.rows(300, 5)
    plain = right(home_path, Candidate("Name it."), rows=rows)
    assert abs(sum(plain.values()) / 300 - scripted.GUESSED) < 0.06
    for better in (Candidate(f"Name it.\n{BUG}"), Candidate("Name it.", (("x", {"kind": "bug"}),))):
        found = right(home_path, better, rows=rows)
        bugs = [row.key for row in rows if row.expected == {"kind": "bug"}]
        assert sum(found[key] for key in bugs) / len(bugs) > 0.9
        assert all(found[key] == plain[key] for key in plain if key not in bugs)


def test_no_prompt_does_better_than_the_ceiling(home_path):
    found = right(home_path, Candidate(ALL), seed=2)
    assert sum(found.values()) / len(found) == scripted.ScriptedModel(seed=2).ceiling(ROWS)


def test_asked_for_an_instruction_it_adds_one_hint_that_the_feedback_asks_for():
    from elexirion_dagster.records import Message, Request, TextBlock

    asked = (
        "[[ ## current_instruction ## ]]\nName it.\n\n[[ ## examples_with_feedback ## ]]\n"
        '[{"Feedback": "Wrong: expected {\\"kind\\": \\"style\\"} for the answer"}]'
    )
    request = Request("m", (Message("user", (TextBlock(asked),)),), system="… new_instruction …")
    model = scripted.ScriptedModel()
    text = model.send(request, timeout_s=1).text
    assert text.startswith("[[ ## new_instruction ## ]]\nName it.\nCall it style when it has a vague name or")
    as_json = Request("m", request.messages, system="a JSON object with new_instruction")
    assert json.loads(model.send(as_json, timeout_s=1).text)["new_instruction"].startswith("Name it.\nCall it style")
    assert model.written == model.sent == 2
