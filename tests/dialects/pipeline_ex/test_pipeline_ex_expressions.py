import functools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from elexirion_dagster.dialects.pipeline_ex.expressions.parser import EXPRESSION
from elexirion_dagster.dialects.pipeline_ex.expressions.translate import (
    Names,
    Shape,
    condition,
    item_condition,
    item_expression,
    source,
    template,
)
from elexirion_dagster.errors import ExpressionError
from elexirion_dagster.expressions import Engine
from elexirion_dagster.templating.keyed import Keyed

CORPUS = Path(os.environ.get("ELEXIRION_CORPUS", Path(__file__).parents[4] / "shared" / "corpus")) / "pipeline_ex"
STARTED = "2026-11-23T10:20:30+00:00"
ANALYSIS = {
    "score": 8.5,
    "status": "passed",
    "path": "/src/a.ex",
    "warn": [1, 2],
    "issues": [{"severity": "high", "line": 3}, {"severity": "low", "line": 9}],
    "ts": "2026-11-22T23:00:00Z",
    "name": "a-b",
    "passed": True,
    "result": "fine",
}
SCOPE = {
    "vars": {
        "count": 5,
        "f": 1.5,
        "items": [1, 2, 3],
        "user": {"name": "Bob"},
        "a": True,
        "first": "Ada",
        "last": "Byron",
        "my_var": "kebab",
        "foo": "bar",
        "rows": [{"name": "x", "n": 2}, {"name": "y", "n": 4}],
    },
    "inputs": {"a": 2, "code_file": "a.py"},
    "run": {"id": "r1", "started_at": STARTED, "pipeline": "p"},
    "file": {"name": "b.py", "ok": True},
    "loop": {"index": 1, "index0": 0, "length": 2, "key": "b.py"},
    "steps": {
        "analysis": {"status": "succeeded", "text": "the text", "data": ANALYSIS},
        "a": {"status": "succeeded", "text": '{"items": ["a", "b"], "n": 3}', "data": None},
        "my_step": {"status": "skipped", "text": None, "error": None, "data": {"score": 3}},
        "tiers": {"status": "succeeded", "data": [{"key": "gold", "items": [7]}, {"key": "tin", "items": []}]},
        "tasks": {
            "status": "failed",
            "error": {"cause": "unknown", "message": "none"},
            "data": {"items": 2, "succeeded": 1, "failed": 1},
            "results": Keyed(
                [
                    {"key": "list_files", "status": "succeeded", "ask": {"text": "A", "status": "succeeded"}},
                    {"key": "t2", "status": "failed", "ask": {"text": "B", "status": "failed"}},
                ]
            ),
        },
        "each": {
            "status": "succeeded",
            "data": {"items": 1, "succeeded": 1},
            "results": [{"key": "k", "item": 1, "status": "succeeded", "look": {"text": "t", "data": {"n": 1}}}],
        },
    },
}
NAMES = Names(
    steps=frozenset({"analysis", "a", "my_step", "tiers", "tasks", "each"}),
    renamed={"my-step": "my_step", "my-var": "my_var", "orders_by_tier": "tiers"},
    inputs=frozenset({"a", "code_file"}),
    vars=frozenset(SCOPE["vars"]),
    loop_names=frozenset({"file"}),
    results={
        "analysis": Shape("data", fields=frozenset({"status", "result"})),
        "a": Shape("text"),
        "my_step": Shape("data"),
        "tiers": Shape("groups", output_field="orders_by_tier"),
        "tasks": Shape("tasks", inner={"ask": Shape("text")}),
        "each": Shape("for_each", inner={"look": Shape("data")}),
    },
    previous="analysis",
)
ENGINE = Engine()


NESTED = functools.reduce(lambda inner, _: {"and": [inner]}, range(5_000), "true")


def evaluated(text: str, names: Names = NAMES):
    return ENGINE.evaluate(template(text, names).text, SCOPE)


def holds(value) -> bool:
    return ENGINE.condition(condition(value, NAMES).text, SCOPE)


