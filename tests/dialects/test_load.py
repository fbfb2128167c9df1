import copy
import json
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elexirion_dagster.dialects.load import load_any, load_string
from elexirion_dagster.errors import PipelineError
from elexirion_dagster.yamlio import dump, load_text

SHIPPED = Path(__file__).parents[2] / "pipelines_yaml"
GOOD = (SHIPPED / "nightly_scan.yaml").read_text()

HEAD = """name: p
inputs: {repo: {type: path, default: "."}, goal: {type: string, default: x}}
steps:
"""


def refused(text, *, file=None):
    with pytest.raises(PipelineError) as caught:
        load_string(text, file=file)
    return caught.value.problems


def only(text):
    problems = refused(text)
    assert len(problems) == 1, [str(problem) for problem in problems]
    return problems[0]


def at(problem):
    return problem.line, problem.column


def test_a_problem_names_file_line_and_column():
    (problem,) = refused(
        "name: p\nsteps:\n  - name: s\n    type: set\n    vars: {x: 1}\n    wehn: true\n", file="a/p.yaml"
    )
    assert str(problem) == "a/p.yaml:6:5: unknown key 'wehn'\n  Did you mean 'when'?"


@pytest.mark.parametrize(
    ("step", "line", "message", "mend"),
    [
        ("  - {name: s, type: lmm, prompt: x}", 4, "unknown step type 'lmm'", "Did you mean 'llm'?"),
        ("  - {name: s, prompt: x}", 4, "the step has no type", "Types: llm, for_each"),
        ("  - {name: S-1, type: set, vars: {x: 1}}", 4, "'S-1' is no name", None),
        ("  - {type: set, vars: {x: 1}}", 4, "the key 'name' is missing", "Add it."),
        ("  - {name: s, type: llm}", 4, "expected exactly one of prompt and messages", None),
        ("  - {name: s, type: for_each, items: [1]}", 4, "the key 'steps' is missing", "Add it."),
        ("  - {name: s, type: llm, prompt: [a]}", 4, "prompt: expected a text, got ['a']", None),
        ("  - {name: s, type: llm, prompt: x, max_tokens: many}", 4, "max_tokens: expected a whole number", None),
        ("  - {name: s, type: llm, prompt: x, needs: a}", 4, "needs: expected a list, got 'a'", None),
        ("  - {name: s, type: analyze, paths: [], tools: [rufff]}", 4, "expected 'ruff'", "Did you mean 'ruff'?"),
        ("  - {name: s, type: for_each, items: [1], steps: []}", 4, "steps: expected at least 1 entry", None),
        ("  - {name: s, type: files}", 4, "exactly one of list, read, write", None),
        ("  - {name: s, type: files, list: {gti: null}}", 4, "unknown key 'gti'", "Did you mean 'git'?"),
        (
            "  - {name: s, type: transform, from_: [], ops: [{limit: 1}]}",
            4,
            "unknown key 'from_'",
            "Did you mean 'from'?",
        ),
        ('  - {name: s, type: command, run: "a \'b"}', 4, "cannot be split", None),
        ("  - {name: s, type: command, run: []}", 4, "expected at least 1", None),
        ("  - {name: s, type: llm, prompt: x, output: {a: strin}}", 4, "'strin' is no type", None),
        ("  - {name: s, type: llm, prompt: x, output: {type: object, minimum: x}}", 4, "no JSON Schema", None),
        ("  - {name: s, type: llm, prompt: x, output: {a: {type: string, pattern: '(?=x)'}}}", 4, "no RE2", None),
        ("  - {name: s, type: set, vars: {x: 1}, retry: {on: [overload]}}", 4, "expected 'overloaded'", "overloaded"),
        ("  - {name: s, type: set, vars: {x: 1}, retry: {max_attempts: 99}}", 4, "less than or equal to 20", None),
    ],
)
def test_a_wrong_shape_is_refused_where_it_stands(step, line, message, mend):
    found = refused(HEAD + step + "\n")
    matching = [problem for problem in found if message in problem.message]
    assert matching, [str(problem) for problem in found]
    assert matching[0].line == line
    assert mend is None or mend in matching[0].mend


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("naem: x\n", "unknown key 'naem'"),
        ("schedule: {cron: '0 2 * *'}\n", "five fields"),
        ("schedule: {cron: '61 2 * * *'}\n", "no minute"),
        ("schedule: {cron: '0 2 * * *', timezone: Europe/Berlino}\n", "no time zone"),
        ("budget: {usd: -1}\n", "greater than or equal to 0"),
        ("tags: {'a b': x}\n", "does not have the form"),
        ("asset: 'a b'\n", "does not have the form"),
        ("inputs: {x: {type: strin}}\n", "expected 'string'"),
        ("inputs: {x: {type: integer, default: a}}\n", "the default 'a' is not an integer"),
        ("inputs: {x: {type: integer, enum: [a]}}\n", "enum is for inputs of type string"),
        ("workspace: {worktree_of: x}\n", "names no input of type path"),
        ('workspace: {worktree_of: "{{ inputs.x }}"}\n', "inputs.x is not declared"),
        ('workspace: {worktree_of: "{{ run.id }}"}\n', "'run' is not known there"),
        ("fallback: [{on: [timeout]}]\n", "exactly one of change"),
        ("partitions: {by: line}\n", "expected 'file'"),
    ],
)
def test_a_wrong_root_key_is_refused_on_its_line(root, message):
    problem = only(f"name: p\n{root}steps: [{{name: s, type: set, vars: {{x: 1}}}}]\n")
    assert problem.line == 2
    assert message in problem.message


