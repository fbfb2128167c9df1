import pytest

from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.errors import PipelineError

HEAD = """name: p
inputs: {repo: {type: path, default: "."}, goal: {type: string, default: x}}
env: [HOME]
steps:
  - {name: ask, type: llm, prompt: x, output: {verdict: string, lines: [integer]}}
  - {name: free, type: llm, prompt: x}
  - {name: each, type: for_each, items: [1], as: file, steps: [{name: look, type: set, vars: {y: 1}}]}
"""


def problems(text):
    with pytest.raises(PipelineError) as caught:
        load_string(text)
    return caught.value.problems


def of(step):
    return problems(f"{HEAD}  - {step}\n")


def warnings(step):
    return [problem.message for problem in load_string(f"{HEAD}  - {step}\n").warnings]


def set_to(template):
    return f'{{name: s, type: set, vars: {{x: "{template}"}}}}'


@pytest.mark.parametrize(
    ("template", "message", "mend"),
    [
        ("{{ inputs.gaol }}", "inputs.gaol is not declared", "Did you mean 'goal'?"),
        ("{{ steps.aks.text }}", "steps.aks is no step", "Did you mean 'ask'?"),
        ("{{ steps.s.text }}", "steps.s is no step", None),
        ("{{ steps.ask.txt }}", "no field 'txt'", "Did you mean 'text'?"),
        ("{{ steps.ask.results }}", "no field 'results'", None),
        ("{{ steps.ask.data.verdit }}", "no field 'verdit'", "Did you mean 'verdict'?"),
        ("{{ steps.free.data.x }}", "no typed data", "output"),
        ("{{ steps.look.data }}", "steps.look is no step", None),
        ("{{ vars.nothing }}", "not set by any step above", None),
        ("{{ vars.y }}", "not set by any step above", None),
        ("{{ env.HOM }}", "env.HOM is not listed", "Did you mean 'HOME'?"),
        ("{{ env.PATH }}", "env.PATH is not listed", None),
        ("{{ run.ids }}", "run has no field 'ids'", "Did you mean 'id'?"),
        ("{{ file.path }}", "'file' is not defined here", None),
        ("{{ goal }}", "'goal' is not defined here", None),
        ("{{ inputs.goal | uper }}", "no filter 'uper'", None),
        ("{{ inputs.goal", "", None),
        ("{% for a in inputs.goal %}", "", None),
        ("{% include 'x' %}", "not part of the language", None),
    ],
)
def test_a_reference_known_to_be_wrong_is_refused(template, message, mend):
    (problem,) = of(set_to(template))
    assert message in problem.message
    assert problem.line == 8
    assert mend is None or mend in problem.mend


@pytest.mark.parametrize(
    "template",
    [
        "{{ inputs.goal }} {{ run.id }} {{ env.HOME }}",
        "{{ steps.ask.data.verdict }} {{ steps.ask.data.lines[0] }}",
        "{{ steps.each.results[0].look.data.y }}",
        "{% for a in steps.each.results %}{{ a.key }}{{ loop.index }}{% endfor %}",
        "{% raw %}{{ anything.goes }}{% endraw %}",
        "{{ steps['ask'].text }}",
        "{{ steps[inputs.goal].text }}",
    ],
)
def test_a_good_reference_passes(template):
    assert warnings(set_to(template)) == []


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("{name: ask, type: set, vars: {x: 1}}", "the name 'ask' is taken"),
        ("{name: outputs, type: set, vars: {x: 1}}", "the name 'outputs' is kept"),
        ("{name: s, type: set, vars: {x: 1}, needs: [aks]}", "needs names 'aks'"),
        ("{name: s, type: set, vars: {x: 1}, needs: [s]}", "needs names 's'"),
        (
            "{name: s, type: for_each, items: [1], as: loop, steps: [{name: t, type: set, vars: {x: 1}}]}",
            "'loop' is in use",
        ),
        (
            "{name: s, type: for_each, items: [1], as: steps, steps: [{name: t, type: set, vars: {x: 1}}]}",
            "'steps' is in use",
        ),
        ("{name: s, type: for_each, items: [1], steps: [{name: key, type: set, vars: {x: 1}}]}", "'key' is kept"),
        ("{name: s, type: for_each, items: [1], steps: [{name: status, type: set, vars: {x: 1}}]}", "'status' is kept"),
        ("{name: s, type: for_each, items: [1], steps: [{name: ask, type: set, vars: {x: 1}}]}", "'ask' is taken"),
        ("{name: s, type: llm, prompt: x, system: 'For {{ inputs.goal }}'}", "system is sent as written"),
        ("{name: s, type: set, vars: {x: 1}, when: 'inputs.gaol'}", "inputs.gaol is not declared"),
        ("{name: s, type: set, vars: {x: 1}, when: 'a is b c'}", ""),
        ("{name: s, type: set, vars: {x: 1}, when: 'if {{ inputs.goal }}'}", "one expression"),
        ("{name: s, type: set, vars: {x: 1}, output_to: '{{ nope }}'}", "'nope' is not defined"),
        ("{name: s, type: transform, from: [], ops: [{filter: itm.x}]}", "'itm' is not defined here"),
        ("{name: s, type: transform, from: [], ops: [{sort: {by: '{{ itm.x }}'}}]}", "'itm' is not defined here"),
        ("{name: s, type: transform, from: '{{ item }}', ops: [{limit: 1}]}", "'item' is not defined here"),
    ],
)
def test_what_cannot_work_is_refused(step, message):
    assert message in of(step)[0].message


