import threading
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType

import pytest

from elexirion_dagster.errors import Cancelled, ExpressionError, InputError
from elexirion_dagster.expressions import Bounds, Engine

SCOPE = {
    "inputs": {"n": 3, "name": "Ada", "flag": True, "empty": "", "off": "false"},
    "steps": {
        "review": {
            "text": "fine",
            "data": {"x": [1, 2], "items": "a key", "none": None},
            "results": [{"look": {"data": 1}}, {"look": {"data": 2}}],
        }
    },
    "file": {"path": "src/a.py"},
}


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


def refusal(call, *args) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        call(*args)
    return caught.value


class TestEvaluate:
    @pytest.mark.parametrize(
        ("template", "value"),
        [
            ("plain text", "plain text"),
            ("{{ inputs.n }}", 3),
            ("{{ inputs.n }}\n", 3),
            ("{{inputs.flag}}", True),
            ("{{ steps.review.data.none }}", None),
            ("{{ steps.review.data.x }}", [1, 2]),
            ("{{ steps['review']['data'].x[-1] }}", 2),
            ("{{ steps.review.results | map(attribute='look.data') }}", [1, 2]),
            ("{{ [inputs.n, (1, 2)] }}", [3, [1, 2]]),
            ("{{ {'a': inputs.n, 'b': none} }}", {"a": 3, "b": None}),
            ("{{ range(3) }}", [0, 1, 2]),
            ("{{ inputs.n }}!", "3!"),
            ("{{ inputs.n }}{{ inputs.n }}", "33"),
            ("{# note #}{{ inputs.n }}", 3),
            ("{% if inputs.n %}yes{% else %}no{% endif %}", "yes"),
            ("{% set y = inputs.n * 2 %}{{ y }}", "6"),
            ("{% raw %}{{ inputs.n }}{% endraw %}", "{{ inputs.n }}"),
            ("{{ 'a' ~ inputs.n ~ [1, none] }}", "a3[1, null]"),
        ],
    )
    def test_one_whole_expression_keeps_its_type_and_the_rest_is_text(self, engine, template, value):
        result = engine.evaluate(template, SCOPE)
        assert result == value
        assert type(result) is type(value)

    def test_what_was_looked_up_is_handed_on_uncopied(self, engine):
        assert engine.evaluate("{{ steps.review.results }}", SCOPE) is SCOPE["steps"]["review"]["results"]

    def test_a_tree_is_evaluated_in_its_strings_and_not_in_its_keys(self, engine):
        tree = {"{{ inputs.n }}": ["{{ inputs.n }}", 1, None, {"a": "n={{ inputs.n }}"}]}
        assert engine.evaluate_tree(tree, SCOPE) == {"{{ inputs.n }}": [3, 1, None, {"a": "n=3"}]}

    def test_what_a_template_yields_is_not_expanded_again(self, engine):
        scope = {"file": {"text": "{{ 1 + 1 }} {% raw %}"}}
        assert engine.evaluate("{{ file.text }}", scope) == "{{ 1 + 1 }} {% raw %}"
        assert engine.render("<{{ file.text }}>", scope) == "<{{ 1 + 1 }} {% raw %}>"


class TestRender:
    @pytest.mark.parametrize(
        ("template", "text"),
        [
            ("{{ inputs.n }}", "3"),
            ("{{ inputs.flag }} {{ steps.review.data.none }}", "true null"),
            ("{{ steps.review.data }}", '{"x": [1, 2], "items": "a key", "none": null}'),
            ("{{ ['é', 'a\"b'] }}", '["é", "a\\"b"]'),
            ("keeps\n  lines\n", "keeps\n  lines\n"),
            ("{% for r in steps.review.results %}{{ loop.index }}:{{ r.look.data }} {% endfor %}", "1:1 2:2 "),
            ("{% set t %}n={{ inputs.n }};{% endset %}{{ t }}{{ t }}", "n=3;n=3;"),
            ("{% for a, b in {'x': 1}.items() %}{{ a }}{{ b }}{% endfor %}", "x1"),
        ],
    )
    def test_rendering_is_always_text(self, engine, template, text):
        assert engine.render(template, SCOPE) == text

    def test_html_is_not_escaped(self, engine):
        assert engine.render("<{{ inputs.x }}>", {"inputs": {"x": "a & <b>"}}) == "<a & <b>>"


