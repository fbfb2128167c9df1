"""Each step type of pipeline_ex comes to the steps of ours that do what its documents say."""

import pytest

from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.providers.fake import Rule
from elexirion_dagster.yamlio import dump

FAKE = {"elexirion/model": "fake"}


def flow(*steps, **root):
    return dump({"workflow": {"name": "w", **root, "steps": list(steps)}})


def native(*steps, **root):
    """The native steps by name, as plain data."""
    return {step["name"]: step for step in load_string(flow(*steps, **root)).document.data["steps"]}


def said(*steps):
    return {note.key: note.said for note in load_string(flow(*steps)).notes}


def test_the_snippet_of_the_vision_runs_as_written(start, git_repository):
    text = """
    - name: analyze_all_files
      type: claude_batch
      batch_size: 10
      max_parallel: 50
      files: "{{ all_source_files }}"
    """
    loaded = load_string(text)
    assert {"prompt", "all_source_files"} <= {note.key for note in loaded.notes}
    rehearsed = start(f"steps:\n{text}", tags=FAKE, repo=str(git_repository))
    result = rehearsed.all()["analyze_all_files"]
    assert [entry["key"] for entry in result.results] == ["broken.py", "src/clean.py", "src/shell.py"]
    assert all("Report real problems only" in text_of(request) for request in rehearsed.fake.requests)


def text_of(request):
    return "".join(block.text for message in request.messages for block in message.content)


def test_a_batch_goes_over_its_tasks_and_keeps_their_ids(start):
    tasks = [{"task_id": "one", "prompt": "first"}, {"id": "two", "prompt": [{"type": "static", "content": "second"}]}]
    step = {"name": "b", "type": "claude_batch", "preset": "chat", "batch_config": {"max_parallel": 2, "tasks": tasks}}
    after = {"name": "end", "type": "gemini", "prompt": "{{b.two.text}} / {{steps.b.successful_tasks}}"}
    results = start(flow(step, after), tags=FAKE).all()
    assert [entry["key"] for entry in results["b"].results] == ["one", "two"]
    assert results["end"].text.endswith("second / 2")


def test_a_batch_whose_tasks_all_fail_has_failed(start):
    step = {"name": "b", "type": "claude_batch", "preset": "chat", "tasks": [{"prompt": "a"}, {"prompt": "b"}]}
    rehearsed = start(flow(step), tags=FAKE, rules=[Rule(text="cut", stop_reason="max_tokens")])
    assert rehearsed.all()["b"].status == "failed"


def test_a_prompt_of_the_step_stands_in_where_a_task_has_none_and_is_listed_where_all_have_one():
    batch = {"name": "b", "type": "claude_batch", "prompt": "shared"}
    made = native({**batch, "tasks": [{"id": "x"}, {"id": "y", "prompt": "own"}]})["b"]
    assert [item["prompt"] for item in made["items"]] == ["shared", "own"]
    assert "prompt" in said({**batch, "tasks": [{"id": "y", "prompt": "own"}]})


@pytest.mark.parametrize(("given", "seconds"), [(10_000, 10), (300, 300)])
def test_a_time_limit_of_tasks_is_milliseconds_and_small_ones_are_seconds(given, seconds):
    step = {
        "name": "b",
        "type": "claude_batch",
        "tasks": [{"prompt": "a"}],
        "batch_config": {"timeout_per_task": given},
    }
    assert native(step)["b"]["steps"][0]["timeout_s"] == seconds


def test_parallel_tasks_keep_their_own_options_and_are_addressed_by_id(start):
    tasks = [
        {"id": "list_files", "prompt": "list", "claude_options": {"allowed_tools": ["LS"]}},
        {"id": "readme", "prompt": "read", "claude_options": {"allowed_tools": ["Read"]}},
    ]
    step = {"name": "p", "type": "parallel_claude", "parallel_tasks": tasks}
    last = {
        "name": "end",
        "type": "gemini",
        "prompt": [{"type": "previous_response", "step": "p", "extract": "list_files"}],
    }
    cases = native(step)["p"]["steps"][0]["cases"]
    assert {case: steps[0]["tools"] for case, steps in cases.items()} == {"list_files": ["glob"], "readme": ["read"]}
    assert start(flow(step, last), tags=FAKE).all()["end"].text.endswith("list")