def test_inner_steps_see_those_above_them_only():
    step = (
        "{name: s, type: for_each, items: [1], steps: ["
        "{name: a, type: set, vars: {x: '{{ steps.b.data }}'}}, {name: b, type: set, vars: {x: '{{ steps.a.data }}'}}]}"
    )
    (problem,) = of(step)
    assert "steps.b is no step that is done before this one" in problem.message


def test_inner_needs_may_not_name_a_later_step():
    step = "{name: s, type: switch, value: '{{ inputs.goal }}', cases: {x: [%s, {name: b, type: set, vars: {x: 1}}]}}"
    (problem,) = of(step % "{name: a, type: set, vars: {x: 1}, needs: [b]}")
    assert "needs names 'b'" in problem.message


def test_a_variable_is_known_below_the_step_that_sets_it_also_through_a_switch():
    text = HEAD + (
        "  - {name: s, type: switch, value: '{{ inputs.goal }}', cases: {x: [{name: t, type: set, vars: {z: 1}}]}}\n"
        "  - {name: u, type: set, vars: {w: '{{ vars.z }}'}}\n"
    )
    assert load_string(text).warnings == []
    with pytest.raises(PipelineError, match=r"vars\.z is not set by any step above"):
        load_string(
            HEAD + "  - {name: u, type: set, vars: {w: '{{ vars.z }}'}}\n  - {name: s, type: set, vars: {z: 1}}\n"
        )


@pytest.mark.parametrize(
    ("steps", "loop"),
    [
        (
            (
                "[{name: a, type: set, vars: {x: '{{ steps.b.data }}'}},"
                " {name: b, type: set, vars: {x: '{{ steps.a.data }}'}}]"
            ),
            "a -> b -> a",
        ),
        (
            "[{name: a, type: set, vars: {x: 1}, needs: [b]}, {name: b, type: set, vars: {x: 1}, needs: [a]}]",
            "a -> b -> a",
        ),
        (
            (
                "[{name: a, type: command, run: [x], needs: [c]},"
                " {name: b, type: set, vars: {x: 1}}, {name: c, type: command, run: [x]}]"
            ),
            "a -> c -> a",
        ),
    ],
)
def test_steps_that_wait_for_one_another_are_refused(steps, loop):
    (problem,) = problems(f"name: p\nsteps: {steps}\n")
    names = problem.message.removeprefix("steps wait for one another: ").split(" -> ")
    assert names[0] == names[-1]
    assert set(names) == set(loop.split(" -> "))


def test_a_schedule_has_nobody_to_ask_for_inputs():
    text = (
        "name: p\ninputs: {repo: {type: path}}\nschedule: {cron: '0 2 * * *'}\n"
        "steps: [{name: s, type: set, vars: {x: 1}}]\n"
    )
    (problem,) = problems(text)
    assert (problem.line, "scheduled run" in problem.message) == (2, True)