@pytest.mark.parametrize(
    ("theirs", "value"),
    [
        ("{{count}}", 5),
        ("{{ state.count }}", 5),
        ("{{state.count + 1}}", 6),
        ("{{count+1}}", 6),
        ("{{count-1}}", 4),
        ("{{count / 2}}", 2.5),
        ("{{state.count + state.count + 1}}", 11),
        ("{{state.f + 1}}", 2.5),
        ("{{analysis.result}}", "fine"),
        ("{{steps.a.result}}", SCOPE["steps"]["a"]["text"]),
        ("{{steps.analysis}}", ANALYSIS),
        ("{{state.user}}", {"name": "Bob"}),
        ("{{steps.a.items}}", ["a", "b"]),
        ("{{state.items}}", [1, 2, 3]),
        ("Items: {{state.items}}", "Items: [1, 2, 3]"),
        ("{{multiply(count, 2)}}", 10),
        ("{{round(2.5)}}", 3),
        ("{{steps.a.text}}", SCOPE["steps"]["a"]["text"]),
        ("{{previous_response}}", ANALYSIS),
        ("{{previous_response:analysis}}", ANALYSIS),
        ("{{previous_response:analysis.score}}", 8.5),
        ("{{previous_response:a/b}}", "{{previous_response:a/b}}"),
        ("{{loop.item}}", SCOPE["file"]),
        ("{{loop.file.name}}", "b.py"),
        ("{{loop.index}} of {{loop.length}}: {{loop.is_first}} {{loop.is_last}}", "0 of 2: true false"),
        ("{{workflow.name}}", "p"),
        ("{{timestamp}}_out.md", "202611231020_out.md"),
        ("{{date}} {{execution_id}}", "2026-11-23 r1"),
        ("{{variables.foo}} {{global_vars.foo}} {{workflow.variables.foo}}", "bar bar bar"),
        ("{{now()}}", STARTED),
        ("{{now() - hours(1)}}", "2026-11-23T09:20:30+00:00"),
        ("{{length(items)}}", 3),
        ("{{append(state.items, 4)}}", [1, 2, 3, 4]),
        ("{{state.a ? 'x' : 'y'}}", "x"),
        ("{{state.count < 10}}", True),
        ("{{my-var}}", "kebab"),
        ("{{my-step.score}}", 3),
        ("{{state.first + ' ' + state.last}}", "Ada Byron"),
        ("{{inputs.a + 1}}", 3),
        ("${HOME}, ${workflow.name}", "${HOME}, ${workflow.name}"),
        ("{{steps.none.x}}", "{{steps.none.x}}"),
        ("In {{ code_file }}: {{first_step.output}}", "In a.py: {{first_step.output}}"),
    ],
)
def test_a_template_means_what_is_documented(theirs, value):
    result = evaluated(theirs)
    assert result == value
    assert type(result) is type(value)


def test_a_field_that_a_result_lacks_is_an_error_that_names_what_there_is():
    with pytest.raises(ExpressionError, match="has no field 'missing'"):
        evaluated("{{steps.analysis.missing}}")