class TestLookUp:
    def test_a_key_wins_over_a_method_of_that_name(self, engine):
        assert engine.evaluate("{{ steps.review.data.items }}", SCOPE) == "a key"
        assert engine.evaluate("{{ inputs.items() | first }}", SCOPE) == ["n", 3]

    def test_a_method_that_is_not_called_says_so(self, engine):
        assert "'upper' is a method" in refusal(engine.evaluate, "{{ inputs.name.upper }}", SCOPE).message

    @pytest.mark.parametrize(
        ("template", "message"),
        [
            (
                "{{ steps.review.dta }}",
                "steps.review has no field 'dta' (it has: text, data, results); did you mean 'data'?",
            ),
            ("{{ steps.review.data.y.z }}", "steps.review.data has no field 'y'"),
            ("{{ stps.review }}", "'stps' is not known here (in scope: inputs, steps, file); did you mean 'steps'?"),
            ("{% for r in steps.review.results %}{{ r.lok }}{% endfor %}", "r has no field 'lok' (it has: look)"),
            ("{{ steps.review.data.x[7] }}", "a list has 2 entries, there is no entry 7"),
            ("{{ steps.review.text.data }}", "steps.review.text is a text and has no field 'data'"),
            ("{{ steps.review.data.none.x }}", "steps.review.data.none is null and has no field 'x'"),
            ("{{ [1, inputs.m] }}", "inputs has no field 'm'"),
            ("{{ steps.review.results | map(attribute='look.dat') }}", "a map has no field 'dat' (it has: data)"),
            ("{{ [] | first }}", "the list is empty"),
            ("{% if inputs.m %}x{% endif %}", "inputs has no field 'm'"),
            ("{{ inputs.m == 1 }}", "inputs has no field 'm'"),
            ("{{ inputs.m ~ 'x' }}", "inputs has no field 'm'"),
            ("{% for x in inputs.m %}{% endfor %}", "inputs has no field 'm'"),
            ("{{ 'a' if inputs.empty }}", "evaluated to false and no else"),
        ],
    )
    def test_what_is_missing_is_named_with_what_there_is(self, engine, template, message):
        assert message in refusal(engine.evaluate, template, SCOPE).message

    def test_a_missing_field_may_have_a_default_at_any_depth(self, engine):
        assert engine.evaluate("{{ steps.nothing.data.x | default('d') }}", SCOPE) == "d"
        assert engine.evaluate("{{ steps.nothing.data is defined }}", SCOPE) is False
        assert engine.evaluate("{{ inputs.get('m', 5) }}", SCOPE) == 5

    def test_mappings_that_are_not_dicts_are_maps_too(self, engine):
        assert engine.render("{{ m.a }} {{ m }}", {"m": MappingProxyType({"a": 1})}) == '1 {"a": 1}'

    def test_other_objects_are_closed(self, engine):
        class Account:
            secret = "s"

        assert "cannot be read" in refusal(engine.evaluate, "{{ a.secret }}", {"a": Account()}).message
        assert "is not a value" in refusal(engine.render, "{{ a }}!", {"a": Account()}).message


