import json
import threading

import pytest

from elexirion_dagster.errors import Cancelled
from elexirion_dagster.providers.base import Capabilities, ProviderError
from elexirion_dagster.providers.fake import FakeProvider, Rule
from elexirion_dagster.records import Usage
from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer
from elexirion_dagster.tags import STREAM_TAG

ASK = """
inputs: {q: {type: string, default: why}}
model: %s
retry: {initial_s: 0}
steps: [{name: ask, type: llm, prompt: "{{ inputs.q }}"%s}]
"""
TYPED = ASK % ("fake", ", output: {verdict: {enum: [good, bad]}, lines: [integer]}")
FREE = ASK % ("fake", "")


def asked(rehearsed):
    return [request.messages[-1].content[0].text for request in rehearsed.fake.requests]


def test_free_text_is_the_step_s_text_and_it_has_no_data(one):
    result = one(FREE, rules=[Rule(text="because", usage=Usage(10, 5))])
    assert (result.status, result.text, result.data) == ("succeeded", "because", None)
    assert (result.cost_usd, result.usage) == (0.0, Usage(10, 5))


def test_a_typed_answer_is_data(one):
    result = one(TYPED, rules=[Rule(data={"verdict": "good", "lines": [1, 2]})])
    assert result.data == {"verdict": "good", "lines": [1, 2]}


def test_an_answer_of_another_shape_is_corrected_once(start):
    rules = [Rule(match="could not be used", data={"verdict": "bad", "lines": []}), Rule(text='{"verdict": "ugly"}')]
    rehearsed = start(TYPED, rules=rules)
    result = rehearsed.all()["ask"]
    assert result.data == {"verdict": "bad", "lines": []}
    assert len(rehearsed.fake.requests) == 2
    assert rehearsed.fake.requests[1].messages[1].content[0].text == '{"verdict": "ugly"}'
    assert rehearsed.run.step(rehearsed.run.pipeline.steps[0], {}).usage != Usage()


def test_a_second_wrong_answer_fails_with_what_was_spent_and_said(start):
    rehearsed = start(TYPED, rules=[Rule(text="no JSON at all", usage=Usage(100, 10))])
    result = rehearsed.run.step(rehearsed.run.pipeline.steps[0], {})
    assert (result.status, result.error.cause) == ("failed", "malformed_output")
    assert (result.usage, result.cost_usd) == (Usage(200, 20), 0.0)
    assert result.metadata["reply"] == "no JSON at all"
    assert result.metadata["repaired"] is True


@pytest.mark.parametrize(
    ("stop_reason", "cause"),
    [
        ("max_tokens", "truncated"),
        ("refusal", "refused"),
        ("context_exceeded", "context_exceeded"),
        ("pause_turn", "malformed_output"),
    ],
)
def test_an_answer_that_is_not_whole_fails_by_its_cause(one, stop_reason, cause):
    result = one(FREE, rules=[Rule(text="half", stop_reason=stop_reason)])
    assert (result.status, result.error.cause, result.text) == ("failed", cause, "half")


def test_without_a_model_the_step_is_skipped_and_says_how_to_mend_it(start):
    rehearsed = start(ASK % ("auto", ""), settings={"model": None})
    result = rehearsed.all()["ask"]
    assert (result.status, "elexirion doctor" in result.reason) == ("skipped", True)
    assert rehearsed.lines("intent") == []


def test_an_unconfigured_provider_is_a_failure_that_says_what_to_set(one):
    result = one(ASK % ("anthropic/claude-sonnet-4-5", ""))
    assert (result.error.cause, result.error.mend) == ("bad_input", "Set ANTHROPIC_API_KEY.")


def test_examples_go_before_the_prompt_as_turns(start):
    more = ', system: Be brief., examples: [{prompt: "1+1", answer: "2"}, {prompt: "2+2", answer: {sum: 4}}]'
    rehearsed = start(ASK % ("fake", more))
    rehearsed.all()
    (request,) = rehearsed.fake.requests
    turns = [(turn.role, turn.content[0].text) for turn in request.messages]
    assert turns == [("user", "1+1"), ("assistant", "2"), ("user", "2+2"), ("assistant", '{"sum": 4}'), ("user", "why")]
    assert request.system == "Be brief."


def test_a_model_without_schemas_gets_the_schema_in_its_system_text(start):
    class Plain(FakeProvider):
        def capabilities(self, model):  # noqa: ARG002 - the provider's signature
            return Capabilities(output_schema=False, tools=False, streaming=False)

    plain = Plain([Rule(data={"verdict": "good", "lines": []})])
    rehearsed = start(TYPED, opened={"fake": plain})
    assert rehearsed.all()["ask"].data["verdict"] == "good"
    assert plain.requests[0].output_schema is None
    assert '"enum":["good","bad"]' in plain.requests[0].system


BOTH = ASK % ("[fake/first, fake/second]", "")


