import pytest

from elexirion_dagster.errors import ExpressionError
from elexirion_dagster.records import TextBlock
from elexirion_dagster.spec.llm import LlmStep
from elexirion_dagster.store.learned.learning import Row
from optimizer_assets.asking.rendering import Turns, renderable


def test_what_a_run_reads_lazily_is_there_and_does_not_show_in_its_record():
    step = LlmStep(name="ask", type="llm", prompt="{{ file }}|{{ file.text }}|{{ steps.a.results['k'].text }}")
    inputs = {"file": {"path": "a.py"}, "file.text": "body", "steps.a.results.k.text": "found"}
    turns = Turns(step).of(Row("k", inputs, None, None, None, None, "run", "g"))
    assert turns[0].content == (TextBlock('{"path": "a.py"}|body|found'),)


def test_rows_that_cannot_be_asked_again_are_counted_with_the_reason():
    step = LlmStep(name="ask", type="llm", prompt="{{ inputs.a }}")
    given = [{"inputs.a": "x"}, {"inputs.a": {"omitted": "more than 4000 characters"}}, {}, {"inputs.a": "\ud83d"}]
    rows = [Row(str(at), inputs, None, None, None, None, "run", "g") for at, inputs in enumerate(given)]
    kept, dropped = renderable(step, rows)
    assert kept == (rows[0],)
    assert sorted(dropped.values()) == [1, 1, 1]
    with pytest.raises(ExpressionError):
        Turns(step).of(rows[2])
