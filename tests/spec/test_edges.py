"""Golden graphs: what each step waits for, readable beside the steps."""

import json

import pytest

from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.expressions import Engine
from elexirion_dagster.spec.edges import edges, outputs_edges


def graph(*steps, outputs=None):
    document = {"name": "p", "inputs": {"x": {"type": "string", "default": "a"}}, "steps": list(steps)}
    pipeline = load_string(json.dumps({**document, "outputs": outputs or {}})).pipeline
    found = edges(pipeline.steps, Engine())
    if outputs is not None:
        found = {**found, "outputs": outputs_edges(pipeline, found, Engine())}
    return {name: " ".join(waits) for name, waits in found.items()}


def llm(name, prompt="x", **keys):
    return {"name": name, "type": "llm", "prompt": prompt, **keys}


def assign(name, **variables):
    return {"name": name, "type": "set", "vars": variables}


def read(name, **keys):
    return {"name": name, "type": "files", "list": {}, **keys}


def write(name, text="x"):
    return {"name": name, "type": "files", "write": {"path": name, "text": text}}


def command(name, *args, **keys):
    return {"name": name, "type": "command", "run": ["true", *args], **keys}


def each(name, *steps, items="{{ [1] }}", **keys):
    return {"name": name, "type": "for_each", "items": items, "steps": list(steps), **keys}


def switch(name, **cases):
    return {
        "name": name,
        "type": "switch",
        "value": "{{ inputs.x }}",
        "cases": {case: [step] for case, step in cases.items()},
    }


def test_pure_steps_wait_for_what_they_refer_to_and_nothing_else():
    assert graph(
        llm("a"), llm("b"), llm("c", "{{ steps.a.text }}"), llm("d", "{{ steps.c.text }} {{ steps.b.text }}")
    ) == {
        "a": "",
        "b": "",
        "c": "a",
        "d": "b c",
    }


def test_a_reference_may_point_down_the_list():
    assert graph(llm("a", "{{ steps.b.text }}"), llm("b")) == {"a": "b", "b": ""}


def test_conditions_and_output_names_are_references_too():
    found = graph(llm("a"), llm("b"), {**assign("c", v=1), "when": "steps.a.status == 'failed'"})
    assert found == {"a": "", "b": "", "c": "a"}


def test_writes_keep_their_order_and_wait_for_earlier_reads():
    assert graph(read("r1"), read("r2"), write("w1"), read("r3"), command("w2"), llm("free")) == {
        "r1": "",
        "r2": "",
        "w1": "r1 r2",
        "r3": "w1",
        "w2": "r3",
        "free": "",
    }


def test_reads_do_not_wait_for_one_another():
    assert graph(write("w"), read("a"), read("b")) == {"w": "", "a": "w", "b": "w"}


def test_an_order_that_other_edges_imply_is_left_out():
    assert graph(write("w1"), write("w2"), read("r"), write("w3")) == {"w1": "", "w2": "w1", "r": "w2", "w3": "r"}
    assert graph(read("r"), llm("a", "{{ steps.r.data }}"), write("w", "{{ steps.a.text }}")) == {
        "r": "",
        "a": "r",
        "w": "a",
    }


def test_output_to_is_a_write_and_effects_overrule_the_type():
    assert graph(llm("a", output_to="a.txt"), read("r")) == {"a": "", "r": "a"}
    assert graph(command("a", effects="pure"), command("b", effects="read"), read("r")) == {"a": "", "b": "", "r": ""}


@pytest.mark.parametrize(
    "prompt",
    [
        "{{ steps.r.data.files[0].text }}",
        "{% for f in steps.r.data.files %}{{ f.text }}{% endfor %}",
        "{{ steps.r.data.files | map(attribute='text') | list }}",
        "{{ steps.r.data.files[0]['text'] }}",
    ],
)
def test_the_text_of_a_listed_file_is_a_read_wherever_it_stands(prompt):
    assert graph(read("r"), write("w"), llm("a", prompt))["a"] == "r w"


def test_the_text_of_a_result_is_no_read():
    assert graph(llm("x"), write("w"), llm("a", "{{ steps.x.text }} {{ steps['x'].text }}"))["a"] == "x"


def test_a_composite_has_the_effects_of_its_parts():
    assert graph(read("r"), each("e", write("inner")), read("s")) == {"r": "", "e": "r", "s": "e"}
    assert graph(write("w"), each("e", llm("look", "{{ item.text }}")))["e"] == "w"
    assert graph(write("w"), switch("s", a=command("inner")), read("r")) == {"w": "", "s": "w", "r": "s"}
    assert graph(write("w"), each("e", llm("look", "{{ item }}")))["e"] == ""


def test_a_composite_waits_for_what_its_parts_refer_to_outside():
    found = graph(llm("a"), llm("b"), each("e", llm("i", "{{ steps.a.text }}"), llm("j", "{{ steps.i.text }}")))
    assert found["e"] == "a"


