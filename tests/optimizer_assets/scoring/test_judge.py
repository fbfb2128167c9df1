"""Whether a judge is asked once, within its budget, and believed only when it makes sense."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from learned import a_row

from elexirion_dagster.errors import ElexirionError, PolicyError
from elexirion_dagster.expressions import Engine
from optimizer_assets.scoring.judge import Judge


class Model:
    """Says what it is told to, and remembers what it was asked."""

    def __init__(self, reply):
        self.reply = reply
        self.asked = []

    def __call__(self, _, question, __):
        self.asked.append(question)
        return self.reply if isinstance(self.reply, str) else json.dumps(self.reply(question))


def a_judge(model, prompt="Is {{ answer }} right for {{ inputs.text }}?", calls=10):
    return Judge(prompt, model, engine=Engine(), calls=calls)


def test_equal_questions_are_asked_once_even_side_by_side():
    model = Model('{"score": 0.75, "why": "close"}')
    judge = a_judge(model)
    with ThreadPoolExecutor(8) as pool:
        marks = set(pool.map(lambda _: judge(a_row("a"), "x"), range(40)))
    assert [mark.score for mark in marks] == [0.75]
    assert model.asked == ["Is x right for a?"]
    assert judge.asked == 1


def test_people_are_heard_beside_the_judge():
    said = a_judge(Model('{"score": 0, "why": "empty"}'))(a_row("a", comment="too short"), "x").feedback
    assert said == "The judge gave 0 (1 is best): empty People said: too short"


def test_a_prompt_that_does_not_show_the_answer_gets_it_as_data():
    model = Model('{"score": 1, "why": "fine"}')
    a_judge(model, prompt="Is it kind?")(a_row("a", expected="thanks"), "x {{ 1 + 1 }}")
    assert model.asked[0].startswith("Is it kind?\n\nThe answer to judge")
    assert '"answer": "x {{ 1 + 1 }}"' in model.asked[0]


def test_the_budget_ends_the_questions():
    judge = a_judge(Model('{"score": 1, "why": "fine"}'), calls=2)
    for text in ("a", "b", "a", "b"):
        judge(a_row(text), "x")
    with pytest.raises(PolicyError, match="at most 2 questions") as caught:
        judge(a_row("c"), "x")
    assert caught.value.cause == "budget_exceeded"


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "Very good!",
        '{"score": 7, "why": "seven of ten"}',
        '{"score": -0.5, "why": "bad"}',
        '{"score": NaN, "why": "?"}',
        '{"score": "1", "why": "fine"}',
        '{"score": true, "why": "fine"}',
        '{"score": 1, "why": "  "}',
        '{"score": 1}',
        "[0.5]",
    ],
)
def test_nonsense_is_an_error_and_no_score(reply):
    with pytest.raises(ElexirionError, match="a score from 0 to 1 and a reason from the judge") as caught:
        a_judge(Model(reply))(a_row("a"), "x")
    assert caught.value.cause == "malformed_output"


def test_agreement_compares_with_what_people_scored():
    rows = [a_row(f"{at}", answer="x", score=score) for at, score in enumerate((1.0, 1.0, 0.0, 0.25, None))]
    judge = a_judge(Model(lambda question: {"score": 0.75 if "0" in question or "2" in question else 0.5, "why": "so"}))
    found = judge.agreement(rows)
    assert (found.n, found.share, found.distance) == (4, 0.5, (0.25 + 0.5 + 0.75 + 0.25) / 4)


def test_agreement_with_nobody_is_not_known():
    assert a_judge(Model("")).agreement([a_row("a")]).share is None
