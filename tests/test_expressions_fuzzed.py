from hypothesis import given, settings
from hypothesis import strategies as st

from elexirion_dagster.errors import ExpressionError
from elexirion_dagster.expressions import Bounds, Engine

PIECES = st.lists(
    st.sampled_from(
        [
            *(
                "a",
                "b",
                "n",
                "t",
                ".",
                "|",
                "(",
                ")",
                "[",
                "]",
                "{",
                "}",
                ",",
                ":",
                "'x'",
                '"',
                "0",
                "9",
                "10",
                "1.5",
                "-",
                "+",
            ),
            *(
                "*",
                "**",
                "/",
                "//",
                "%",
                "~",
                "==",
                "<",
                " in ",
                " not ",
                " and ",
                " or ",
                " is ",
                " if ",
                " else ",
                "=",
                " ",
            ),
            *(
                "items()",
                "upper()",
                "join",
                "map",
                "sort",
                "list",
                "length",
                "default",
                "round",
                "int",
                "format",
                "batch",
            ),
            *(
                "groupby",
                "replace",
                "indent",
                "center",
                "first",
                "json",
                "regex_replace",
                "even",
                "none",
                "true",
                "loop",
            ),
            *(
                "range(9)",
                "namespace(x=1)",
                "__class__",
                "'%s'",
                "'(a'",
                "attribute='x'",
                "slice",
                "dictsort",
                "truncate",
            ),
        ]
    ),
    max_size=14,
).map("".join)


@settings(max_examples=1500, deadline=None)
@given(
    PIECES,
    st.sampled_from(
        ["{{ %s }}", "{{ a|%s }}", "{%% if %s %%}x{%% endif %%}", "{%% for i in %s %%}{{ i }}{%% endfor %%}", "%s"]
    ),
)
def test_any_expression_evaluates_or_raises_an_expression_error(piece, frame):
    engine, refused = FUZZED, []
    scope = {"a": [1, "x", {"x": None}], "b": {"x": [1.5, True]}, "n": 3, "t": "text"}
    for call in (engine.evaluate, engine.render, engine.condition):
        try:
            call(frame % piece, scope)
        except ExpressionError as error:
            refused.append(error.message)
    assert all(refused)


FUZZED = Engine(bounds=Bounds(max_iterations=1_000, max_items=10_000, max_chars=100_000))


@settings(max_examples=500, deadline=None)
@given(st.text(st.sampled_from("{}%#-'\"|ab.( )[\\\n\ud800é0"), max_size=30))
def test_any_text_renders_or_raises_an_expression_error(text):
    refused = []
    try:
        FUZZED.render(text, {"a": 1, "b": "x"})
        FUZZED.references(text)
    except ExpressionError as error:
        refused.append(error.message)
    assert all(refused)