def test_robust_is_retry_and_a_fallback_that_makes_it_degraded(start):
    config = {"max_retries": 2, "base_delay_ms": 1, "retry_conditions": ["timeout", "api_error", "luck"]}
    step = {"name": "r", "type": "claude_robust", "prompt": "x", "retry_config": config}
    made = native(step)["r"]
    assert made["retry"] == {"max_attempts": 3, "on": ["timeout", "overloaded", "connection"], "initial_s": 0.001}
    assert "answer" in made["fallback"]
    assert "luck" in said(step)["retry_conditions"]
    result = start(flow(step), tags=FAKE, rules=[Rule(text="cut", stop_reason="max_tokens")]).all()["r"]
    assert result.status == "degraded"


@pytest.mark.parametrize(
    ("action", "fallback"),
    [("simplified_prompt", "prompt"), ("cached_response", "answer"), ("emergency_response", "answer"), ("fail", None)],
)
def test_every_fallback_action_has_its_nearest(action, fallback):
    step = {"name": "r", "type": "claude_robust", "prompt": "x", "retry_config": {"fallback_action": action}}
    assert next(iter(native(step)["r"].get("fallback", {None: 1}))) == fallback


def test_a_session_is_ours_and_lasts_where_it_is_to_persist():
    config = {"session_name": "Math-Tutor", "persist": True, "checkpoint_frequency": 1}
    steps = native(
        {"name": "a", "type": "claude_session", "prompt": "x", "session_config": config},
        {"name": "b", "type": "claude_session", "prompt": "x"},
        {
            "name": "c",
            "type": "claude",
            "prompt": [{"type": "claude_continue", "session_id": "b", "new_prompt": "go on"}],
        },
    )
    assert steps["a"]["session"] == {"name": "math_tutor", "scope": "pipeline"}
    assert steps["b"]["session"] == {"name": "b", "scope": "run"}
    assert (steps["c"]["session"], steps["c"]["prompt"]) == ("b", "go on")


def test_a_conversation_is_messages_or_turns_of_one_session():
    both = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    (said_before,) = native({"name": "s", "type": "claude_session", "conversation": both}).values()
    assert [turn["role"] for turn in said_before["messages"]] == ["user", "assistant", "user"]
    turns = native({"name": "s", "type": "claude_session", "conversation": ["one", {"prompt": "two"}]})
    assert [(name, step["prompt"]) for name, step in turns.items()] == [("s_turn_1", "one"), ("s", "two")]
    assert {step["session"]["name"] for step in turns.values()} == {"s"}


@pytest.mark.parametrize(
    ("schema", "properties"),
    [
        ({"report": {"summary": "string", "findings": "array"}}, {"report"}),
        (
            {"type": "object", "properties": {"score": {"type": "integer", "minimum": 1}}, "required": ["score"]},
            {"score"},
        ),
        ({"type": "array", "items": "string"}, {"items"}),
    ],
)
@pytest.mark.parametrize("key", ["schema", "output_schema"])
def test_a_schema_is_a_typed_output(schema, properties, key, start):
    step = {"name": "e", "type": "claude_extract", "prompt": "x", key: schema}
    result = start(flow(step), tags=FAKE).all()["e"]
    assert set(result.data) == properties


def test_functions_are_a_typed_output(start):
    parameters = {"type": "object", "properties": {"score": {"type": "integer"}}, "required": ["score"]}
    functions = {"rate": {"description": "rates", "parameters": parameters}}
    steps = (
        {"name": "g", "type": "gemini", "prompt": "x", "functions": ["rate"]},
        {"name": "end", "type": "gemini", "prompt": [{"type": "previous_response", "name": "g", "extract": "score"}]},
    )
    results = start(flow(*steps, gemini_functions=functions), tags=FAKE).all()
    assert results["g"].data == {"score": 0}
    assert results["end"].text.endswith("0")


def test_fields_that_later_steps_take_are_asked_for(start):
    steps = (
        {"name": "q", "type": "gemini", "prompt": "rate it"},
        {"name": "end", "type": "gemini", "prompt": "x", "condition": "q.overall_score >= 8"},
    )
    results = start(flow(*steps), tags=FAKE, rules=[Rule(match="rate it", data={"overall_score": 9}), Rule()]).all()
    assert results["end"].status == "succeeded"
    assert "overall_score" in said(*steps)["q"]


