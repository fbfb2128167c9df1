import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from elexirion_dagster.errors import StorageError
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.fake import Rule

TALK = """
name: talk
model: fake
retry: {initial_s: 0}
steps:
  - {name: a, type: llm, prompt: first, session: %(chat)s}
  - {name: b, type: llm, prompt: second, session: %(chat)s, continue_on_error: true}
  - {name: other, type: llm, prompt: alone}
  - {name: c, type: llm, prompt: third, session: %(chat)s}
"""
SECRET = "sk-ant-abcdefghijklmnopqrstuvwxyz"


def talk(chat="chat"):
    return TALK % {"chat": chat}


def echo():
    return [Rule(match=word, text=f"to {word}") for word in ("third", "second", "first")]


def heard(rehearsed):
    """The turns of each request as one line of text."""
    return [" ".join(turn.content[0].text for turn in request.messages) for request in rehearsed.fake.requests]


def test_calls_of_one_session_hear_what_was_said_before(start):
    rehearsed = start(talk(), rules=echo())
    rehearsed.all()
    assert [line for line in heard(rehearsed) if line != "alone"] == [
        "first",
        "first to first second",
        "first to first second to second third",
    ]


def test_a_conversation_of_one_run_is_unknown_to_the_next(start):
    start(talk(), rules=echo()).all()
    second = start(talk(), rules=echo())
    second.all()
    assert heard(second)[0] == "first"
    assert not second.home.sessions.exists()


def test_a_conversation_of_the_pipeline_goes_on_in_the_next_run_and_is_private(start):
    chat = "{name: chat, scope: pipeline}"
    start(talk(chat), rules=echo()).all()
    second = start(talk(chat), rules=echo())
    second.all()
    assert heard(second)[0] == "first to first second to second third to third first"
    file = second.home.sessions / "talk" / "chat.jsonl"
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert len(file.read_text().splitlines()) == 6


def test_the_oldest_exchanges_are_left_out_whole_when_there_is_no_room(start):
    chat = "{name: chat, max_tokens: 4}"  # `second` and `to second` are 2 + 3 tokens, `first` and `to first` 2 + 2
    rehearsed = start(talk(chat), rules=echo())
    rehearsed.all()
    assert [line for line in heard(rehearsed) if line != "alone"] == ["first", "first to first second", "third"]


def test_secrets_are_not_in_a_conversation(start):
    text = talk("{name: chat, scope: pipeline}").replace("prompt: first", f"prompt: first {SECRET}")
    rehearsed = start(text, rules=echo())
    rehearsed.all()
    assert SECRET not in (rehearsed.home.sessions / "talk" / "chat.jsonl").read_text()
    assert SECRET not in json.dumps(rehearsed.lines("exchange"))


def test_what_failed_is_not_part_of_the_conversation(start):
    refused = Rule(match="second", error=ProviderError("no", cause="refused"))
    rehearsed = start(talk(), rules=[echo()[0], refused, echo()[2]])
    rehearsed.all()
    assert heard(rehearsed)[-1] == "first to first third"


def test_a_resumed_run_hears_what_it_heard_first_whatever_was_said_since(start):
    chat = "{name: chat, scope: pipeline}"
    ill = Rule(match="second", error=ProviderError("no", cause="auth"), times=1)
    first = start(talk(chat), rules=[ill, *echo()])
    first.all()
    assert heard(first)[-1] == "first to first third"
    start(talk(chat), rules=echo()).all()
    resumed = start(talk(chat), rules=echo(), root=first.run.info.root_run)
    results = resumed.all()
    assert heard(resumed) == ["first to first second"]
    assert [results[name].text for name in ("a", "b", "c")] == ["to first", "to second", "to third"]


def test_a_recovered_step_takes_its_place_in_program_order(start):
    ill = Rule(match="second", error=ProviderError("no", cause="auth"), times=1)
    first = start(talk(), rules=[ill, *echo()])
    first.all()
    text = f"{talk()}  - {{name: d, type: llm, prompt: fourth, session: chat}}\n"
    resumed = start(text, rules=[Rule(match="fourth", text="to fourth"), *echo()], root=first.run.info.root_run)
    resumed.all()
    assert heard(resumed)[-1] == "first to first second to second third to third fourth"


@pytest.mark.parametrize("damage", ['{"v":1,"id":"x","turns":[["us', "nonsense\n", '{"v":1}\n'])
def test_a_torn_line_of_the_store_is_passed_over(start, damage):
    chat = "{name: chat, scope: pipeline}"
    first = start(talk(chat), rules=echo())
    first.all()
    with (first.home.sessions / "talk" / "chat.jsonl").open("a") as file:
        file.write(damage)
    second = start(talk(chat), rules=echo())
    second.all()
    third = start(talk(chat), rules=echo())
    third.all()
    assert heard(third)[0].count("third to third") == 2


def test_a_store_of_a_newer_format_is_refused(start):
    chat = "{name: chat, scope: pipeline}"
    first = start(talk(chat), rules=echo())
    file = first.home.sessions / "talk" / "chat.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text('{"v":9,"id":"x","turns":[]}\n')
    with pytest.raises(StorageError, match="format 9"):
        first.all()


def test_items_one_after_the_other_are_one_conversation(start):
    text = """
model: fake
steps:
  - name: each
    type: for_each
    items: [first, second]
    max_parallel: 1
    steps: [{name: ask, type: llm, prompt: "{{ item }}", session: chat}]
"""
    rehearsed = start(text, rules=echo())
    rehearsed.all()
    assert heard(rehearsed) == ["first", "first to first second"]


def test_runs_that_end_at_the_same_time_all_find_their_place(start):
    chat = "{name: chat, scope: pipeline}"
    runs = [start(talk(chat), rules=echo()) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda rehearsed: rehearsed.all(), runs))
    file = runs[0].home.sessions / "talk" / "chat.jsonl"
    found = [json.loads(line)["id"] for line in file.read_text().splitlines()]
    assert sorted(found) == sorted(f"{one.run.info.root_run}/{name}" for one in runs for name in "abc")
