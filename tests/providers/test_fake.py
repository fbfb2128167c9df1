import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from elexirion_dagster.errors import Cancelled
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.fake import FakeProvider, Rule
from elexirion_dagster.records import Message, Request, TextBlock, ToolUseBlock, Usage


def request(text, **fields):
    return Request(model="fake", messages=(Message("user", (TextBlock(text),)),), **fields)


def test_without_rules_the_answer_names_the_fake_and_repeats_the_question():
    reply = FakeProvider().send(request("What is two and two?"), timeout_s=1)
    assert reply.text == "[fake model, no real answer] What is two and two?"
    assert (reply.cost_usd, reply.stop_reason, reply.provider) == (0.0, "end_turn", "fake")
    assert reply.usage == Usage(input_tokens=5, output_tokens=13)


def test_a_schema_gets_a_valid_answer():
    schema = {"type": "object", "properties": {"rules": {"type": "array"}}, "required": ["rules"]}
    assert json.loads(FakeProvider().send(request("go", output_schema=schema), timeout_s=1).text) == {"rules": []}


def test_the_first_matching_rule_answers():
    fake = FakeProvider([Rule(match="beta", text="B"), Rule(pattern=r"al\w+", data={"a": 1}), Rule(text="rest")])
    answers = [fake.send(request(text), timeout_s=1).text for text in ("alpha", "beta", "gamma")]
    assert answers == ['{"a": 1}', "B", "rest"]


def test_a_rule_sees_the_system_text():
    fake = FakeProvider([Rule(match="reviewer", text="seen")])
    assert fake.send(request("x", system="You are a reviewer"), timeout_s=1).text == "seen"


def test_tool_rules_stop_for_tool_use():
    fake = FakeProvider([Rule(tools=(ToolUseBlock("t1", "read", {"path": "a"}),))])
    reply = fake.send(request("x"), timeout_s=1)
    assert (reply.stop_reason, reply.blocks) == ("tool_use", (ToolUseBlock("t1", "read", {"path": "a"}),))


def test_a_rule_with_times_steps_aside_even_under_threads():
    fake = FakeProvider([Rule(text="first", times=7), Rule(text="then")])
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: fake.send(request("x"), timeout_s=1).text, range(200)))
    assert (answers.count("first"), answers.count("then")) == (7, 193)


def test_a_scripted_error_keeps_its_fields_and_is_a_new_instance_each_time():
    error = ProviderError("busy", cause="overloaded", retry_after_s=3.0, status=529, usage=Usage(1, 2))
    fake = FakeProvider([Rule(error=error)])
    caught = []
    for _ in range(2):
        with pytest.raises(ProviderError) as info:
            fake.send(request("x"), timeout_s=1)
        caught.append(info.value)
    assert caught[0] is not caught[1]
    assert vars(caught[0]) == vars(error)
    assert caught[0].billed


def test_a_provider_error_survives_pickling():
    error = ProviderError("no", cause="refused", category="cyber", mend="Ask otherwise.")
    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)  # noqa: S301  our own bytes


def test_a_delay_beyond_the_timeout_is_a_timeout():
    with pytest.raises(ProviderError) as caught:
        FakeProvider([Rule(delay_s=60)]).send(request("x"), timeout_s=0.01)
    assert caught.value.cause == "timeout"


def test_cancelling_ends_a_delay():
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()
    with pytest.raises(Cancelled):
        FakeProvider([Rule(delay_s=60)]).send(request("x"), timeout_s=120, cancelled=stop)


def test_text_is_handed_out():
    pieces = []
    FakeProvider([Rule(text="hello")]).send(request("x"), timeout_s=1, on_text=pieces.append)
    assert pieces == ["hello"]


def test_requests_are_kept_in_order():
    fake = FakeProvider()
    for text in ("a", "b"):
        fake.send(request(text), timeout_s=1)
    assert [kept.messages[0].content[0].text for kept in fake.requests] == ["a", "b"]
