import pytest
from pydantic import ValidationError

from elexirion_dagster.spec.query import QueryStep


@pytest.mark.parametrize(
    ("question", "why"),
    [
        ({}, "has 0"),
        ({"files": {}, "symbols": {}}, "has 2"),
        ({"symbols": {"kind": ["procedure"]}}, "'function'"),
        ({"dependents": {}}, "of"),
        ({"impact": {"of": "a.py", "max_depth": 0}}, "greater than or equal to 1"),
        ({"files": {}, "languages": ["cobol"]}, "'python'"),
    ],
)
def test_other_than_one_whole_question_is_refused(question, why):
    with pytest.raises(ValidationError, match=why):
        QueryStep(name="q", type="query", **question)


def test_a_query_looks_at_the_tree():
    assert QueryStep(name="q", type="query", files={}).default_effect() == "read"
