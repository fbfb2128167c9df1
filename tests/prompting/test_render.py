import subprocess
import sys
from dataclasses import replace

import pytest

from elexirion_dagster.prompting.render import Example, build_request, request_hash, schema_in_system
from elexirion_dagster.records import Message, Request, TextBlock, ThinkingBlock, Tool, ToolResultBlock, ToolUseBlock

SCHEMA = {"type": "object", "properties": {"b": {"type": "string"}, "a": {"type": "integer"}}}


def test_examples_become_turns_before_the_conversation_and_the_last_user_turn():
    earlier = Message("user", (TextBlock("earlier"),)), Message("assistant", (TextBlock("yes"),))
    request = build_request(model="m", user="now", examples=[Example("q1", "a1"), Example("q2", "a2")], history=earlier)
    turns = [(turn.role, turn.content[0].text) for turn in request.messages]
    assert turns == [
        ("user", "q1"),
        ("assistant", "a1"),
        ("user", "q2"),
        ("assistant", "a2"),
        ("user", "earlier"),
        ("assistant", "yes"),
        ("user", "now"),
    ]


def test_a_native_schema_travels_beside_the_text():
    request = build_request(model="m", user="u", system="s", output_schema=SCHEMA, native_schema=True)
    assert (request.system, request.output_schema) == ("s", SCHEMA)


def test_without_native_support_the_schema_ends_the_system_text():
    request = build_request(model="m", user="u", system="s", output_schema=SCHEMA, native_schema=False)
    assert request.output_schema is None
    assert request.system.startswith("s\n\nAnswer with exactly one JSON value")
    assert request.system.endswith('{"properties":{"a":{"type":"integer"},"b":{"type":"string"}},"type":"object"}')


def test_key_order_of_a_schema_changes_nothing():
    turned = {"properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "type": "object"}
    requests = [build_request(model="m", user="u", output_schema=schema) for schema in (SCHEMA, turned)]
    assert len({request_hash(request) for request in requests}) == 1
    assert len({schema_in_system(request).system for request in requests}) == 1


def test_a_request_without_a_schema_is_left_alone():
    request = build_request(model="m", user="u", native_schema=False)
    assert request.system is None


BASE = Request(model="m", messages=(Message("user", (TextBlock("u"),)),))


@pytest.mark.parametrize(
    "change",
    [
        {"model": "n"},
        {"system": "s"},
        {"system": ""},
        {"max_tokens": 1},
        {"temperature": 0.0},
        {"stop_sequences": ("x",)},
        {"tools": (Tool("t", "d", {}),)},
        {"output_schema": {}},
        {"messages": (Message("assistant", (TextBlock("u"),)),)},
        {"messages": (Message("user", (TextBlock("u"), TextBlock(""))),)},
        {"messages": (Message("user", (ToolResultBlock("t", "u"),)),)},
        {"messages": (Message("user", (ToolResultBlock("t", "u", is_error=True),)),)},
        {"messages": (Message("assistant", (ThinkingBlock({"type": "thinking"}),)),)},
        {"messages": (Message("assistant", (ToolUseBlock("t", "n", {}),)),)},
    ],
)
def test_everything_that_changes_the_answer_changes_the_hash(change):
    assert request_hash(replace(BASE, **change)) != request_hash(BASE)


def test_how_the_answer_travels_does_not_change_the_hash():
    assert request_hash(replace(BASE, stream=True)) == request_hash(BASE)


def test_whole_and_broken_numbers_hash_alike():
    assert request_hash(replace(BASE, temperature=0)) == request_hash(replace(BASE, temperature=0.0))


def test_the_hash_is_the_same_in_another_process():
    program = (
        "from elexirion_dagster.prompting.render import *\n"
        "print(request_hash(build_request(model='m', user='ü \\ud800', output_schema={'b': 1, 'a': 2})))"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    assert printed == request_hash(build_request(model="m", user="ü \ud800", output_schema={"a": 2, "b": 1}))
