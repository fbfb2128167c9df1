import pytest

from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.errors import InputError
from elexirion_dagster.operations.pipelines import read_inputs

PIPELINE = load_string("""
name: typed
inputs:
  text: {type: string, default: ""}
  folder: {type: path, default: "."}
  count: {type: integer, default: 1}
  share: {type: number, default: 0.5}
  deep: {type: boolean, default: false}
  words: {type: list, default: []}
  table: {type: object, default: {}}
steps:
  - {name: a, type: set, vars: {x: 1}}
""").pipeline


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("text=a=b", {"text": "a=b"}),
        ("text=", {"text": ""}),
        ("text=12", {"text": "12"}),
        ("folder=~/x", {"folder": "~/x"}),
        ("count=3", {"count": 3}),
        ("COUNT=3", {"count": 3}),
        ("share=2", {"share": 2}),
        ("deep=true", {"deep": True}),
        ("words=[a, 1]", {"words": ["a", 1]}),
        ("table={a: 1}", {"table": {"a": 1}}),
    ],
)
def test_words_are_read_by_the_declared_type(word, expected):
    assert read_inputs(PIPELINE, (word,)) == expected


@pytest.mark.parametrize(
    "word", ["count=x", "count=1.5", "count=", "deep=1", "words=a", "table=[1]", "words=[", "other=1", "text"]
)
def test_a_word_that_does_not_fit_is_named(word):
    with pytest.raises(InputError, match=word.partition("=")[0]):
        read_inputs(PIPELINE, (word,))


def test_of_two_words_for_one_input_the_last_counts():
    assert read_inputs(PIPELINE, ("count=1", "count=2")) == {"count": 2}
