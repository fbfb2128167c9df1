import json

from elexirion_dagster.rehearsal.play import Asked, Play, strings
from elexirion_dagster.rehearsal.script import Script


def asked(*texts, schema=None, max_tokens=None):
    return Asked(stream=False, schema=schema, max_tokens=max_tokens, texts=texts)


def play(**script):
    return Play(Script.model_validate(script))


def test_the_first_answer_that_matches_is_played():
    played = play(answers=[{"match": "b", "text": "B"}, {"text": "rest"}])
    assert [played.next(asked(text))[0].text for text in ("abc", "x")] == ["B", "rest"]


def test_an_answer_with_times_steps_aside():
    played = play(answers=[{"text": "once", "times": 1}, {"text": "then"}])
    assert [played.next(asked("x"))[0].text for _ in range(3)] == ["once", "then", "then"]


def test_equal_faults_are_counted_apart():
    fault = {"kind": "status", "status": 529, "times": 1}
    played = play(faults=[fault, fault])
    assert [played.next(asked("x"))[1] is not None for _ in range(3)] == [True, True, False]


def test_faults_are_due_by_number_by_period_and_by_match():
    played = play(
        faults=[
            {"kind": "reset", "nth": 1},
            {"kind": "html", "every": 3},
            {"kind": "malformed", "match": "bad"},
        ]
    )
    due = [played.next(asked(text))[1] for text in ("x", "x", "x", "bad", "x", "x")]
    assert [fault and fault.kind for fault in due] == ["reset", None, "html", "malformed", None, "html"]


def test_an_unmatched_request_gets_what_its_schema_asks_for():
    line, _ = play().next(
        asked("x", schema={"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}})
    )
    assert json.loads(line.text) == {"n": 0}


def test_an_invented_text_says_that_it_is_one():
    line, _ = play().next(asked("question"))
    assert line.text == "[rehearsal script, no real answer] question"


def test_text_beyond_max_tokens_is_cut():
    line, _ = play(answers=[{"text": "x" * 100}]).next(asked("q", max_tokens=5))
    assert (line.text, line.stop_reason) == ("x" * 20, "max_tokens")


def test_a_refusal_has_no_content():
    line, _ = play(answers=[{"text": "t"}], faults=[{"kind": "refusal", "category": "bio"}]).next(asked("q"))
    assert (line.text, line.stop_reason, line.category) == ("", "refusal", "bio")


def test_all_text_of_a_request_can_be_matched():
    content = [{"type": "text", "text": "a"}, {"type": "tool_result", "content": [{"type": "text", "text": "b"}]}]
    assert list(strings(["s", [{"role": "user", "content": content}]])) == ["s", "a", "b"]
