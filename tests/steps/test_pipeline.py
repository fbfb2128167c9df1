from pathlib import Path
from types import MappingProxyType

import pytest
from gated import Gate

from elexirion_dagster.dialects.load import load_any
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.fake import FakeProvider, Rule
from elexirion_dagster.records import StepResult, Usage
from elexirion_dagster.run import Run, RunInfo
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.children import pipeline_hash
from elexirion_dagster.store.home import Home, open_home
from elexirion_dagster.store.journal import lines
from elexirion_dagster.store.registry.promotions import promote
from elexirion_dagster.store.registry.prompts import save, slot_hash

INLINE = """
inputs: {word: {type: string, default: alpha}}
model: fake
steps:
  - {name: before, type: set, vars: {secret: 1}}
  - name: sub
    type: pipeline
    pipeline:
      inputs: {text: {type: string}, times: {type: integer, default: 2}}
      steps:
        - {name: said, type: llm, prompt: "{{ run.pipeline }} says {{ inputs.text }}"}
        - {name: again, type: set, vars: {twice: "{{ inputs.text * inputs.times }}"}}
      outputs: {said: "{{ steps.said.text }}", twice: "{{ vars.twice }}"}
    inputs: {text: "{{ inputs.word }}"}
  - {name: after, type: set, vars: {seen: "{{ steps.sub.data.twice }}"}}
"""


def test_an_inline_pipeline_gets_its_inputs_and_gives_its_outputs(start):
    rehearsed = start(INLINE, rules=[Rule(match="sub says alpha", text="yes")])
    results = rehearsed.all()
    assert results["sub"].status == "succeeded"
    assert results["sub"].data == {"said": "yes", "twice": "alphaalpha"}
    assert results["after"].data == {"seen": "alphaalpha"}
    assert (results["sub"].vars, results["sub"].usage is not None) == ({}, True)
    assert [line["path"] for line in rehearsed.lines("intent")] == ["sub.said"]


def test_the_steps_own_outputs_stand_in_for_the_pipelines(start):
    text = INLINE.replace("\n    inputs:", '\n    outputs: {only: "{{ steps.again.data.twice }}"}\n    inputs:')
    results = start(text.replace("steps.sub.data.twice", "steps.sub.data.only")).all()
    assert results["sub"].data == {"only": "alphaalpha"}


