"""Documents written for pipeline_ex come to native steps: roots, names, defaults, presets, inputs, files, faults."""

import json

import pytest

from elexirion_dagster.dialects.load import load_any, load_string
from elexirion_dagster.errors import PipelineError
from elexirion_dagster.expressions import Engine
from elexirion_dagster.spec.edges import edges
from elexirion_dagster.yamlio import dump


def native(text, **options):
    """The steps of the native document by name, as plain data."""
    loaded = load_string(text, **options)
    return {step["name"]: step for step in loaded.document.data["steps"]}


def said(text, key):
    """What the list says of a key."""
    return [note.said for note in load_string(text).notes if note.key == key]


def refused(text, **options):
    with pytest.raises(PipelineError) as caught:
        load_string(text, **options)
    return caught.value.problems


def flow(steps, **root):
    return dump({"workflow": {"name": "w", **root, "steps": steps}})


def gemini(name="a", **keys):
    return {"name": name, "type": "gemini", "prompt": [{"type": "static", "content": "hi"}], **keys}


@pytest.mark.parametrize(
    "text",
    [
        "workflow: {name: w, steps: [{name: a, type: claude, prompt: [{type: static, content: hi}]}]}",
        "pipeline: w\nsteps: [{name: a, type: claude, prompt: hi}]\noutput: {said: '{{a.text}}'}",
        "pipeline: {name: w, steps: [{name: a, type: claude, prompt: hi}]}",
        "name: w\nsteps: [{name: a, type: claude, prompt: hi}]",
        "name: w\nsteps: [{id: a, type: llm, provider: claude, prompt: hi}]",
        '{"workflow": {"name": "w", "steps": [{"name": "a", "type": "claude", "prompt": "hi"}]}}',
        "- {name: a, type: claude, prompt: hi}",
    ],
)
def test_every_form_of_a_root_loads(text):
    step = native(text)["a"]
    assert (step["type"], step["prompt"], step["model"]) == ("llm", "hi", "anthropic")


def test_the_output_of_a_root_is_ours():
    loaded = load_string("pipeline: w\nsteps: [{name: a, type: claude, prompt: hi}]\noutput: {said: '{{a.text}}'}")
    assert loaded.pipeline.outputs == {"said": "{{ steps.a.text }}"}


def test_a_native_document_is_not_taken_for_theirs():
    loaded = load_string("name: x\nsteps: [{name: a, type: llm, prompt: hi}]")
    assert loaded.notes == ()


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("input: {a: b}\nexpected_output: {name: x, steps: []}", "a specification of a pipeline", 2),
        ("workflow:\n  name: x\n  steps:\n    - name: a\n      type: invalid_step_type", "unknown step type", 5),
        ("workflow:\n  name: x\n  steps:\n    - {name: a, type: test_echo, value: 1}", "fixtures", 4),
        ("workflow: [1]", "expected a map", 1),
        ("workflow: {name: x}", "has no steps", 1),
        (
            "workflow:\n  steps:\n    - {name: a, type: gemini, prompt: x}\n    - {name: a, type: gemini, prompt: y}",
            "taken",
            4,
        ),
        ("workflow:\n  steps:\n    - {type: gemini, prompt: x}", "has no name", 3),
        ("workflow:\n  steps:\n    - {name: a, type: gemini}", "has no prompt", 3),
        ("workflow:\n  steps:\n    - 7", "expected a step", 3),
        ("workflow:\n  steps:\n    - {name: a, type: claude_smart, preset: fast, prompt: x}", "unknown preset", 3),
        ("workflow:\n  steps:\n    - {name: a, type: gemini, functions: [f], prompt: x}", "not defined", 3),
        ("workflow:\n  steps:\n    - {name: a, type: gemini, prompt: [{type: sound}]}", "unknown kind of prompt", 3),
        ("workflow:\n  steps:\n    - {name: a, type: gemini, prompt: [{type: file}]}", "has no path", 3),
        (
            "workflow:\n  steps:\n    - {name: a, type: gemini, prompt: x, condition: {xor: [a]}}",
            "expected a condition",
            3,
        ),
        (
            "workflow:\n  steps:\n    - name: a\n      type: claude\n      claude_options: 7\n      prompt: x",
            "a map",
            5,
        ),
        ("workflow:\n  steps:\n    - {name: a, type: for_loop, data_source: x}", "has no steps", 3),
        ("workflow:\n  steps:\n    - {name: a, type: set_variable}", "sets no variables", 3),
        ("workflow:\n  steps:\n    - {name: a, type: bash, command: \"echo '{{x}}' | sh\"}", "inside single quotes", 3),
        ("workflow:\n  steps:\n    - {name: a, type: pipeline, pipeline_file: './{{x}}.yaml'}", "before the run", 3),
        (
            "workflow:\n  steps:\n    - {name: a, type: gemini, prompt: x, schema: {type: object, items: 7}}",
            "cannot be 7",
            3,
        ),
        ("workflow:\n  steps:\n    - {name: a, type: {b: c}, prompt: x}", "unknown step type", 3),
        ("workflow:\n  steps:\n    - {name: a, type: file_ops, operation: shred}", "unknown operation", 3),
        (
            "workflow:\n  steps:\n    - {name: a, type: data_transform, input_source: x, operations: [{type: bend}]}",
            "unknown operation",
            3,
        ),
        (
            "workflow:\n  steps:\n    - {name: a, type: codebase_query, queries: {q: {find_luck: []}}}",
            "unknown query",
            3,
        ),
    ],
)
def test_what_cannot_be_used_is_refused_on_its_line(text, words, line):
    problems = refused(text)
    assert any(words in problem.message and problem.line == line for problem in problems), problems


