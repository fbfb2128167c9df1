"""What a run of compiled ops leaves in Dagster's event log and in its storage."""

import json

import dagster as dg
import pytest

from elexirion_dagster.compiler.metadata import of_result
from elexirion_dagster.records import StepResult

ASKING = """
name: asking
inputs:
  words: {type: list, default: [alpha, beta, gamma]}
  secret: {type: string, default: "sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789"}
model: fake/parrot
steps:
  - name: one
    type: llm
    system: Be brief.
    prompt: "{{ 'long ' * 2000 }} {{ inputs.secret }}"
  - name: hidden
    type: llm
    prompt: "The key is {{ inputs.secret }} and that is all."
  - name: each
    type: for_each
    items: "{{ inputs.words }}"
    as: word
    on_error: collect
    steps:
      - {name: say, type: llm, prompt: "Say {{ word }}"}
      - {name: refuse_beta, type: command, run: ["{{ 'false' if word == 'beta' else 'true' }}"]}
  - {name: never, type: set, when: "{{ inputs.words | length > 9 }}", vars: {x: 1}}
outputs:
  number: 7
  listed: "{{ inputs.words }}"
  text: "{{ steps.each.data.items }} items"
asset: outcomes/asking
"""


@pytest.fixture
def metadata(finished, instance):
    """Run once; the metadata of each op's output by op."""
    done = finished(ASKING)
    assert done.status == "succeeded"
    events = instance.all_logs(done.run, of_type=dg.DagsterEventType.STEP_OUTPUT)
    return {entry.step_key: entry.dagster_event.step_output_data.metadata for entry in events}


def test_an_op_shows_its_call_and_what_that_came_to(metadata):
    one = metadata["one"]
    assert one["model"].value == "fake/parrot"
    assert one["status"].value == "succeeded"
    assert one["cost_usd"].value == 0.0
    assert one["tokens"].value > 1000
    assert set(one["tokens_by_kind"].value) == {
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
    }
    assert one["latency_s"].value >= 0
    assert one["duration_s"].value > 0
    assert "fake model" in one["reply"].value


def test_what_an_op_shows_is_cut_and_without_secrets(metadata):
    one = metadata["one"]
    assert len(one["prompt"].value) < 4_200
    assert "more characters" in one["prompt"].value
    hidden = metadata["hidden"]["prompt"].value
    assert "The key is" in hidden
    assert "abcdefghijklmnop" not in hidden


def test_a_loop_shows_its_counts_its_items_and_one_of_its_calls(metadata):
    each = {name: metadata["each"][name].value for name in ("items", "items_done", "items_failed", "items_skipped")}
    assert each == {"items": 3, "items_done": 2, "items_failed": 1, "items_skipped": 0}
    assert metadata["each"]["model"].value == "fake/parrot"
    item = metadata["each"]["shown_item"].value
    assert f"Say {item}" in metadata["each"]["prompt"].value
    assert "fake model" in metadata["each"]["reply"].value
    rows = [record.data for record in metadata["each"]["results"].records]
    assert [(row["item"], row["status"]) for row in rows] == [
        ("alpha", "succeeded"),
        ("beta", "failed"),
        ("gamma", "succeeded"),
    ]
    assert rows[1]["error"].startswith("command_failed:")


def test_a_skipped_op_says_why_and_the_outputs_are_shown_and_materialised(metadata, instance):
    assert metadata["never"]["status"].value == "skipped"
    assert "when is false" in metadata["never"]["skipped_because"].value

    outputs = {name: metadata["outputs"][name].value for name in ("number", "listed", "text")}
    assert outputs == {"number": 7, "listed": 3, "text": "3 items"}

    materialised = instance.get_latest_materialization_event(dg.AssetKey(["outcomes", "asking"]))
    assert materialised.asset_materialization.metadata["number"].value == 7


def test_the_ceiling_is_in_the_ops_log_before_the_first_call(finished, instance):
    done = finished(ASKING)
    messages = [entry.user_message for entry in instance.all_logs(done.run)]
    (announced,) = [text for text in messages if "3 items go to fake/parrot" in text]
    assert "no ceiling set" in announced