@pytest.mark.parametrize(
    ("theirs", "value"),
    [
        ("add(count, 2)", 7),
        ("subtract(count, 2)", 3),
        ("divide(count, 2)", 2.5),
        ("divide(count, multiply(1, 2))", 2.5),
        ("max(count, 9, 1)", 9),
        ("min(items)", 1),
        ("sum(items)", 6),
        ("sum(rows, 'n')", 6),
        ("average(items)", 2.0),
        ("floor(f)", 1),
        ("ceil(f)", 2),
        ("round(-2.5)", -3),
        ("abs(0 - count)", 5),
        ("sqrt(16)", 4.0),
        ("pow(2, 3)", 8),
        ("2 + 3 * 4 - (1 + 1) * 2", 10),
        ("count % 3", 2),
        ("upper(first)", "ADA"),
        ("toLowerCase(first)", "ada"),
        ("trim(' x ')", "x"),
        ("substring(first, 0, 2)", "Ad"),
        ("substring(state.first + state.last, 1)", "daByron"),
        ("replace(first, 'A', 'I')", "Ida"),
        ("concat(items, [4])", [1, 2, 3, 4]),
        ("concat(first, '-', last)", "Ada-Byron"),
        ("keys(user)", ["name"]),
        ("values(user)", ["Bob"]),
        ("merge(user, {age: 3})", {"name": "Bob", "age": 3}),
        ("json(user)", '{"name": "Bob"}'),
        ("filter(rows, 'n > 2')", [{"name": "y", "n": 4}]),
        ("map(rows, (r) => {'id': r.name, 'n': [r.n + 1]})", [{"id": "x", "n": [3]}, {"id": "y", "n": [5]}]),
        ("slice(items, 0, 2)", [1, 2]),
        ("filter(rows, r => r.n > 2)", [{"name": "y", "n": 4}]),
        ("map(rows, 'name')", ["x", "y"]),
        (
            "map(rows, {id: item.name, big: item.n > 3 ? 'yes' : 'no'})",
            [{"id": "x", "big": "no"}, {"id": "y", "big": "yes"}],
        ),
        ("chunk(items, 2)", [[1, 2], [3]]),
        ("hash('x')", "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"),
        ("date('2024-12-31')", "2024-12-31"),
        ("date(now(), 'YYYY/MM/DD')", "2026/11/23"),
        ("join(map(rows, 'name'), ', ')", "x, y"),
        ("items[0] + items[-1] + items.1", 6),
        ("rows[*].name", ["x", "y"]),
        ("user['name'].length", 3),
        ("state.nobody || 'x'", "x"),
        ("first.upper()", "ADA"),
        ("items | length", 3),
        ("'{{first}}: {{count}}'", "Ada: 5"),
    ],
)
def test_every_function_and_operator_of_templates_has_its_value(theirs, value):
    translated = template("{{" + theirs + "}}", NAMES)
    scope = {**SCOPE, "inputs": {**SCOPE["inputs"], **dict.fromkeys(translated.unresolved)}}
    assert ENGINE.evaluate(translated.text, scope) == value


@pytest.mark.parametrize(
    ("theirs", "truth"),
    [
        ("analysis.score > 7", True),
        ("analysis.score == 8.5", True),
        ("analysis.score between 5 and 10", True),
        ("analysis.warn.length > 1", True),
        ("steps.analysis.score > 7", True),
        ("analysis.score>7", True),
        ("analysis.score > 7 and analysis.status == 'passed'", True),
        ("not analysis.errors", True),
        (r"analysis.path matches '.*\.ex'", True),
        ("analysis.path matches '^/src'", True),
        (r"matches(analysis.path, '.*\.exs')", False),
        ("analysis.name == 'a-b'", True),
        ("my-step.score > 2", True),
        ("""any(analysis.issues, 'severity == "high"') == false""", False),
        ("analysis.ts > now() - days(7)", True),
        ("analysis.ts < now() - minutes(1)", True),
        ("analysis.ts > now() - seconds(1)", False),
        ("analysis.ts < date('2024-12-31')", False),
        ("(analysis.score + 1) * 2 == 19", True),
        ("analysis.status in ['passed', 'skipped']", True),
        ("analysis.status not_in ['passed', 'skipped']", False),
        ("analysis.path starts_with '/src' && analysis.path ends_with '.ex'", True),
        ("analysis.score exists", True),
        ("analysis.errors exists", False),
        ("analysis.errors empty", True),
        ("analysis.warn empty", False),
        ("{{steps.analysis.passed}}", True),
        ("{{state.count < 10}}", True),
        ("{{state.count}} < 3", False),
        ("analysis.success", True),
        ("tasks.success", False),
        ("true", True),
        ("false", False),
        ("1", True),
        ("null", False),
        ("analysis.issues[0].severity == 'high'", True),
        ("analysis.issues.0.severity == 'high'", True),
        ("analysis.errors == null", True),
        ("analysis.status contains 'pass'", True),
        ("analysis.warn contains 2 or false", True),
        ("!(analysis.warn contains 2) || analysis.errors", False),
        ("my-step", False),
        ("not steps.my-step", True),
        ("loop.index >= 1", False),
        ("contains(analysis.warn, 3)", False),
        ("length(analysis.warn) == 2", True),
        ("startsWith(analysis.path, '/src')", True),
        ("endsWith(toUpperCase(analysis.path), '.EX')", True),
        ("toLowerCase('A') == trim(' a ')", True),
        ("all(analysis.issues, 'line > 2')", True),
        ("all(analysis.issues, 'severity == \"high\" or line > 10')", False),
        ("any(analysis.warn, @ > 1)", True),
        ("count(analysis.issues, 'line > 5') == 1", True),
        ("count(analysis.issues) == 2", True),
        ("sum(analysis.warn) == 3 and average(analysis.warn) == 1.5", True),
        ("min(analysis.warn) == 1 and max(analysis.warn) == 2", True),
        ("isEmpty(analysis.errors)", True),
        ("abs(-2) == 2 and round(8.5) == 9 and floor(8.5) == 8 and ceil(8.5) == 9", True),
        ("sqrt(9) == 3 and pow(2, 3) == 8 and between(3, 1, 5)", True),
        ("my-step.error != null", False),
        ("5 < analysis.score <= 8.5", True),
        ("each.look.n == 1", True),
        ("tasks.error_message contains 'no'", True),
        ("tasks.list_files.text == 'A' and tasks.failed_tasks == 1", True),
        ("each.results[0].look.n == 1 and each.total_items == 1", True),
        (True, True),
        (None, True),
        (["analysis.passed", {"not": "analysis.errors"}], True),
        ({"and": ["analysis.passed", {"or": ["analysis.score > 9", "tasks.success"]}]}, False),
        ([], True),
        ({"or": []}, False),
    ],
)
def test_a_condition_means_what_is_documented(theirs, truth):
    assert holds(theirs) is truth