class Files:
    """Pipelines in files of one folder, run in this process on a scripted model."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.home = home
        self.runs: list[Run] = []

    def write(self, **texts: str) -> None:
        for name, text in texts.items():
            (self.folder / f"{name}.yaml").write_text(f"name: {name}\n{text}")

    def run(self, name, *, rules=(), root=None, fake=None, environ=MappingProxyType({}), **inputs):
        loaded = load_any(self.folder / f"{name}.yaml", {path.stem: path for path in self.folder.glob("*.yaml")})
        run_id = f"run-{len(self.runs)}"
        self.fake = fake or FakeProvider(rules)
        run = Run(
            loaded.pipeline,
            RunInfo(run_id, root or run_id, inputs, {}, "test"),
            Settings(home=self.home, model="fake", environ=environ),
            opened={"fake": self.fake},
            pipelines=loaded.pipelines,
        )
        self.runs.append(run)
        results: dict[str, StepResult] = {}
        for step in run.pipeline.steps:
            results[step.name] = StepResult.from_json(run.step(step, results).to_json())
        return results

    def lines(self, kind):
        return [line for line in lines(Home(self.home), self.runs[-1].info.root_run) if line["kind"] == kind]


@pytest.fixture
def files(tmp_path, home_path):
    folder = tmp_path / "pipelines"
    folder.mkdir()
    made = Files(folder, home_path)
    yield made
    for run in made.runs:
        run.close()


PARENT = "steps:\n- {name: sub, type: pipeline, pipeline: child%s}\n"


def test_a_pipeline_is_run_by_name_and_by_path(files):
    (files.folder / "below").mkdir()
    files.write(child="steps: [{name: s, type: set, vars: {x: 1}}]\noutputs: {x: '{{ vars.x }}'}\n")
    files.write(named=PARENT % "")
    files.write(pathed="steps: [{name: sub, type: pipeline, pipeline: ./below/deep.yaml}]\n")
    (files.folder / "below" / "deep.yaml").write_text(
        "name: deep\nsteps: [{name: s, type: pipeline, pipeline: ./leaf.yaml}]\noutputs: {x: '{{ steps.s.data.x }}'}\n"
    )
    (files.folder / "below" / "leaf.yaml").write_text(
        "name: leaf\nsteps: [{name: s, type: set, vars: {x: 2}}]\noutputs: {x: '{{ vars.x }}'}\n"
    )
    assert files.run("named")["sub"].data == {"x": 1}
    assert files.run("pathed")["sub"].data == {"x": 2}


def test_nothing_of_the_parent_leaks_into_the_child(files):
    files.write(
        child="env: [CHILD]\nsteps: [{name: s, type: set, vars: {seen: '{{ env }} {{ vars }} {{ steps }}'}}]\n"
        "outputs: {seen: '{{ vars.seen }}'}\n",
        parent="env: [PARENT]\nsteps:\n- {name: v, type: set, vars: {x: 1}}\n"
        "- {name: sub, type: pipeline, pipeline: child}\n",
    )
    environ = {"PARENT": "p", "CHILD": "c"}
    assert files.run("parent", environ=environ)["sub"].data == {"seen": '{"CHILD": "c"} {} {}'}


def test_a_childs_secret_environment_is_redacted_in_the_journal(files):
    files.write(
        child="env: [CHILD_TOKEN]\nsteps: [{name: s, type: set, vars: {seen: '{{ env.CHILD_TOKEN }}'}}]\n",
        parent=PARENT % ", outputs: {seen: '{{ vars.seen }}'}",
    )
    data = files.run("parent", environ={"CHILD_TOKEN": "vq8s2nlwpd"})["sub"].data
    assert "vq8s2nlwpd" not in str(data)
    assert "vq8s2nlwpd" not in str(files.lines("step"))


def test_another_text_of_the_child_is_other_work_and_the_same_is_not_done_twice(files):
    files.write(child="model: fake\nsteps: [{name: ask, type: llm, prompt: one}]\n", parent=PARENT % "")
    files.run("parent")
    first = pipeline_hash(files.runs[-1].pipeline, load_any(files.folder / "parent.yaml", _known(files)).pipelines)
    files.run("parent", root="run-0")
    assert len(files.fake.requests) == 0
    files.write(child="model: fake\nsteps: [{name: ask, type: llm, prompt: two}]\n")
    files.run("parent", root="run-0")
    assert len(files.fake.requests) == 1
    hashes = [line["pipeline_hash"] for line in files.lines("run_started")]
    assert hashes[0] == hashes[1] == first != hashes[2]


def _known(files):
    return {path.stem: path for path in files.folder.glob("*.yaml")}


def test_a_named_child_uses_the_prompts_of_its_own_name_and_an_inline_one_those_of_the_document(files):
    files.write(
        child="model: fake\nsteps: [{name: ask, type: llm, system: Old., prompt: hello}]\n",
        parent=(
            "model: fake\nsteps:\n- {name: sub, type: pipeline, pipeline: child}\n"
            "- {name: own, type: pipeline, pipeline: {steps: [{name: ask, type: llm, system: Old., prompt: hello}]}}\n"
        ),
    )
    home, base = open_home(files.home), slot_hash("Old.", [])
    for pipeline, step, system in (("child", "ask", "From child."), ("parent", "own.ask", "From parent.")):
        texts = {"base_hash": base, "system": system, "examples": [], "scores": {}}
        promote(
            home,
            pipeline,
            step,
            save(home, pipeline, step, parent=None, model=None, **texts).hash,
            why="better",
            by="person",
        )
    files.run("parent")
    assert [request.system for request in files.fake.requests] == ["From child.", "From parent."]
    assert {line["name"] for line in files.lines("pin")} >= {"prompt:child/ask", "prompt:own.ask"}


def test_the_model_around_holds_where_a_child_names_none(files):
    files.write(
        silent="steps: [{name: ask, type: llm, prompt: x}]\n",
        telling="model: fake/two\nsteps: [{name: ask, type: llm, prompt: x}]\n",
        parent="model: fake/one\nsteps:\n- {name: a, type: pipeline, pipeline: silent}\n"
        "- {name: b, type: pipeline, pipeline: telling}\n",
    )
    files.run("parent")
    assert [request.model for request in files.fake.requests] == ["one", "two"]


def test_a_childs_retry_holds_inside(files):
    files.write(
        child="retry: {max_attempts: 2, initial_s: 0}\nmodel: fake\nsteps: [{name: ask, type: llm, prompt: x}]\n",
        parent="retry: {max_attempts: 1}\nsteps: [{name: sub, type: pipeline, pipeline: child}]\n",
    )
    rules = [Rule(error=ProviderError("busy", cause="overloaded"), times=1), Rule(text="ok")]
    assert files.run("parent", rules=rules)["sub"].status == "succeeded"


DEEP = """
inputs: {n: {type: integer, default: 1}}
steps:
  - name: down
    type: pipeline
    pipeline: deep
    when: "{{ inputs.n < %d }}"
    max_depth: %d
    inputs: {n: "{{ inputs.n + 1 }}"}
  - {name: here, type: set, vars: {depth: "{{ steps.down.data.depth if steps.down.data else inputs.n }}"}}
