import json
import subprocess
import sys
from pathlib import Path

import pytest

from elexirion_dagster.errors import Cancelled
from elexirion_dagster.providers.base import Capabilities, ProviderError
from elexirion_dagster.providers.fake import FakeProvider, Rule
from elexirion_dagster.records import Message, TextBlock, ThinkingBlock, ToolResultBlock, ToolUseBlock, Usage
from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer

LOOP = """
model: %s
retry: {initial_s: 0}
steps: [{name: work, type: llm, prompt: begin, tools: [read, write, grep]%s}]
"""
SECRET = "sk-ant-abcdefghijklmnopqrstuvwxyz"
WRITE = ToolUseBlock("t1", "write", {"path": "a.txt", "text": "one\ntwo\n"})
READ = ToolUseBlock("t2", "read", {"path": "a.txt"})
LOOPED = [Rule(match="2\ttwo", text="done", usage=Usage(5, 5)), Rule(tools=(WRITE, READ), usage=Usage(10, 1))]


def roles(request):
    return [(turn.role, [block.type for block in turn.content]) for turn in request.messages]


def results(request):
    return [block for turn in request.messages for block in turn.content if isinstance(block, ToolResultBlock)]


def test_what_one_turn_asks_for_is_answered_in_one_turn_in_order(start):
    rehearsed = start(LOOP % ("fake", ""), rules=LOOPED)
    result = rehearsed.run.step(rehearsed.run.pipeline.steps[0], {})
    assert (result.status, result.text, result.usage) == ("succeeded", "done", Usage(15, 6))
    first, second = rehearsed.fake.requests
    assert [tool.name for tool in first.tools] == ["read", "write", "grep"]
    assert roles(second) == [
        ("user", ["text"]),
        ("assistant", ["tool_use", "tool_use"]),
        ("user", ["tool_result", "tool_result"]),
    ]
    assert [block.tool_use_id for block in results(second)] == ["t1", "t2"]
    shown = result.metadata
    assert (shown["turns"], shown["tools_used"], [row["tool"] for row in shown["tool_calls"]]) == (
        2,
        2,
        ["write", "read"],
    )


def test_what_a_tool_found_is_redacted_before_it_is_kept_and_sent(start):
    rehearsed = start(LOOP % ("fake", ""), rules=[Rule(match="[redacted", text="done"), Rule(tools=(READ,))])
    (rehearsed.home.workspace(rehearsed.run.info.root_run) / "a.txt").write_text(f"the key is {SECRET}")
    assert rehearsed.all()["work"].text == "done"
    assert SECRET not in json.dumps(rehearsed.lines())


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (ToolUseBlock("t", "edit", {"path": "a.txt", "old": "a", "new": "b"}), "there is no tool 'edit' here"),
        (ToolUseBlock("t", "read", {"path": "../../../../etc/passwd"}), "outside"),
        (ToolUseBlock("t", "read", {"pth": "a"}), "the arguments do not fit"),
    ],
)
def test_a_model_is_told_what_it_may_not_do_and_goes_on(start, use, said):
    rehearsed = start(LOOP % ("fake", ""), rules=[Rule(match=said, text="I see"), Rule(tools=(use,))])
    assert rehearsed.all()["work"].text == "I see"
    (answer,) = results(rehearsed.fake.requests[1])
    assert answer.is_error


def test_a_loop_without_end_is_ended_by_max_turns_and_does_not_use_what_nobody_would_hear_of(start):
    rehearsed = start(LOOP % ("[fake/a, fake/b]", ", max_turns: 3"), rules=[Rule(tools=(WRITE,))])
    result = rehearsed.all()["work"]
    assert (result.error.cause, len(rehearsed.fake.requests), len(rehearsed.lines("tool"))) == ("max_turns", 3, 2)


def test_typed_data_at_the_end_of_a_loop_is_corrected_once_without_using_tools_again(start):
    rules = [
        Rule(match="could not be used", data={"n": 2}),
        Rule(match="2\ttwo", text="no JSON"),
        Rule(tools=(WRITE, READ)),
    ]
    rehearsed = start(LOOP % ("fake", ", output: {n: integer}"), rules=rules)
    result = rehearsed.all()["work"]
    assert (result.data, len(rehearsed.fake.requests), len(rehearsed.lines("tool"))) == ({"n": 2}, 3, 2)


def test_a_tool_asked_for_in_place_of_the_correction_is_not_used(start):
    rules = [Rule(match="could not be used", tools=(WRITE,)), Rule(text="no JSON")]
    rehearsed = start(LOOP % ("fake", ", output: {n: integer}"), rules=rules)
    result = rehearsed.all()["work"]
    assert (result.error.cause, rehearsed.lines("tool")) == ("malformed_output", [])