@pytest.mark.parametrize(
    "theirs",
    ["", "a >", {"xor": []}, {"and": [], "or": []}, {"not": 1.5, "and": []}, "f(", "nope(1)", ["true"] * 81, NESTED],
)
def test_what_is_no_condition_is_refused(theirs):
    with pytest.raises(ExpressionError):
        condition(theirs, NAMES)


@pytest.mark.parametrize(
    ("theirs", "value"),
    [
        ("analysis", ANALYSIS),
        ("analysis.warn", [1, 2]),
        ("analysis:issues", ANALYSIS["issues"]),
        ("steps.analysis.warn", [1, 2]),
        ("previous_response", ANALYSIS),
        ("previous_response:analysis", ANALYSIS),
        ("previous_response:analysis.warn", [1, 2]),
        ("previous_response:analysis:issues[0].line", 3),
        ("{{steps.analysis.warn}}", [1, 2]),
        ("state.items", [1, 2, 3]),
        ("items", [1, 2, 3]),
        ("inputs.a", 2),
        ("context:items", [1, 2, 3]),
        ("orders_by_tier", SCOPE["steps"]["tiers"]["data"]),
        ("previous_response:orders_by_tier.gold", [7]),
        ("previous_response:tiers:orders_by_tier:gold", [7]),
        ("previous_response:tasks:list_files", "A"),
        ("tasks", "A\n\nB"),
        ("loop.file.name", "b.py"),
    ],
)
def test_every_form_of_a_source_reference_finds_its_data(theirs, value):
    assert ENGINE.evaluate(source(theirs, NAMES).text, SCOPE) == value


@pytest.mark.parametrize(
    ("theirs", "item", "truth"),
    [
        ("status == 'completed'", {"status": "completed"}, True),
        ("total > 100 and status != 'x'", {"total": 50, "status": "y"}, False),
        ("@ > 5", 6, True),
        ("value contains 'a'", "abc", True),
        ("> 5", 6, True),
        ("item.total > state.count", {"total": 6}, True),
        ("state == 'open' and input.kind == 1", {"state": "open", "input": {"kind": 1}}, True),
    ],
)
def test_a_condition_over_items_looks_into_the_item(theirs, item, truth):
    assert ENGINE.condition(item_condition(theirs, NAMES).text, {**SCOPE, "item": item}) is truth


def test_an_object_expression_of_a_map_makes_records():
    theirs = '{"id": item.id, "priority": item.score > 90 ? "high" : "normal"}'
    ours = item_expression(theirs, NAMES).text
    assert ENGINE.evaluate(ours, {"item": {"id": 1, "score": 95}}) == {"id": 1, "priority": "high"}


