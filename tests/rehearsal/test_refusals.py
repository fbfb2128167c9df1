"""The rehearsal server refuses what the services refuse, so that a rehearsal finds it."""

import httpx
import pytest

from elexirion_dagster.rehearsal.server import RehearsalServer

TOOL = {"type": "tool_use", "id": "t", "name": "read", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": ""}


def user(content):
    return {"role": "user", "content": content}


def text(said):
    return {"type": "text", "text": said}


def part(**fields):
    return {"contents": [{"role": "user", "parts": [fields]}]}


MESSAGES, CHAT, GEMINI = "/v1/messages", "/v1/chat/completions", "/v1beta/models/m:generateContent"
REFUSED = [
    (MESSAGES, {"messages": []}, "at least one message is required"),
    (MESSAGES, {"messages": [user("")]}, "messages.0: all messages must have non-empty content"),
    (MESSAGES, {"messages": [user([])]}, "messages.0: all messages must have non-empty content"),
    (MESSAGES, {"messages": [user([text("")])]}, "text content blocks must be non-empty"),
    (MESSAGES, {"messages": [user([text(" \n")])]}, "text content blocks must contain non-whitespace text"),
    (MESSAGES, {"messages": [user("hi")], "system": [text(" ")]}, "system: text content blocks must contain"),
    (MESSAGES, {"messages": [user("hi"), {"role": "assistant", "content": "So: "}]}, "trailing whitespace"),
    (CHAT, {"messages": []}, "empty array"),
    (CHAT, {"messages": [user(None)]}, "expected a string, got null"),
    (GEMINI, {"contents": []}, "contents is not specified"),
    (GEMINI, {"contents": [{"role": "user", "parts": []}]}, "contents[0].parts: contents.parts must not be empty"),
    (GEMINI, part(), "required oneof field 'data'"),
    (GEMINI, part(text=""), "required oneof field 'data'"),
    (GEMINI, part(thoughtSignature="x"), "required oneof field 'data'"),
]
TAKEN = [
    (MESSAGES, {"messages": [user("hi"), {"role": "assistant", "content": ""}]}),
    (MESSAGES, {"messages": [user("hi"), {"role": "assistant", "content": [TOOL]}, user([RESULT])], "system": ""}),
    (CHAT, {"messages": [user(""), {"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]}]}),
    (GEMINI, part(text=" ")),
    (GEMINI, part(functionResponse={})),
]


@pytest.fixture(scope="module")
def server():
    with RehearsalServer() as running:
        yield running


def answer(server, path, body):
    answered = httpx.post(server.base_url + path, json={"model": "m", "max_tokens": 9, **body})
    return answered.status_code, answered.text if answered.is_success else answered.json()["error"]["message"]


@pytest.mark.parametrize(("path", "body", "message"), REFUSED)
def test_what_the_service_refuses_is_refused_in_its_words_and_is_no_call(server, path, body, message):
    before = server.count
    status, said = answer(server, path, body)
    assert (status, message in said) == (400, True), said
    assert server.count == before


@pytest.mark.parametrize(("path", "body"), TAKEN)
def test_what_the_service_takes_is_answered(server, path, body):
    assert answer(server, path, body)[0] == 200