def test_every_fault_is_told_once_and_in_order():
    text = HEAD + "  - {name: s, type: llm, promt: x}\n  - {name: s2, type: sett, vars: {}}\n"
    assert [(problem.line, problem.message) for problem in refused(text)] == [
        (4, "unknown key 'promt'"),
        (5, "unknown step type 'sett'"),
    ]


@pytest.mark.parametrize(
    "text", ["", "[]", "just text", "- a", "a: b: c", "{", "name: p\n\tsteps: []", "&a [*a]", "!!python/x {}"]
)
def test_what_is_no_pipeline_at_all_is_refused_with_a_position(text):
    for problem in refused(text):
        assert problem.line
        assert problem.column


def test_the_name_is_the_file_s_stem(tmp_path):
    path = tmp_path / "other.yaml"
    path.write_text(HEAD + "  - {name: s, type: set, vars: {x: 1}}\n")
    with pytest.raises(PipelineError) as caught:
        load_any(path)
    assert caught.value.problems[0].mend == "Call the pipeline 'other' or the file p.yaml."


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(PipelineError, match="cannot read the file"):
        load_any(tmp_path / "none.yaml")


def test_doubts_are_warnings_and_the_pipeline_loads():
    loaded = load_string(
        HEAD.replace("steps", "on: push\nsteps", 1) + "  - {name: s, type: set, vars: {x: 1}, when: false}\n"
    )
    assert [(at(problem), problem.message[:24]) for problem in loaded.warnings] == [
        ((3, 1), "`on` is understood but n"),
        ((5, 40), "step 's' can never run"),
    ]


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["llm", "set", "for_each", "{{ steps.x }}", "{{", "{% for %}", "{{ 'a' * 10**9 }}", "((((", "p"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["name", "type", "steps", "items", "as", "prompt", "vars", "ops", "from", "when", "cases", "value"]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


def loads_or_is_refused(text):
    problems = ()
    try:
        load_string(text)
    except PipelineError as error:
        problems = error.problems or [None]
    assert all(problem and problem.line and problem.column and problem.message for problem in problems)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(JUNK)
def test_any_tree_loads_or_is_refused_with_a_position(tree):
    loads_or_is_refused(json.dumps(tree))


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200) | st.text(alphabet="{}[]:-&*!|>'\" \nabc", max_size=200))
def test_any_text_loads_or_is_refused_with_a_position(text):
    loads_or_is_refused(text)


def places(value, path=()):
    yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield from places(inner, (*path, key))


def mutated(data, chance, junk):
    """The document with up to three places removed, replaced, swapped or joined by junk."""
    for _ in range(chance.randint(1, 3)):
        *path, last = chance.choice([path for path in places(data) if path])
        parent = data
        for part in path:
            parent = parent[part]
        match chance.randint(0, 3):
            case 0:
                parent[last] = copy.deepcopy(junk)
            case 1:
                del parent[last]
            case 2 if isinstance(parent, dict):
                parent[chance.choice(["as_", "from_", "name", "type", "items", "on", "output", "retry", "needs"])] = (
                    copy.deepcopy(junk)
                )
            case _:
                parent[last] = chance.choice([[parent[last]], {"x": parent[last]}, str(parent[last])])
    return data


@settings(max_examples=250, deadline=None)
@given(st.integers(0, 10**9), JUNK)
def test_any_damaged_pipeline_loads_or_is_refused_with_a_position(seed, junk):
    damaged = mutated(load_text(GOOD).data, random.Random(seed), junk)  # noqa: S311 - reproducible damage
    loads_or_is_refused(json.dumps(damaged))


def test_a_long_chain_of_steps_is_no_matter_of_recursion():
    steps = [{"name": "s0", "type": "set", "vars": {"x": 0}}]
    steps += [{"name": f"s{n}", "type": "set", "vars": {"x": f"{{{{ steps.s{n - 1}.data }}}}"}} for n in range(1, 1500)]
    assert len(load_string(json.dumps({"name": "p", "steps": steps})).pipeline.steps) == 1500


def test_what_is_dumped_loads_the_same():
    data = load_text(GOOD).data
    assert load_string(dump(data)).pipeline == load_string(GOOD).pipeline


def test_a_worktree_is_made_of_a_path_input_only():
    text = (
        "name: p\ninputs: {x: {type: string}}\n"
        'workspace: {worktree_of: "{{ inputs.x }}"}\nsteps: [{name: s, type: set, vars: {x: 1}}]\n'
    )
    problem = only(text)
    assert (problem.line, "no input of type path" in problem.message) == (3, True)