def test_faults_of_the_native_document_stand_on_the_original_lines():
    text = (
        "workflow:\n  steps:\n    - name: a\n      type: gemini\n      prompt: x\n      token_budget: {temperature: 9}"
    )
    (problem,) = refused(text)
    assert (problem.line, problem.message) == (3, "temperature: expected less than or equal to 2, got 9")


def test_the_steps_of_fixtures_load_when_they_are_allowed():
    text = "workflow: {steps: [{name: a, type: test_echo, value: 1}, {name: b, type: test_echo, fail: true}]}"
    steps = native(text, test_steps=True)
    assert (steps["a"]["vars"], steps["b"]["run"]) == ({"result": 1}, ["false"])


def test_steps_wait_for_the_one_written_before():
    steps = [gemini("a"), gemini("b"), gemini("c")]
    pipeline = load_string(flow(steps)).pipeline
    assert edges(pipeline.steps, Engine()) == {"a": (), "b": ("a",), "c": ("b",)}


def test_names_are_changed_where_ours_do_not_allow_them_and_listed():
    text = flow([gemini("Load-Data"), gemini("next", prompt="{{steps.Load-Data.result}}")])
    steps = native(text)
    assert steps["next"]["prompt"] == "{{ steps.load_data.text }}"
    assert any("is called 'load_data'" in note.said for note in load_string(text).notes)


def test_a_file_is_called_by_its_stem_and_the_old_name_is_listed(tmp_path):
    file = tmp_path / "Weekly-Report.json"
    file.write_text(json.dumps({"workflow": {"name": "w", "steps": [gemini()]}}))
    loaded = load_any(file)
    assert loaded.pipeline.name == "weekly_report"
    assert {note.key for note in loaded.notes} == {"name"}


def test_unknown_keys_are_listed_once_with_the_nearest_known_one():
    step = "{name: %s, type: gemini, prompt: x, token_budgets: 1}"
    text = f"workflow:\n  steps:\n    - {step % 'a'}\n    - {step % 'b'}"
    loaded = load_string(text)
    (note,) = loaded.notes
    assert (note.line, note.key) == (3, "token_budgets")
    assert "did you mean 'token_budget'" in note.said
    assert [problem.line for problem in loaded.warnings] == [3]


@pytest.mark.parametrize(
    "key",
    [
        *("workspace_dir", "checkpoint_enabled", "claude_auth", "hooks", "mcp_servers", "agents", "enable_skills"),
        *("memory_config", "setting_sources", "safety", "telemetry", "cache_config", "metadata", "frobnicate"),
    ],
)
def test_no_root_key_without_a_counterpart_is_dropped_in_silence(key):
    assert said(flow([gemini()], **{key: {"x": 1}}), key)