outputs: {depth: "{{ vars.depth }}"}
"""


def test_a_pipeline_may_run_itself_as_deep_as_it_says(files):
    files.write(deep=DEEP % (30, 30))
    assert files.run("deep")["here"].data == {"depth": 30}


def test_recursion_ends_at_max_depth(files):
    files.write(deep=DEEP % (9, 3))
    down = files.run("deep")["down"]
    assert (down.status, down.error.cause) == ("failed", "max_turns")
    assert "is under way 3 times already" in down.error.message


def test_a_childs_path_inputs_lie_inside_what_the_parent_may_read(files, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("hello")
    files.write(
        child="inputs: {at: {type: path}}\nsteps: [{name: r, type: files, read: {path: '{{ inputs.at }}/a.txt'}}]\n"
        "outputs: {text: '{{ steps.r.text }}'}\n",
        parent="inputs: {mine: {type: path}, asked: {type: string}}\n"
        "steps: [{name: sub, type: pipeline, pipeline: child, inputs: {at: '{{ inputs.asked }}'}}]\n",
    )
    mine = str(tmp_path / "mine")
    assert files.run("parent", mine=mine, asked=mine)["sub"].data == {"text": "hello"}
    refused = files.run("parent", mine=mine, asked=str(tmp_path))["sub"]
    assert (refused.status, refused.error.cause) == ("failed", "tool_denied")


def test_a_child_may_not_read_what_only_the_parent_was_given(files, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("hello")
    files.write(
        child="inputs: {at: {type: string}}\nsteps: [{name: r, type: files, read: {path: '{{ inputs.at }}'}}]\n",
        parent="inputs: {mine: {type: path}}\n"
        "steps: [{name: sub, type: pipeline, pipeline: child, inputs: {at: '{{ inputs.mine }}/a.txt'}}]\n",
    )
    refused = files.run("parent", mine=str(tmp_path / "mine"))["sub"]
    assert (refused.status, refused.error.cause) == ("failed", "tool_denied")


def test_independent_steps_of_a_child_run_at_the_same_time(start):
    text = """
model: fake
steps:
  - name: sub
    type: pipeline
    pipeline:
      steps:
        - {name: one, type: llm, prompt: "1"}
        - {name: two, type: llm, prompt: "2"}
        - {name: both, type: set, vars: {x: "{{ steps.one.text }}{{ steps.two.text }}"}}