def test_values_are_json_on_the_disk_and_nothing_is_pickled(finished, home_path):
    done = finished(ASKING)
    folder = home_path / "dagster" / "storage" / done.run
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    values = [f"{op}/result.json" for op in ("each", "hidden", "never", "one", "outputs")]
    assert [name for name in files if "compute_logs" not in name] == values
    assert json.loads((folder / "outputs/result.json").read_text())["number"] == 7


HARD_TEXT = """
name: hard_text
inputs: {text: {type: string, default: ""}}
steps:
  - {name: echo, type: command, run: [printf, "%s", "{{ inputs.text }}"]}
outputs: {text: "{{ steps.echo.text }}", table: {text: "{{ inputs.text }}"}}
"""


def test_characters_that_no_database_takes_do_not_break_a_run(finished):
    done = finished(HARD_TEXT, text="caf\udce9 \U0001f600")
    assert done.status == "succeeded", done.message


FAILING = """
name: failing
steps:
  - {name: breaks, type: command, run: [ls, /there/is/no/such/place]}
  - {name: after, type: set, vars: {x: "{{ steps.breaks.text }}"}}
  - {name: apart, type: set, vars: {y: 1}}
outputs: {x: "{{ vars.x }}"}
"""


def test_a_failed_step_fails_the_run_with_its_cause_and_the_others_finish(finished, instance):
    done = finished(FAILING)
    assert (done.status, done.cause) == ("failed", "command_failed")
    assert "breaks failed" in done.message
    ended = instance.all_logs(done.run, of_type=dg.DagsterEventType.STEP_SUCCESS)
    assert [entry.step_key for entry in ended] == ["apart"]


def test_a_step_that_may_fail_lets_its_dependants_see_the_failure(finished):
    text = FAILING.replace("place]}", "place], continue_on_error: true}").replace(
        "steps.breaks.text", "steps.breaks.status"
    )
    done = finished(text)
    assert (done.status, done.outputs["x"]) == ("succeeded", "failed")


def test_a_failure_while_outputs_are_evaluated_has_a_cause(finished):
    done = finished("name: wrong\nsteps:\n- {name: a, type: set, vars: {x: 0}}\noutputs: {y: '{{ 1 / vars.x }}'}\n")
    assert (done.status, done.cause) == ("failed", "bad_input")


def test_steps_whose_names_are_words_of_python_run(finished):
    text = """
name: words
steps:
  - {name: type, type: set, vars: {x: 1}}
  - {name: input, type: set, vars: {y: "{{ vars.x + 1 }}"}}
  - {name: class, type: set, needs: [type, input], vars: {z: "{{ vars.x + vars.y }}"}}
outputs: {z: "{{ vars.z }}"}
"""
    assert finished(text).outputs == {"z": 3}


WORKING = """
name: working
model: fake
steps:
  - {name: work, type: llm, prompt: go, tools: [read]}
  - {name: vote, type: llm, prompt: which, samples: 2, output: {items: [string]}}
"""


def test_tools_and_samples_are_tables(finished, instance):
    done = finished(WORKING)
    assert done.status == "succeeded"
    events = instance.all_logs(done.run, of_type=dg.DagsterEventType.STEP_OUTPUT)
    shown = {entry.step_key: entry.dagster_event.step_output_data.metadata for entry in events}
    assert shown["work"]["turns"].value == 1
    assert [row.data["votes"] for row in shown["vote"]["samples"].records] == [2, 2]
    assert "items" not in shown["vote"]


def test_tool_calls_are_a_table():
    calls = [{"tool": "read", "arguments": '{"path": "\ud800"}', "is_error": True, "characters": 9}]
    shown = of_result(StepResult("succeeded", metadata={"tool_calls": calls}))
    (row,) = shown["tool_calls"].records
    assert row.data == {**calls[0], "arguments": '{"path": "\\ud800"}'}