class TestLazyFields:
    def test_a_field_that_a_mapping_lacks_is_asked_for(self):
        asked = []

        def lazy(record, name):
            asked.append(name)
            if name != "text":
                raise KeyError(name)
            return f"text of {record['path']}"

        engine = Engine(lazy=lazy)
        assert engine.render("{{ file.path }}: {{ file.text }}", SCOPE) == "src/a.py: text of src/a.py"
        assert asked == ["text"]
        assert "has no field 'txt'" in refusal(engine.evaluate, "{{ file.txt }}", SCOPE).message
        assert engine.evaluate("{{ inputs.keys() | length }}", SCOPE) == 5

    @pytest.mark.parametrize("error", [InputError("not readable"), Cancelled()])
    def test_an_error_of_ours_while_reading_keeps_its_cause(self, error):
        def lazy(_record, _name):
            raise error

        with pytest.raises(type(error)) as caught:
            Engine(lazy=lazy).render("{{ file.text }}!", SCOPE)
        assert caught.value.cause == error.cause

    def test_any_other_error_while_reading_is_an_expression_error(self):
        def lazy(_record, _name):
            raise OSError("disk gone")

        assert "disk gone" in refusal(Engine(lazy=lazy).render, "{{ file.text }}!", SCOPE).message


class TestCondition:
    @pytest.mark.parametrize(
        ("condition", "truth"),
        [
            ("{{ inputs.n > 2 }}", True),
            ("inputs.n > 2", True),
            ("not inputs.flag", False),
            ("{{ steps.review.results }}", True),
            ("inputs.empty", False),
            ("steps.review.data.none", False),
            ("inputs.n == 3 and inputs.name in ['Ada', 'Bob']", True),
            ("1 < inputs.n < 3", False),
            ("{{ inputs.name is matches('^A') }}\n", True),
            ("steps.nothing is defined and steps.nothing.x > 1", False),
        ],
    )
    def test_a_condition_is_an_expression_with_or_without_braces(self, engine, condition, truth):
        assert engine.condition(condition, SCOPE) is truth

    @pytest.mark.parametrize(
        ("condition", "message"),
        [
            ("{{ inputs.n }} > 2", "this is text"),
            ("{% if inputs.n %}yes{% endif %}", "this is text"),
            ("{{ inputs.off }}", "the text 'false' is not clearly true or false"),
            ("inputs.m", "inputs has no field 'm'"),
            ("inputs.n >", "unexpected end of the expression"),
            ("", "Expected an expression"),
        ],
    )
    def test_a_condition_without_clear_truth_is_refused(self, engine, condition, message):
        assert message in refusal(engine.condition, condition, SCOPE).message


class TestCheck:
    @pytest.mark.parametrize("template", ["", "text", "{{ a.b | default(1) }}", "{% for x in y %}{{ x }}{% endfor %}"])
    def test_what_can_be_evaluated_passes(self, engine, template):
        engine.check(template)

    @pytest.mark.parametrize(
        ("template", "message"),
        [
            ("{{ a", "line 1"),
            ("{% if a %}", "line 1"),
            ("x\n{{ a b }}", "line 2"),
            ("{{ a | uper }}", "there is no filter 'uper'; did you mean 'upper'?"),
            ("{% if b %}{{ a | uper }}{% endif %}", "there is no filter 'uper'"),
            ("{{ a is evn }}", "there is no test 'evn'; did you mean 'even'?"),
            ("{{ a | map('uper') }}", "there is no filter 'uper'"),
            ("{{ a | selectattr('b', 'equalt', 1) }}", "there is no test 'equalt'"),
            ("{% macro a() %}{% endmacro %}", "'macro' is not part of the language"),
            ("{% call a() %}{% endcall %}", "'call' is not part"),
            ("{% include 'a' %}", "'include' is not part"),
            ("{% import 'a' as b %}", "'import' is not part"),
            ("{% from 'a' import b %}", "'from … import' is not part"),
            ("{% extends 'a' %}", "'extends' is not part"),
            ("{% block a %}{% endblock %}", "'block' is not part"),
            ("{% autoescape true %}{% endautoescape %}", "'autoescape' is not part"),
            ("{% filter upper %}{% endfilter %}", "'filter' is not part"),
            ("{% for x in y recursive %}{% endfor %}", "recursive loops are not part"),
            ("{{ a | safe }}", "there is no filter 'safe'"),
            ("{{ a | attr('x') }}", "there is no filter 'attr'"),
        ],
    )
    def test_what_can_never_be_evaluated_is_refused(self, engine, template, message):
        assert message in refusal(engine.check, template).message

    def test_a_condition_is_checked_as_one(self, engine):
        engine.check("a > 2", condition=True)
        with pytest.raises(ExpressionError, match="this is text"):
            engine.check("{{ a }} > 2", condition=True)