def test_outputs_are_checked():
    (problem,) = problems(HEAD + "outputs:\n  fine: 1\n  bad: '{{ steps.nope.text }}'\n")
    assert (problem.line, "steps.nope" in problem.message) == (10, True)


@pytest.mark.parametrize(
    ("step", "warning"),
    [
        ("{name: s, type: set, vars: {x: 1}, when: false}", "step 's' can never run"),
        ("{name: s, type: set, vars: {x: 1}, when: '{{ false }}'}", "step 's' can never run"),
        ("{name: s, type: switch, value: x, cases: {x: [{name: t, type: set, vars: {x: 1}}]}}", "'x' never changes"),
        (
            "{name: s, type: switch, value: \"{{ 'x' }}\", cases: {x: [{name: t, type: set, vars: {x: 1}}]}}",
            "never changes",
        ),
        ("{name: s, type: for_each, items: [], steps: [{name: t, type: set, vars: {x: 1}}]}", "empty list"),
        (
            "{name: s, type: for_each, items: [1], steps: [{name: t, type: set, vars: {x: 1}, when: false}]}",
            "step 't' can never run",
        ),
    ],
)
def test_steps_that_nothing_can_reach_are_doubtful(step, warning):
    assert any(warning in message for message in warnings(step))


ASKS = "{name: i, type: llm, prompt: x}"
LOOP = '{name: on, type: while, max_iterations: 2, condition: "%s", steps: [%s]}'


@pytest.mark.parametrize(
    ("condition", "inner", "message"),
    [
        ("{{ steps.nobody.text == 'x' }}", ASKS, "steps.nobody is no step"),
        ("{{ vars.z }}", "{name: i, type: set, vars: {z: 1}}", "vars.z is not set by any step above"),
        ("{{ loop.index < 2 }} and", ASKS, "one expression"),
        ("{{ loop.index < 2 }}", "{name: index, type: llm, prompt: x}", "is kept for what every entry of a while's"),
        ("{{ loop.index < 2 }}", "{name: i, type: llm, prompt: '{{ steps.j.text }}'}", "steps.j is no step"),
    ],
)
def test_what_is_wrong_with_a_loop_is_refused(condition, inner, message):
    assert [message in problem.message for problem in of(LOOP % (condition, inner))] == [True]


def test_a_loops_steps_may_refer_to_the_turn_before():
    inner = "{name: i, type: set, vars: {z: '{{ steps.j.text or steps.i.data }}'}}, {name: j, type: llm, prompt: x}"
    assert warnings(LOOP % ("{{ steps.i.data and vars.z }}", inner)) == []


@pytest.mark.parametrize(
    "kind",
    [
        "while, condition: true, steps: [{name: i, type: llm, prompt: x}]",
        "pipeline, pipeline: {steps: [{name: i, type: llm, prompt: x}]}",
    ],
)
def test_a_composite_is_not_repeated_as_a_whole(kind):
    (problem,) = of(f"{{name: s, type: {kind}, retry: {{max_attempts: 2}}}}")
    assert "would repeat, and pay again for" in problem.message


@pytest.mark.parametrize("condition", ["true", "{{ 1 < 2 }}", "1 < 2"])
def test_a_condition_that_nothing_changes_is_doubtful(condition):
    (message,) = warnings(LOOP.replace('"%s"', "%s" if condition == "true" else '"%s"') % (condition, ASKS))
    assert "never changes" in message


@pytest.mark.parametrize(
    "step",
    [
        "{name: s, type: set, vars: {x: 1}, budget: {usd: 1}}",
        "{name: e, type: for_each, items: [1], budget: {tokens: 1}, steps: [{name: s, type: set, vars: {x: 1}}]}",
    ],
)
def test_a_budget_where_nothing_is_spent_is_refused(step):
    (problem,) = of(step)
    assert "asks no model, so it has nothing to spend" in problem.message
    assert problem.line == 8


@pytest.mark.parametrize(
    "budget", ["{usd: -1}", "{euro: 1}", "{call: {usd: x}}", "{call: {call: {usd: 1}}}", "{seconds: 0}"]
)
def test_a_budget_of_another_form_is_refused(budget):
    assert of(f"{{name: b, type: llm, prompt: x, budget: {budget}}}")