"""
    two = Gate(2)
    assert start(text, opened={"fake": two}).all()["sub"].status == "succeeded"
    assert two.peak == 2


def test_a_childs_limit_of_threads_holds_inside(files):
    files.write(
        child="limits: {threads: 2}\nmodel: fake\nsteps:\n- {name: each, type: for_each, items: [1, 2, 3, 4],"
        " max_parallel: 4, steps: [{name: ask, type: llm, prompt: '{{ item }}'}]}\n",
        parent="limits: {threads: 8}\n" + PARENT % "",
    )
    two = Gate(2)
    assert files.run("parent", fake=two)["sub"].status == "succeeded"
    assert two.peak == 2


def test_a_failure_inside_is_the_steps_and_what_was_spent_is_told(start):
    text = INLINE.replace("{{ inputs.text * inputs.times }}", "{{ inputs.text / 2 }}")
    sub = start(text).all()["sub"]
    assert (sub.status, sub.error.cause, sub.data) == ("failed", "bad_input", None)
    assert sub.usage is not None


def test_a_session_inside_is_a_conversation_of_its_own(start):
    text = """
model: fake
steps:
  - {name: before, type: llm, session: talk, prompt: outside}
  - name: each
    type: for_each
    items: [a, b]
    steps:
      - name: sub
        type: pipeline
        inputs: {x: "{{ item }}"}
        pipeline:
          inputs: {x: {type: string}}
          steps:
            - {name: one, type: llm, session: talk, prompt: "first {{ inputs.x }}"}
            - {name: two, type: llm, session: talk, prompt: "second {{ inputs.x }}"}
"""
    rehearsed = start(text)
    assert rehearsed.all()["each"].status == "succeeded"
    asked = [[turn.content[0].text for turn in request.messages[::2]] for request in rehearsed.fake.requests]
    assert sorted(asked) == [
        ["first a"],
        ["first a", "second a"],
        ["first b"],
        ["first b", "second b"],
        ["outside"],
    ]


def test_the_budget_of_a_child_is_spent_by_its_own_calls_only(files):
    files.write(
        child="budget: {tokens: 3000}\nmodel: fake\nsteps: [{name: ask, type: llm, prompt: x, max_tokens: 2000}]\n",
        parent="steps:\n- {name: before, type: llm, prompt: x, max_tokens: 2900}\n"
        "- name: each\n  type: for_each\n  items: [1, 2]\n  steps: [{name: sub, type: pipeline, pipeline: child}]\n"
        "- {name: more, type: pipeline, pipeline: {budget: {tokens: 3000}, steps: ["
        "{name: one, type: llm, prompt: x, max_tokens: 2000}, {name: two, type: llm, needs: [one], prompt: x,"
        " max_tokens: 2000}]}}\n",
    )
    rules = [Rule(text="x", usage=Usage(input_tokens=10, output_tokens=1500))]
    results = files.run("parent", rules=rules)
    assert [results[name].status for name in ("before", "each", "more")] == ["succeeded", "succeeded", "failed"]
    assert results["more"].error.cause == "budget_exceeded"
    assert results["more"].usage.output_tokens == 1500


def test_the_budget_of_seconds_ends_a_child_in_the_middle(start):
    text = """
steps:
  - name: sub
    type: pipeline
    pipeline: {budget: {seconds: 0.3}, steps: [{name: wait, type: command, run: "sleep 60"}]}
"""
    sub = start(text).all()["sub"]
    assert (sub.status, sub.error.cause) == ("failed", "timeout")


def test_without_a_model_a_child_of_model_calls_is_skipped_with_the_reason(start):
    body = "{steps: [{name: a, type: llm, prompt: x}], outputs: {x: '{{ steps.a.text }}'}}"
    text = f"steps:\n- {{name: sub, type: pipeline, pipeline: {body}}}\n"
    sub = start(text, tags={"elexirion/model": "none"}).all()["sub"]
    assert (sub.status, sub.cost_usd, sub.usage) == ("skipped", None, None)
    assert "--no-model" in sub.reason