class TestReferences:
    @pytest.mark.parametrize(
        ("template", "chains"),
        [
            ("text", set()),
            ("{{ steps.review.data.x }}", {("steps", "review", "data", "x")}),
            ("{{ steps['review'].data }}", {("steps", "review", "data")}),
            ("{{ steps.review.results[0].look.data }}", {("steps", "review", "results")}),
            ("{{ steps[inputs.name].x }}", {("steps",), ("inputs", "name")}),
            ("{{ (steps.a.text).upper() ~ inputs.n }}", {("steps", "a", "text"), ("inputs", "n")}),
            ("{{ steps.a.data.items() }} {{ inputs.get('x') }}", {("steps", "a", "data"), ("inputs",)}),
            ("{{ steps.a.data | default(inputs.x) }}", {("steps", "a", "data"), ("inputs", "x")}),
            (
                "{% for f in steps.a.data %}{{ f.x }}{{ loop.index }}{{ g.y }}{% endfor %}",
                {("steps", "a", "data"), ("g", "y")},
            ),
            ("{% for f in f.list if f.ok %}{{ f }}{% else %}{{ f.none }}{% endfor %}", {("f", "list"), ("f", "none")}),
            ("{{ q.before }}{% set q = inputs.z %}{{ q.r }}", {("q", "before"), ("inputs", "z")}),
            ("{% set q %}{{ a.b }}{% endset %}{{ q }}", {("a", "b")}),
            ("{% with w = a.b %}{{ w.c }}{% endwith %}{{ w.d }}", {("a", "b"), ("w", "d")}),
            ("{% set ns = namespace(x=a.b) %}{% set ns.x = range(c.d) %}{{ ns.x }}", {("a", "b"), ("c", "d")}),
            ("{% raw %}{{ a.b }}{% endraw %}", set()),
        ],
    )
    def test_static_chains_on_free_names_are_listed(self, engine, template, chains):
        assert engine.references(template) == chains

    def test_a_bare_condition_has_references_too(self, engine):
        assert engine.references("steps.a.n > inputs.m", condition=True) == {("steps", "a", "n"), ("inputs", "m")}

    def test_a_broken_template_is_refused(self, engine):
        with pytest.raises(ExpressionError):
            engine.references("{{ a")


def test_a_message_names_the_expression_and_cuts_it(engine):
    message = refusal(engine.evaluate, "{{ nope }}" + "x" * 500, SCOPE).message
    assert "in `{{ nope }}xxx" in message
    assert len(message) < 300


def test_a_scope_name_may_be_called_like_a_global(engine):
    assert engine.evaluate("{{ range }}", {"range": 1}) == 1


def test_threads_share_an_engine(engine):
    barrier = threading.Barrier(8)

    def work(number: int) -> bool:
        barrier.wait()
        for turn in range(200):
            text = engine.render("{{ a }}-{% for i in range(3) %}{{ i * a }},{% endfor %}", {"a": number})
            wrong = refusal(engine.evaluate, "{{ b.x }}" + " " * (turn % 3), {"b": {f"k{number}": 1}})
            if text != f"{number}-0,{number},{2 * number}," or f"k{number}" not in wrong.message:
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_bounds_may_be_set_tighter():
    engine = Engine(bounds=Bounds(max_iterations=10, max_output_chars=20))
    assert "10 loop turns" in refusal(engine.render, "{% for i in 'abcdefghijk' %}{% endfor %}", {}).message
    assert "longer than 20" in refusal(engine.render, "{{ 'a' * 21 }}!", {}).message