@pytest.mark.parametrize(
    "key",
    ["verbose", "output_format", "cwd", "permission_mode", "session_id", "async_streaming", "telemetry_enabled", "zap"],
)
@pytest.mark.parametrize("where", ["step", "defaults"])
def test_no_option_without_a_counterpart_is_dropped_in_silence(key, where):
    step = {"name": "a", "type": "claude", "prompt": "x"}
    if where == "step":
        text = flow([{**step, "claude_options": {key: "x"}}])
    else:
        text = flow([step], defaults={"claude_options": {key: "x"}})
    assert said(text, key)


def test_options_win_over_defaults_and_these_over_the_preset():
    step = {"name": "a", "type": "claude_smart", "prompt": "x", "preset": "analysis"}
    own = {"max_turns": 2, "allowed_tools": ["Read", "LS"]}
    defaults = {"claude_options": {"max_turns": 7, "model": "haiku"}}
    made = native(flow([{**step, "options": own}], defaults=defaults))["a"]
    assert (made["max_turns"], made["tools"]) == (2, ["read", "glob"])
    assert made["model"] == "anthropic/claude-haiku-5-5"
    assert made["retry"] == {"max_attempts": 2, "on": ["timeout", "overloaded", "connection"]}


@pytest.mark.parametrize(
    ("kind", "root", "tools"),
    [
        ("claude_smart", {}, ["write", "edit", "read", "grep", "glob"]),
        ("claude_smart", {"defaults": {"claude_preset": "analysis"}}, ["read", "glob", "grep"]),
        ("claude_smart", {"environment": {"mode": "production"}}, ["read"]),
        ("claude_session", {}, ["read", "glob", "grep"]),
        ("claude_robust", {}, ["read"]),
        ("claude", {}, None),
    ],
)
def test_a_step_without_a_preset_has_that_of_the_defaults_the_environment_or_its_type(kind, root, tools):
    assert native(flow([{"name": "a", "type": kind, "prompt": "x"}], **root))["a"].get("tools") == tools


def test_gemini_takes_model_and_budget_of_the_defaults_as_a_whole():
    defaults = {"gemini_model": "gemini-2.5-pro", "gemini_token_budget": {"max_output_tokens": 99, "temperature": 0.1}}
    steps = native(flow([gemini("a"), gemini("b", token_budget={"temperature": 1})], defaults=defaults))
    assert (steps["a"]["model"], steps["a"]["max_tokens"], steps["a"]["temperature"]) == (
        "gemini/gemini-2.5-pro",
        99,
        0.1,
    )
    assert ("max_tokens" in steps["b"], steps["b"]["temperature"]) == (False, 1)


def test_models_fail_over_and_tools_that_are_not_there_are_listed():
    options = {"model": "opus", "fallback_model": "sonnet", "allowed_tools": ["Read", "Bash", "WebFetch"]}
    text = flow([{"name": "a", "type": "claude", "prompt": "x", "claude_options": options}])
    step = native(text)["a"]
    assert step["model"] == ["anthropic/claude-opus-5-5", "anthropic/claude-sonnet-5-5"]
    assert step["tools"] == ["read"]
    assert [word.split(":")[0] for word in said(text, "allowed_tools")] == ["Bash", "WebFetch"]


def test_declared_inputs_keep_their_defaults_and_unknown_bare_names_are_required():
    text = flow([gemini(prompt="{{topic}} in {{depth}} for {{reader}}")], input={"topic": "cats", "depth": 3})
    loaded = load_string(text)
    declared = loaded.pipeline.inputs
    assert (declared["topic"].default, declared["depth"].type) == ("cats", "integer")
    assert declared["reader"].required
    assert loaded.pipeline.steps[0].prompt == "{{ inputs.topic }} in {{ inputs.depth }} for {{ inputs.reader }}"


def test_a_prompt_that_teaches_templates_keeps_them(one):
    result = one(
        flow([gemini(prompt=[{"type": "static", "content": "write {{first_step.output}}"}])]),
        tags={"elexirion/model": "fake"},
    )
    assert result.text.endswith("write {{first_step.output}}")


def test_variables_of_the_root_are_set_before_the_first_step():
    steps = native(flow([gemini(prompt="{{state.n}} {{global_vars.m}}")], variables={"n": 1}, global_vars={"m": 2}))
    assert list(steps) == ["variables", "a"]
    assert steps["a"]["prompt"] == "{{ vars.n }} {{ vars.m }}"