def test_a_turn_that_was_paused_goes_on_where_it_was(start):
    rules = [Rule(match="half", text="the rest"), Rule(text="half", stop_reason="pause_turn")]
    rehearsed = start(LOOP % ("fake", ""), rules=rules)
    assert rehearsed.all()["work"].text == "the rest"
    assert roles(rehearsed.fake.requests[1]) == [("user", ["text"]), ("assistant", ["text"])]


class ByModel(FakeProvider):
    """Model `first` asks for tools and is then ill; `plain` takes no tools."""

    def capabilities(self, model):
        return Capabilities(output_schema=True, tools=model != "plain", streaming=False)

    def send(self, request, **options):
        if request.model == "first" and len(request.messages) > 1:
            self.requests.append(request)
            raise ProviderError("no", cause="overloaded")
        return super().send(request, **options)


def test_the_next_model_goes_on_with_what_the_first_had_done(start):
    provider = ByModel(LOOPED)
    rehearsed = start(LOOP % ("[fake/first, fake/second]", ""), opened={"fake": provider})
    assert rehearsed.all()["work"].text == "done"
    assert [request.model for request in provider.requests] == ["first", "first", "first", "first", "second"]
    assert len(rehearsed.lines("tool")) == 2


def test_models_that_take_no_tools_are_passed_over_and_none_left_is_an_error(start):
    provider = ByModel(LOOPED)
    rehearsed = start(LOOP % ("[fake/plain, fake/second]", ""), opened={"fake": provider})
    assert rehearsed.all()["work"].text == "done"
    assert {request.model for request in provider.requests} == {"second"}
    failed = start(LOOP % ("fake/plain", ""), opened={"fake": provider}).all()["work"].error
    assert (failed.cause, "fake/plain cannot use" in failed.message) == ("bad_input", True)


def test_equal_uses_with_equal_ids_are_used_each_time_and_replayed_each(start):
    again = ToolUseBlock("t", "command", {"program": "sh", "arguments": ["-c", "echo x >> log; wc -l < log"]})
    text = LOOP.replace("[read, write, grep]", "[{command: [sh]}]") % ("fake", "")
    rules = [Rule(match="3", text="thrice"), Rule(tools=(again,))]
    first = start(text, rules=rules)
    assert first.all()["work"].text == "thrice"
    journal = next((first.home.journal / first.run.info.root_run).iterdir())
    whole = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(line for line in whole if json.loads(line)["kind"] != "step"))
    resumed = start(text, rules=rules, root=first.run.info.root_run)
    assert resumed.all()["work"].text == "thrice"
    assert (len(resumed.fake.requests), len(resumed.lines("tool"))) == (0, 3)


def test_cancelling_ends_the_loop_before_the_next_tool(start):
    rehearsed = start(LOOP % ("fake", ""), rules=LOOPED)
    rehearsed.run.cancelled.set()
    with pytest.raises(Cancelled):
        rehearsed.all()


def served(server):
    return {
        "model": None,
        "anthropic_api_key": "not-a-key",
        "anthropic_base_url": server.base_url,
        "gemini_api_key": "not-a-key",
        "gemini_base_url": server.base_url,
        "local_base_url": f"{server.base_url}/v1",
    }


THINKING = {"type": "thinking", "thinking": "hm", "signature": "c2lnbmVk"}
HIDDEN = {"type": "redacted_thinking", "data": "b3BhcXVl"}
CALLS = ({"name": "write", "input": dict(WRITE.input)}, {"name": "read", "input": dict(READ.input)})
GEMINI_CALLS = (
    {"text": "hm", "thought": True},
    {"functionCall": {"name": "write", "args": dict(WRITE.input)}, "thoughtSignature": "c2lnbmVk"},
    {"functionCall": {"name": "read", "args": dict(READ.input)}},
)


@pytest.mark.parametrize("stream", [{}, {"elexirion/stream": "yes"}], ids=["plain", "stream"])
@pytest.mark.parametrize("model", ["anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash", "local/some-model"])
def test_the_real_clients_loop_and_send_thinking_back_as_it_came(start, model, stream):
    provider = model.partition("/")[0]
    first = {
        "anthropic": {"blocks": [THINKING, HIDDEN], "tools": CALLS},
        "gemini": {"blocks": GEMINI_CALLS},
        "local": {"tools": CALLS},
    }[provider]
    last = {"match": "2\ttwo", "data": {"n": 2}}
    script = Script.model_validate({"answers": [last, {"text": "I look.", **first}]})
    with RehearsalServer(script) as server:
        rehearsed = start(LOOP % (model, ", output: {n: integer}"), settings=served(server), tags=stream)
        result = rehearsed.all()["work"]
        first_body, second_body = (request.body for request in server.requests)
    assert (result.error, result.data) == (None, {"n": 2})
    assert len(first_body["tools"]) == (1 if provider == "gemini" else 3)
    sent = json.dumps(second_body)
    match provider:
        case "anthropic":
            assert second_body["messages"][1]["content"][:2] == [THINKING, HIDDEN]
            answers = second_body["messages"][2]["content"]
            assert [answer["tool_use_id"] for answer in answers] == ["toolu_1_0", "toolu_1_1"]
        case "gemini":
            parts = second_body["contents"][1]["parts"]
            assert [part for part in parts if "thought" in part or "thoughtSignature" in part] == [
                {"text": "hm", "thought": True},
                {
                    "functionCall": {"id": "call_1_1", "name": "write", "args": dict(WRITE.input)},
                    "thoughtSignature": "c2lnbmVk",
                },
            ]
            assert len(second_body["contents"][2]["parts"]) == 2
        case "local":
            assert [turn["role"] for turn in second_body["messages"]] == ["system", "user", "assistant", "tool", "tool"]
            assert "response_format" not in sent
    assert "2\\ttwo" in sent


