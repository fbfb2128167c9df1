import pytest

from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.errors import PipelineError


def load(keys):
    return load_string(f"name: p\nsteps:\n  - {{name: s, type: llm, {keys}}}\n").pipeline.steps[0]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("prompt: a, messages: [{role: user, content: b}]", "exactly one of prompt and messages"),
        ("messages: [{role: assistant, content: b}]", "the last of messages must be the user's"),
        ("messages: [{role: system, content: b}]", "expected 'user' or 'assistant', got 'system'"),
        ("prompt: a, tools: [raed]", "expected 'read', 'write', 'edit', 'glob' or 'grep', got 'raed'"),
        ("prompt: a, tools: [command]", "command needs the programs it may run"),
        ("prompt: a, tools: [read, read]", "tools names read twice"),
        ("prompt: a, tools: [write], samples: 2", "give them read, glob and grep only"),
        ("prompt: a, session: Chat", "'Chat' is no name"),
        ("prompt: a, session: {name: chat, scope: pipline}", "expected 'run' or 'pipeline', got 'pipline'"),
        ("prompt: a, fallback: {}", "exactly one of prompt and answer"),
        ("prompt: a, fallback: {prompt: b, answer: c}", "exactly one of prompt and answer"),
        ("prompt: a, output: {n: integer}, fallback: {answer: {n: many}}", "'many' is not of type 'integer' at $.n"),
    ],
)
def test_what_cannot_be_meant_is_refused_once(keys, message):
    with pytest.raises(PipelineError) as caught:
        load(keys)
    (problem,) = caught.value.problems
    assert message in problem.message
    assert problem.line == 3


@pytest.mark.parametrize(
    ("tools", "effect"),
    [("[]", "pure"), ("[read, glob, grep]", "read"), ("[read, edit]", "write"), ("[{command: [ls]}]", "write")],
)
def test_a_model_with_tools_writes_unless_all_of_them_read(tools, effect):
    assert load(f"prompt: a, tools: {tools}").default_effect() == effect


def test_a_prompt_is_a_conversation_of_one_turn():
    assert load("prompt: a").turns() == load("messages: [{role: user, content: a}]").turns()


def test_an_answer_that_waits_for_its_templates_is_checked_later():
    step = load('prompt: a, output: {n: integer}, fallback: {answer: {n: "{{ run.id }}"}}')
    assert step.fallback.answer == {"n": "{{ run.id }}"}


PARALLEL = """name: p
steps:
  - name: each
    type: for_each
    items: [1, 2]%s
    steps:
      - name: ways
        type: switch
        value: "{{ item }}"
        cases: {"1": [{name: ask, type: llm, prompt: x, session: chat}]}
"""


def test_a_session_where_items_run_at_once_is_refused_with_the_mend():
    with pytest.raises(PipelineError) as caught:
        load_string(PARALLEL % "")
    (problem,) = caught.value.problems
    assert problem.line == 10
    assert "'each' works on 8 items at once" in problem.message
    assert "max_parallel: 1 on each" in problem.mend
    assert load_string(PARALLEL % "\n    max_parallel: 1").pipeline.name == "p"


def test_one_session_has_one_scope():
    text = "name: p\nsteps:\n  - {name: a, type: llm, prompt: x, session: chat}\n"
    text += "  - {name: b, type: llm, prompt: x, session: {name: chat, scope: pipeline}}\n"
    with pytest.raises(PipelineError, match="scope pipeline here and run above"):
        load_string(text)


@pytest.mark.parametrize(
    "keys",
    [
        'prompt: " "',
        'messages: [{role: user, content: "\\n"}]',
        'prompt: x, fallback: {prompt: " "}',
        'prompt: x, examples: [{prompt: " ", answer: a}]',
        'prompt: x, examples: [{prompt: a, answer: ""}]',
    ],
)
def test_what_a_provider_would_refuse_as_empty_is_refused_when_the_document_is_read(keys):
    with pytest.raises(PipelineError) as caught:
        load_string(f"name: p\nsteps:\n  - {{name: a, type: llm, {keys}}}")
    (problem,) = caught.value.problems
    assert (problem.line, "white space" in problem.message) == (3, True)
