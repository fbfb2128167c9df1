"""Conditions, source references and hostile texts of pipeline_ex: the documented meaning."""

import functools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from documented import ANALYSIS, ENGINE, NAMES, SCOPE, evaluated
from hypothesis import given, settings
from hypothesis import strategies as st

from elexirion_dagster.dialects.pipeline_ex.expressions.parser import EXPRESSION
from elexirion_dagster.dialects.pipeline_ex.expressions.translate import (
    Names,
    condition,
    item_condition,
    item_expression,
    source,
    template,
)
from elexirion_dagster.errors import ExpressionError

CORPUS = Path(os.environ.get("ELEXIRION_CORPUS", Path(__file__).parents[4] / "shared" / "corpus")) / "pipeline_ex"


NESTED = functools.reduce(lambda inner, _: {"and": [inner]}, range(5_000), "true")


def holds(value) -> bool:
    return ENGINE.condition(condition(value, NAMES).text, SCOPE)


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