class ByModel(FakeProvider):
    """Fails or answers by the model's name."""

    def __init__(self, **behaviour):
        super().__init__()
        self.behaviour = {name: FakeProvider([rule]) for name, rule in behaviour.items()}
        self.models = []

    def send(self, request, **options):
        self.models.append(request.model)
        return self.behaviour[request.model].send(request, **options)


def by_model(start, text, **behaviour):
    provider = ByModel(**behaviour)
    rehearsed = start(text, opened={"fake": provider})
    return rehearsed.all()["ask"], provider.models


@pytest.mark.parametrize("cause", ["overloaded", "auth", "billing", "model_not_found", "refused", "context_exceeded"])
def test_the_next_model_is_asked_where_the_fault_lies_with_the_first(start, cause):
    first = Rule(error=ProviderError("no", cause=cause))
    result, models = by_model(start, BOTH, first=first, second=Rule(text="second"))
    assert result.text == "second"
    assert models == ["first"] * (3 if cause == "overloaded" else 1) + ["second"]


@pytest.mark.parametrize("stop_reason", ["max_tokens", "refusal", "context_exceeded"])
def test_the_next_model_is_asked_after_an_answer_that_cannot_be_used(start, stop_reason):
    first = Rule(text="half", stop_reason=stop_reason, usage=Usage(10, 1))
    result, models = by_model(start, BOTH, first=first, second=Rule(text="whole", usage=Usage(20, 2)))
    assert (result.text, models) == ("whole", ["first", "second"])
    assert result.usage == Usage(30, 3)


def test_no_other_model_is_asked_where_all_would_meet_the_same_fault(start):
    first = Rule(error=ProviderError("no", cause="bad_input"))
    result, models = by_model(start, BOTH, first=first, second=Rule(text="second"))
    assert (result.error.cause, models) == ("bad_input", ["first"])


def test_when_every_model_fails_the_last_cause_counts(start):
    result, _ = by_model(
        start,
        BOTH,
        first=Rule(error=ProviderError("no", cause="auth")),
        second=Rule(error=ProviderError("none", cause="billing")),
    )
    assert result.error.cause == "billing"


def test_metadata_shows_what_was_asked_and_answered(start):
    rehearsed = start(ASK % ("fake", ", system: Be brief."), rules=[Rule(text="x" * 5000)])
    metadata = rehearsed.run.step(rehearsed.run.pipeline.steps[0], {}).metadata
    assert metadata["prompt"] == "[system]\nBe brief.\n\n[user]\nwhy"
    assert metadata["reply"].endswith("… 1000 more characters")
    assert metadata["model"] == "fake/fake"
    assert (metadata["attempts"], metadata["repaired"], metadata["replayed"]) == (1, False, False)
    assert metadata["prompt_version"].startswith("yaml:")


def test_a_failure_before_any_answer_shows_the_prompt(start):
    rehearsed = start(FREE, rules=[Rule(error=ProviderError("no", cause="auth"))], q="why not")
    result = rehearsed.run.step(rehearsed.run.pipeline.steps[0], {})
    assert result.metadata["prompt"] == "why not"