def test_undeclared_names_become_inputs_and_are_listed():
    translated = template("Do {{pipeline_request}} with {{global_vars.parent_var}}", NAMES)
    assert translated.text == "Do {{ inputs.pipeline_request }} with {{ inputs.parent_var }}"
    assert translated.unresolved == ("pipeline_request", "parent_var")
    assert template("{{ nobody + steps.none.x }}", NAMES).unresolved == ()
    assert condition("environment.mode == 'production'", NAMES).unresolved == ("environment_mode",)


def test_what_changes_in_meaning_is_noted():
    assert any("0" in note for note in template("{{count / f}}", NAMES).notes)
    assert any("look-around" in note for note in condition("matches(a.text, '(?=x)')", NAMES).notes)
    assert any("kept as text" in note for note in template("{{first_step.output}}", NAMES).notes)


SIGNS = [*"{}%#|-+ \n\r'\"\\.:?,()[]@$!<>=0", "{{", "}}", "{%", "%}", "{#", "#}", "{% endraw %}", "raw", "1.5"]
WORDS = ["a", "steps.", "analysis", "items", "any", "not", "in", "and", "exists", "between", "x =>", "é", "é-b"]
SCRAPS = st.lists(st.sampled_from([*SIGNS, *WORDS]), max_size=40).map("".join)


@given(SCRAPS)
@settings(max_examples=500, deadline=None)
def test_literal_text_comes_back_exactly(text):
    if EXPRESSION.search(text) is None:
        assert evaluated(text) == text


@given(SCRAPS | st.text(max_size=60))
@settings(max_examples=500, deadline=None)
def test_any_text_translates_to_a_template_that_can_be_read(text):
    ENGINE.check(template(text, NAMES).text)
    ENGINE.check(template("{{" + text + "}}", NAMES).text)


@given(SCRAPS | st.text(max_size=60))
@settings(max_examples=500, deadline=None)
def test_any_text_is_a_condition_that_can_be_read_or_is_refused(text):
    for translate in (condition, source, item_condition, item_expression):
        try:
            ours = translate(text, NAMES).text
        except ExpressionError:
            continue
        ENGINE.check(ours, condition=True)


@pytest.mark.parametrize(
    "text",
    [
        "{{" * 450_000,
        "{{ '" * 200_000,
        "{{ a }" * 150_000,
        "{{" + "(" * 9_000 + "}}",
        "{{" + "exists " * 1_400 + "x}}",
        "{{ a" + ".result" * 1_000 + "}}",
        "{{" + "a + " * 2_000 + "a}}",
        "{{" + "9" * 5_000 + "}}",
        "{{" + "x" * 20_000 + "}}",
        "".join(f"{{{{#{number}}}}}" for number in range(90_000)),
    ],
    ids=range(10),
)
def test_hostile_text_is_kept_as_it_is(text):
    assert evaluated(text) == text


def corpus() -> Iterator[tuple[str, str, str, Names]]:
    for file in sorted(CORPUS.rglob("*.yaml")):
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        named = {key: [text for found, text in strings(document) if found == key] for key in ("name", "output_field")}
        steps = {text: text for text in named["name"]} | dict.fromkeys(named["output_field"], "made")
        names = Names(frozenset(steps.values()), renamed=steps)
        for key, text in strings(document):
            yield str(file.relative_to(CORPUS)), key, text, names


def strings(value, key="") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    for inner, item in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from strings(item, inner if isinstance(inner, str) else key)


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of pipeline_ex is not here (ELEXIRION_CORPUS)")
def test_every_expression_of_the_corpus_translates_to_what_the_engine_reads():
    found = 0
    for file, key, text, names in corpus():
        ENGINE.check(template(text, names).text)
        found += "{{" in text
        if key == "condition":
            translate = item_condition if "transform" in file else condition
            ENGINE.check(translate(text, names).text, condition=True)
        elif key in {"input_source", "right_source", "data_source"}:
            ENGINE.check(source(text, names).text)
    assert found