def test_variables_in_both_forms_and_data_transforms(start):
    rows = [{"kind": "a", "n": 3, "on": True}, {"kind": "b", "n": 9, "on": True}, {"kind": "a", "n": 5, "on": False}]
    steps = (
        {"name": "v", "type": "set_variable", "variable": "rows", "value": rows},
        {
            "name": "t",
            "type": "data_transform",
            "input_source": "rows",
            "operations": [
                {"operation": "filter", "field": "n", "condition": "value > 2"},
                {"operation": "map", "field": "kind", "mapping": {"a": "first"}},
                {"operation": "sort", "field": "n", "order": "desc"},
            ],
            "output_field": "best",
        },
        {
            "name": "g",
            "type": "data_transform",
            "input_source": "previous_response:t:best",
            "operations": [{"operation": "group_by", "field": "kind"}],
            "output_field": "by_kind",
        },
        {
            "name": "m",
            "type": "data_transform",
            "input_source": "previous_response:by_kind.first",
            "operations": [{"operation": "aggregate", "field": "n", "function": "average"}],
            "output_field": "mean_n",
        },
        {"name": "end", "type": "gemini", "prompt": "{{previous_response:m:mean_n}} {{steps.t.best[0].kind}}"},
    )
    results = start(flow(*steps), tags=FAKE).all()
    assert results["m"].data == {"mean_n": 4.0}
    assert results["end"].text.endswith("4.0 b")


def test_bash_runs_without_a_shell_unless_it_needs_one():
    steps = native(
        {"name": "a", "type": "bash", "command": "pytest -q {{folder}}"},
        {"name": "b", "type": "bash", "command": 'echo "{{folder}}" | wc -l'},
    )
    assert steps["a"]["run"] == "pytest -q {{ inputs.folder }}"
    assert steps["b"]["run"] == ["bash", "-c", 'echo "${VALUE_1}" | wc -l']
    assert steps["b"]["env"] == {"VALUE_1": "{{ inputs.folder }}"}


def test_a_value_never_becomes_a_command_of_the_shell(start):
    steps = (
        {"name": "v", "type": "set_variable", "variables": {"x": "$(echo hacked); echo `id`"}},
        {"name": "b", "type": "bash", "command": 'printf "%s" "{{state.x}}" | cat'},
    )
    assert start(flow(*steps)).all()["b"].text.strip() == "$(echo hacked); echo `id`"


def test_a_checkpoint_does_nothing_and_is_listed():
    steps = ({"name": "c", "type": "checkpoint", "state": {"n": 1}}, {"name": "g", "type": "gemini", "prompt": "x"})
    assert native(*steps)["c"]["vars"] == {"n": 1}
    assert "nothing to do" in said(*steps)["c"]


def test_a_time_limit_of_attempts_is_stretched_to_the_step():
    options = {"timeout_ms": 5000, "retry_config": {"max_retries": 3, "backoff_strategy": "fixed"}}
    step = {"name": "a", "type": "claude", "prompt": "x", "claude_options": options}
    assert native(step)["a"]["timeout_s"] == 17.0
    assert "17 s for the step in all" in said(step)["timeout_ms"]


def test_file_operations_are_verbs_that_stay_in_the_workspace():
    steps = native(
        {"name": "c", "type": "file_ops", "operation": "copy", "source": "in.csv", "destination": "work/out.csv"},
        {
            "name": "j",
            "type": "file_ops",
            "operation": "convert",
            "source": "work/out.csv",
            "destination": "x.json",
            "format": "csv_to_json",
        },
        {"name": "d", "type": "file_ops", "operation": "delete", "path": "/etc/passwd"},
        {"name": "l", "type": "file_ops", "operation": "list", "path": ".", "pattern": "*.md"},
        {"name": "v", "type": "file_ops", "operation": "validate", "files": [{"path": "x.json", "min_size": 2}]},
        {"name": "p", "type": "file_ops", "operation": "stream_process", "source": "t.txt", "processor": "uppercase"},
    )
    assert steps["c"]["copy"] == {"from": "{{ inputs.in }}", "to": "work/out.csv"}
    assert steps["j"]["convert"] == {"from": "work/out.csv", "to": "x.json", "from_format": "csv", "to_format": "json"}
    assert steps["d"]["delete"]["path"] == "etc/passwd"
    assert steps["l"]["list"] == {"root": ".", "git": None, "include": ["*.md"]}
    assert steps["v"]["validate"] == {"path": "x.json", "exists": True, "min_bytes": 2}
    assert steps["p"]["write"] == {"path": "t.txt", "text": "{{ steps.p_file.text | upper }}"}