@pytest.mark.parametrize("model", ["anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash", "local/some-model"])
def test_half_a_character_from_a_model_does_not_end_the_loop(start, model):
    use = {"name": "read", "input": {"path": "a\ud800"}}
    corrected = {"match": "could not be used", "data": {"n": 1}}
    answers = [corrected, {"match": "no usable", "text": "half \ud800"}, {"tools": [use]}]
    with RehearsalServer(Script.model_validate({"answers": answers})) as server:
        result = start(LOOP % (model, ", output: {n: integer}"), settings=served(server)).all()["work"]
    assert (result.error, result.data) == (None, {"n": 1})


def test_a_loop_killed_after_any_journal_line_and_resumed_pays_and_uses_everything_once(tmp_path, environ):
    command = {
        "name": "command",
        "input": {"program": "sh", "arguments": ["-c", "echo x >> log; printf %s%s appen ded"]},
    }
    answers = [
        {"match": "and now", "text": "the end"},
        {"match": "appended", "text": "all done"},
        {"match": "is not known", "tools": [command]},
        {"match": "2\ttwo", "tools": [command]},
        {"tools": CALLS},
    ]
    with RehearsalServer(Script.model_validate({"answers": answers})) as server:
        program = [sys.executable, str(Path(__file__).with_name("killed_loops.py")), str(tmp_path), server.base_url]
        done = subprocess.run(
            program, cwd=Path(__file__).parents[3], env=environ, capture_output=True, text=True, check=False
        )
        calls = server.count
    assert done.returncode == 0, done.stderr
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    assert {json.dumps(one) for one in rounds} == {
        json.dumps({"texts": ["all done", "the end"], "used": ["x"], "said": 2})
    }
    assert len(rounds) > 20
    assert calls == 4 * len(rounds) + 1  # told once that nobody knows, right after the command was announced


def test_thinking_stays_in_the_turn_it_belongs_to(start):
    class Thinking(FakeProvider):
        def send(self, request, **options):
            from dataclasses import replace

            reply = super().send(request, **options)
            return replace(reply, blocks=(ThinkingBlock(THINKING), *reply.blocks))

    provider = Thinking(LOOPED)
    start(LOOP % ("fake", ""), opened={"fake": provider}).all()
    assert provider.requests[1].messages[1] == Message("assistant", (ThinkingBlock(THINKING), WRITE, READ))
    assert provider.requests[1].messages[0] == Message("user", (TextBlock("begin"),))


def again(times, *uses):
    """Rules of a model that asks for these uses so often, and then is done."""
    return [*(Rule(tools=uses, times=1) for _ in range(times)), Rule(text="done")]


def test_a_use_with_the_same_result_is_told_so_and_the_third_ends_the_loop(start):
    rehearsed = start(LOOP % ("fake", ""), rules=again(2, READ))
    assert rehearsed.all()["work"].text == "done"
    first, second = results(rehearsed.fake.requests[-1])
    assert second.text.startswith(first.text)
    assert "the same call with the same result" not in first.text
    assert "the same call with the same result" in second.text
    circles = start(LOOP % ("fake", ""), rules=again(3, READ))
    error = circles.all()["work"].error
    assert (error.cause, "3 times with the same arguments" in error.message) == ("max_turns", True)
    assert len(circles.fake.requests) == 3


def test_what_changed_something_or_was_asked_for_together_is_no_circle(start):
    edits = [ToolUseBlock(f"e{at}", "write", {"path": "b.txt", "text": str(at)}) for at in range(4)]
    rules = [*(Rule(tools=(READ, READ, edit), times=1) for edit in edits), Rule(text="done")]
    rehearsed = start(LOOP % ("fake", ""), rules=rules)
    assert rehearsed.all()["work"].text == "done"
    assert "the same call" not in rehearsed.fake.requests[-1].messages[-1].content[-1].text
