import pytest

from elexirion_dagster.dialects.load import load_any, load_string
from elexirion_dagster.errors import PipelineError

CALL = "steps:\n- name: sub\n  type: pipeline\n  pipeline: {}\n"
LEAF = "steps: [{name: s, type: set, vars: {x: 1}}]\n"


@pytest.fixture
def place(tmp_path):
    """Write files by their place; a name and its text give the file's name key too."""

    def write(**texts):
        for name, text in texts.items():
            path = tmp_path / f"{name.replace('__', '/')}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"name: {path.stem}\n{text}")
        return tmp_path

    return write


def problems(path, known=()):
    with pytest.raises(PipelineError) as caught:
        load_any(path, {file.stem: file for file in known})
    return caught.value.problems


def test_everything_a_pipeline_may_run_comes_with_it(place):
    folder = place(a=CALL.format("./sub/b.yaml"), sub__b=CALL.format("./c.yaml"), sub__c=LEAF)
    assert sorted(load_any(folder / "a.yaml").pipelines) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("reference", "message", "mend"),
    [
        ("leef", "there is no pipeline 'leef'", "Did you mean 'leaf'?"),
        ("other", "there is no pipeline 'other'", "./other.yaml"),
        ("./other.yaml", "the file ./other.yaml does not exist", None),
        ("./leav.yaml", "the file ./leav.yaml does not exist", "Did you mean 'leaf.yaml'?"),
        ("../missing.yaml", "the file ../missing.yaml does not exist", None),
        ("../outside.yaml", "leads out of", "below the folder"),
        ("/etc/passwd", "leads out of", "below the folder"),
    ],
)
def test_a_reference_that_leads_nowhere_is_refused_on_its_line(place, reference, message, mend):
    folder = place(docs__a=CALL.format(reference), docs__leaf=LEAF, outside=LEAF) / "docs"
    (problem,) = problems(folder / "a.yaml", known=[folder / "leaf.yaml"])
    assert (problem.line, message in problem.message) == (5, True)
    assert mend is None or mend in problem.mend


def test_a_link_out_of_the_folder_is_refused(place):
    folder = place(docs__a=CALL.format("./outside.yaml"), outside=LEAF)
    (folder / "docs" / "outside.yaml").symlink_to(folder / "outside.yaml")
    assert "leads out of" in problems(folder / "docs" / "a.yaml")[0].message


def test_a_file_in_the_folder_of_a_known_pipeline_may_be_run(place):
    folder = place(docs__a=CALL.format("../shared/b.yaml"), shared__b=LEAF, shared__c=LEAF)
    assert "b" in load_any(folder / "docs" / "a.yaml", {"c": folder / "shared" / "c.yaml"}).pipelines


def test_a_fault_in_a_child_is_told_with_the_childs_file_and_line(place):
    folder = place(a=CALL.format("./b.yaml"), b="steps:\n- {name: s, type: set, vars: {x: '{{ nothing }}'}}\n")
    (problem,) = problems(folder / "a.yaml")
    assert (problem.file, problem.line) == (str(folder / "b.yaml"), 3)


def test_two_files_of_one_name_cannot_meet(place):
    folder = place(a=CALL.format("./sub/b.yaml") + "- {name: other, type: pipeline, pipeline: ./b.yaml}\n", b=LEAF)
    place(sub__b=LEAF)
    assert "are both called b" in problems(folder / "a.yaml")[0].message


def test_a_text_without_a_file_knows_names_only(place):
    folder = place(leaf=LEAF)
    known = {"leaf": folder / "leaf.yaml"}
    assert set(load_string(f"name: p\n{CALL.format('leaf')}", known=known).pipelines) == {"p", "leaf"}
    with pytest.raises(PipelineError, match="this document is none"):
        load_string(f"name: p\n{CALL.format('./leaf.yaml')}", known=known)


@pytest.mark.parametrize(
    ("first", "second", "faults"),
    [
        ("pipeline: ./a.yaml", None, ["a runs itself, and sub does not say how deep"]),
        ("pipeline: ./a.yaml, max_depth: 3", None, []),
        ("pipeline: ./b.yaml", "pipeline: ./a.yaml", ["b, which comes to run a again", "a, which comes to run b"]),
        ("pipeline: ./b.yaml, max_depth: 2", "pipeline: ./a.yaml", ["a, which comes to run b again"]),
        ("pipeline: ./b.yaml, max_depth: 2", "pipeline: ./a.yaml, max_depth: 2", []),
    ],
)
def test_going_round_needs_a_depth_at_every_step(place, first, second, faults):
    folder = place(a=f"steps: [{{name: sub, type: pipeline, {first}}}]\n", b=LEAF)
    if second:
        place(b=f"steps: [{{name: sub, type: pipeline, {second}}}]\n")
    if not faults:
        assert load_any(folder / "a.yaml").pipeline.name == "a"
        return
    found = problems(folder / "a.yaml")
    assert len(found) == len(faults)
    assert all(fault in problem.message for fault, problem in zip(faults, found, strict=True))


TAKING = "inputs: {goal: {type: string}, times: {type: integer, default: 1}}\n" + LEAF


@pytest.mark.parametrize(
    ("inputs", "message", "mend"),
    [
        ("{gaol: x, goal: y}", "b has no input 'gaol'", "Did you mean 'goal'?"),
        ("{}", "b needs the input goal (string)", "Give it under inputs of sub."),
        ("{goal: x, times: many}", "the input times of b must be an integer, got 'many'", None),
    ],
)
def test_wrong_inputs_are_refused_before_a_run(place, inputs, message, mend):
    folder = place(a=f"steps:\n- {{name: sub, type: pipeline, pipeline: ./b.yaml, inputs: {inputs}}}\n", b=TAKING)
    (problem,) = problems(folder / "a.yaml")
    assert (problem.line, problem.message, problem.mend) == (3, message, mend)


def test_outputs_of_the_step_are_checked_in_the_childs_scope(place):
    outputs = "outputs: {x: '{{ steps.t.data }}', y: '{{ steps.s.data }}'}"
    folder = place(a=f"steps:\n- {{name: sub, type: pipeline, pipeline: ./b.yaml, {outputs}}}\n", b=LEAF)
    (problem,) = problems(folder / "a.yaml")
    assert "steps.t is no step" in problem.message


@pytest.mark.parametrize(
    ("body", "line", "message"),
    [
        ("      stepps: []\n      steps: [{name: s, type: set, vars: {x: 1}}]\n", 8, "unknown key 'stepps'"),
        ("      steps:\n      - {name: s, type: sett, vars: {x: 1}}\n", 9, "unknown step type 'sett'"),
        (
            "      steps:\n      - {name: s, type: set, vars: {x: '{{ inputs.repo }}'}}\n",
            9,
            "inputs.repo is not declared",
        ),
        (
            "      steps:\n      - {name: s, type: set, vars: {x: '{{ steps.above.data }}'}}\n",
            9,
            "steps.above is no step",
        ),
        (
            "      steps: [{name: s, type: set, vars: {x: 1}}]\n      outputs: {y: '{{ vars.z }}'}\n",
            9,
            "vars.z is not set",
        ),
    ],
)
def test_what_is_wrong_inside_an_inline_pipeline_is_told_on_its_line(body, line, message):
    head = "name: p\ninputs: {repo: {type: string, default: x}}\nsteps:\n- {name: above, type: set, vars: {x: 1}}\n"
    with pytest.raises(PipelineError) as caught:
        load_string(f"{head}- name: sub\n  type: pipeline\n  pipeline:\n{body}")
    (problem,) = caught.value.problems
    assert problem.line == line
    assert message in problem.message