def test_uses_of_one_variable_stand_in_program_order():
    found = graph(
        assign("s1", v=1, w=1),
        llm("r1", "{{ vars.v }}"),
        llm("r2", "{{ vars.w }}"),
        assign("s2", v=2),
        llm("r3", "{{ vars.v }}"),
        llm("none"),
    )
    assert found == {"s1": "", "r1": "s1", "r2": "s1", "s2": "r1", "r3": "s1 s2", "none": ""}


def test_a_variable_set_in_a_branch_is_waited_for_and_one_set_in_a_loop_is_not():
    found = graph(assign("s", v=1), switch("c", a=assign("i", v=2)), llm("r", "{{ vars.v }}"))
    assert found == {"s": "", "c": "s", "r": "s c"}
    found = graph(assign("s", v=1), each("e", assign("i", v=2)), llm("r", "{{ vars.v }}"))
    assert found == {"s": "", "e": "", "r": "s"}


def test_a_reader_of_any_variable_goes_before_later_writers():
    found = graph(assign("s1", v=1), assign("s2", w=1), llm("any", "{{ vars[inputs.x] }}"), assign("s3", v=2))
    assert found == {"s1": "", "s2": "", "any": "s1 s2", "s3": "any"}


def test_a_reader_of_any_step_waits_for_all_above_it():
    assert graph(llm("a"), llm("b"), llm("c", "{{ steps[inputs.x].text }}"), llm("d"))["c"] == "a b"


def test_needs_adds_an_edge():
    assert graph(llm("a"), llm("b", needs=["a"])) == {"a": "", "b": "a"}


def test_outputs_wait_for_what_they_refer_to_and_for_every_end():
    steps = (llm("a"), llm("b", "{{ steps.a.text }}"), llm("c"), assign("s", v=1), llm("d", "{{ vars.v }}"))
    assert graph(*steps, outputs={"x": "{{ steps.a.text }}"})["outputs"] == "a b c d"
    assert graph(*steps, outputs={"x": "{{ vars.v }}"})["outputs"] == "b c s d"
    assert graph(*steps, outputs={"x": "{{ steps[inputs.x].text }}"})["outputs"] == "a b c s d"


def test_the_main_job_reviews_beside_nothing_it_does_not_need():
    from pathlib import Path

    text = (Path(__file__).parents[2] / "pipelines_yaml" / "nightly_scan.yaml").read_text()
    found = edges(load_string(text).pipeline.steps, Engine())
    assert found == {
        "tracked": (),
        "analyze": ("tracked",),
        "tree": (),
        "source": ("tracked", "tree"),
        "changes": ("tracked",),
        "imports": ("source",),
        "uses": ("imports",),
        "symbols": ("uses",),
        "subjects": ("tracked", "analyze", "changes", "uses", "symbols"),
        "review": ("tracked", "subjects"),
        "reviewed": ("review",),
        "verdicts": ("reviewed",),
        "claims": ("tracked", "analyze", "reviewed"),
    }


def test_two_thousand_steps_are_no_matter():
    steps = [write("w0"), *(read(f"r{number}") for number in range(2000)), write("w1")]
    assert len(graph(*steps)["w1"].split()) == 2000


def test_calls_of_one_session_come_in_program_order_and_others_beside_them():
    inner = {"name": "pick", "type": "switch", "value": "a", "cases": {"a": [llm("deep", session="chat")]}}
    found = graph(llm("a", session="chat"), llm("b"), inner, llm("c", session={"name": "chat"}), llm("d", session="e"))
    assert found == {"a": "", "b": "", "pick": "a", "c": "pick", "d": ""}


def test_a_model_with_tools_keeps_the_order_of_what_they_do():
    found = graph(llm("look", tools=["read"]), llm("other", tools=["grep"]), llm("mend", tools=["edit"]), llm("free"))
    assert found == {"look": "", "other": "", "mend": "look other", "free": ""}


def test_a_join_and_a_query_wait_for_what_their_lists_and_parameters_refer_to():
    ops = [{"join": {"with": "{{ steps.a.data.list }}", "on": "k"}}, {"filter": "item.k > steps.b.data.least"}]
    ask = {"type": "sql", "query": "FROM t WHERE k = $k"}
    columns = {"columns": {"k": "integer"}}
    assert graph(
        assign("a", list=[{"k": 1}]),
        assign("b", least=0),
        {"name": "joined", "type": "transform", "from": [{"k": 1}], "ops": ops},
        {
            "name": "asked",
            **ask,
            "tables": {"t": "{{ steps.joined.data }}"},
            "parameters": {"k": "{{ steps.b.data.x }}"},
        },
        {
            "name": "typed",
            **ask,
            "tables": {"t": {"from": "{{ steps.a.data.list }}", **columns}},
            "parameters": {"k": 1},
        },
    ) == {"a": "", "b": "", "joined": "a b", "asked": "b joined", "typed": "a"}