def test_the_values_that_the_prompt_referred_to_are_recorded(start, tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a.py").write_text("print(1)\n")
    text = """
inputs: {repo: {type: path}, goal: {type: string}, unused: {type: string, default: not this}}
model: fake
steps:
  - {name: files, type: files, list: {root: "{{ inputs.repo }}", git: null}}
  - name: each
    type: for_each
    items: "{{ steps.files.data.files }}"
    as: file
    steps:
      - name: look
        type: llm
        when: "inputs.unused != ''"
        prompt: "{{ inputs.goal }} {{ file.path }} {{ file.text }}"
"""
    rehearsed = start(text, repo=str(tree), goal="find bugs")
    rehearsed.all()
    (line,) = rehearsed.lines("reply")
    assert line["inputs"] == {"inputs.goal": "find bugs", "file.path": "a.py", "file.text": "print(1)\n"}
    assert line["path"] == "each[a.py].look"


def test_a_value_far_larger_than_the_prompt_is_not_recorded_again_for_every_item(start):
    text = """
inputs: {rows: {type: list}}
model: fake
steps:
  - name: each
    type: for_each
    items: "{{ inputs.rows }}"
    steps:
      - {name: look, type: llm, prompt: "{{ inputs.rows[loop.index0] }}"}
"""
    rehearsed = start(text, rows=[f"row {index}" for index in range(1000)])
    rehearsed.all()
    assert {json.dumps(line["inputs"]["inputs.rows"]) for line in rehearsed.lines("reply")} == {
        '{"omitted": "more than 4024 characters"}',
        '{"omitted": "more than 4020 characters"}',
        '{"omitted": "more than 4028 characters"}',
    }


def test_cancelling_ends_a_call_that_is_under_way(start):
    rehearsed = start(FREE, rules=[Rule(text="late", delay_s=30)])
    threading.Timer(0.1, rehearsed.run.cancel).start()
    with pytest.raises(Cancelled):
        rehearsed.all()


def test_file_contents_are_never_templates(start, tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a.py").write_text("{{ inputs.repo }} {% raw %}")
    text = """
inputs: {repo: {type: path}}
model: fake
steps:
  - {name: files, type: files, list: {root: "{{ inputs.repo }}", git: null}}
  - {name: ask, type: llm, prompt: "{{ steps.files.data.files[0].text }}"}
"""
    rehearsed = start(text, repo=str(tmp_path / "tree"))
    rehearsed.all()
    assert asked(rehearsed) == ["{{ inputs.repo }} {% raw %}"]


@pytest.mark.parametrize("provider", ["anthropic", "local"])
def test_a_streamed_run_asks_and_answers_the_same_as_a_plain_one_and_shows_the_answer(start, provider):
    script = Script.model_validate({"answers": [{"text": "one\nAPI_KEY=abcdefgh12345678\nthree"}]})
    found = []
    with RehearsalServer(script) as server:
        keys = {"model": None, "anthropic_api_key": "not-a-key", "anthropic_base_url": server.base_url}
        settings = {**keys, "local_base_url": f"{server.base_url}/v1"}
        for tags in ({}, {STREAM_TAG: "yes"}):
            rehearsed = start(ASK % (f"{provider}/some-model", ""), tags=tags, settings=settings)
            rehearsed.all()
            found.append(rehearsed)
        streamed = [request.body.get("stream", False) for request in server.requests]
    assert streamed == [False, True]
    plain, stream = (rehearsed.lines("reply")[0] for rehearsed in found)
    assert plain["request_hash"] == stream["request_hash"]
    assert plain["reply"]["blocks"] == stream["reply"]["blocks"]
    assert [rehearsed.lines("partial") == [] for rehearsed in found] == [True, False]
    shown = "\n".join(line["text"] for line in found[1].lines("partial"))
    assert shown == found[1].results["ask"].text == "one\nAPI_KEY=[redacted:secret]\nthree"


def test_every_attempt_is_heard_from_its_beginning(start):
    faults = [{"kind": "cut", "times": 1, "after_events": 4}]
    script = Script.model_validate({"answers": [{"text": "one\n" * 40}], "faults": faults})
    with RehearsalServer(script) as server:
        settings = {"model": None, "local_base_url": f"{server.base_url}/v1"}
        rehearsed = start(ASK % ("local/some-model", ""), tags={STREAM_TAG: "yes"}, settings=settings)
        result = rehearsed.all()["ask"]
    (failed,), (reply,) = rehearsed.lines("call_failed"), rehearsed.lines("reply")
    after = [line["text"] for line in rehearsed.lines("partial") if line["ts"] > failed["ts"]]
    assert "\n".join(after) == result.text == reply["reply"]["blocks"][0]["text"]


MESSAGES = """
inputs: {a: {type: string, default: one}, b: {type: string, default: two}}
model: fake
steps:
  - name: ask
    type: llm
    examples: [{prompt: 1+1, answer: "2"}]
    messages:
      - {role: user, content: "begin {{ inputs.a }}"}
      - {role: assistant, content: I hear}
      - {role: user, content: "now {{ inputs.b }}"}
"""


def test_given_messages_follow_the_examples_and_all_their_values_are_recorded(start):
    rehearsed = start(MESSAGES)
    result = rehearsed.run.step(rehearsed.run.pipeline.steps[0], {})
    (request,) = rehearsed.fake.requests
    turns = [(turn.role, turn.content[0].text) for turn in request.messages]
    assert turns[:2] == [("user", "1+1"), ("assistant", "2")]
    assert turns[2:] == [("user", "begin one"), ("assistant", "I hear"), ("user", "now two")]
    (line,) = rehearsed.lines("reply")
    assert line["inputs"] == {"inputs.a": "one", "inputs.b": "two"}
    assert result.status == "succeeded"


def test_a_failure_before_any_answer_shows_all_messages(start):
    rehearsed = start(MESSAGES, rules=[Rule(error=ProviderError("no", cause="auth"))])
    shown = rehearsed.run.step(rehearsed.run.pipeline.steps[0], {}).metadata["prompt"]
    assert shown == "[user]\nbegin one\n\n[assistant]\nI hear\n\n[user]\nnow two"


@pytest.mark.parametrize("empty", ["", " \n\t"])
def test_an_empty_prompt_is_refused_before_anything_is_sent(start, empty):
    rehearsed = start(FREE, q=empty)
    result = rehearsed.all()["ask"]
    assert (result.error.cause, "is empty" in result.error.message) == ("bad_input", True)
    assert list(rehearsed.fake.requests) == []
    assert rehearsed.lines("intent") == []


def test_a_system_text_of_white_space_is_left_out(start):
    rehearsed = start(ASK % ("fake", ', system: " "'))
    assert rehearsed.all()["ask"].status == "succeeded"
    assert rehearsed.fake.requests[0].system is None
