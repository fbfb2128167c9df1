import pytest
from documented import ANALYSIS, ENGINE, NAMES, SCOPE, STARTED, evaluated

from elexirion_dagster.dialects.pipeline_ex.expressions.translate import (
    template,
)
from elexirion_dagster.errors import ExpressionError


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