def test_a_file_of_a_prompt_is_looked_for_beside_the_document_then_where_one_works(tmp_path, monkeypatch):
    folder, work = tmp_path / "docs", tmp_path / "work"
    folder.mkdir()
    work.mkdir()
    (folder / "beside.md").write_text("x")
    monkeypatch.chdir(work)
    parts = [{"type": "file", "path": "./beside.md"}, {"type": "file", "path": "lib/there.md"}]
    file = folder / "doc.yaml"
    file.write_text(flow([gemini(prompt=parts)]))
    loaded = load_any(file)
    inputs = {name: (declared.type, declared.default) for name, declared in loaded.pipeline.inputs.items()}
    assert inputs == {"beside": ("path", str(folder / "beside.md")), "there": ("path", "lib/there.md")}
    assert any("there is no such file" in note.said for note in loaded.notes)


def test_the_files_of_a_prompt_are_read_and_never_taken_for_templates(start, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.md", "b.md"):
        (tmp_path / name).write_text(f"{name}: {{{{ 7 * 7 }}}}")
    parts = [{"type": "file", "path": "a.md"}, {"type": "static", "content": "and"}, {"type": "file", "path": "b.md"}]
    rehearsed = start(flow([gemini(prompt=parts)]), tags={"elexirion/model": "fake"})
    assert rehearsed.all()["a"].text.endswith("a.md: {{ 7 * 7 }}\nand\nb.md: {{ 7 * 7 }}")


def test_a_file_named_by_a_variable_is_an_input_of_type_path(start, tmp_path):
    (tmp_path / "code.py").write_text("x = 1")
    text = flow([gemini(prompt=[{"type": "file", "path": "{{ code_file }}"}])])
    assert load_string(text).pipeline.inputs["code_file"].type == "path"
    rehearsed = start(text, tags={"elexirion/model": "fake"}, code_file=str(tmp_path / "code.py"))
    assert rehearsed.all()["a"].text.endswith("x = 1")


def test_results_are_written_below_the_output_folder_inside_the_workspace():
    steps = [gemini("a", output_to_file="x.md"), gemini("b", output_to_file="../../etc/x.md")]
    made = native(flow(steps, defaults={"output_dir": "./outputs"}))
    assert [step["output_to"] for step in made.values()] == ["outputs/x.md", "outputs/etc/x.md"]
    assert said(flow(steps), "output_to_file")


def test_limits_of_the_root_become_a_budget():
    loaded = load_string(
        flow([gemini()], resource_limits={"max_cost_usd": 2, "max_tokens_total": 50, "max_memory_mb": 9})
    )
    assert (loaded.pipeline.budget.usd, loaded.pipeline.budget.tokens) == (2, 50)
    assert {note.key for note in loaded.notes} == {"max_memory_mb"}


def test_what_earlier_steps_wrote_below_the_workspace_is_read_back_by_its_path(start, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "notes.md").write_text("left by an earlier tool")
    steps = [
        {"name": "put", "type": "file_ops", "operation": "write", "path": "notes.md", "content": "from this run"},
        gemini("tell", output_to_file="./workspace/told.md"),
        {
            "name": "copy",
            "type": "file_ops",
            "operation": "copy",
            "source": "./workspace/told.md",
            "destination": "b.md",
        },
        gemini("a", prompt=[{"type": "file", "path": f"./workspace/{name}.md"} for name in ("notes", "told", "b")]),
    ]
    text = flow(steps, workspace_dir="./workspace")
    assert load_string(text).pipeline.inputs == {}
    rehearsed = start(text, tags={"elexirion/model": "fake"})
    result = rehearsed.all()["a"]
    assert "from this run" in result.text
    assert "left by" not in result.text
    assert result.text.endswith("from this run\n[fake model, no real answer] hi\n[fake model, no real answer] hi")


def test_a_result_in_the_output_folder_is_read_back_unless_the_user_has_such_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reading = gemini("b", prompt=[{"type": "file", "path": "./outputs/a.json"}])
    text = flow([gemini("a", output_to_file="a.json"), reading], defaults={"output_dir": "./outputs"})
    assert load_string(text).pipeline.inputs == {}
    assert native(text)["b_file"]["read"] == {"path": "outputs/a.json"}
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "a.json").write_text("{}")
    assert load_string(text).pipeline.inputs["a"].type == "path"
