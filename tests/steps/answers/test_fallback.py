import pytest

from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.fake import Rule
from elexirion_dagster.records import Usage

ASK = """
inputs: {q: {type: string, default: why}}
model: fake
retry: {initial_s: 0}%s
steps: [{name: ask, type: llm, prompt: "{{ inputs.q }} in depth"%s}]
"""
REFUSED = Rule(match="in depth", error=ProviderError("no", cause="refused"))


def ask(more, root=""):
    return ASK % (root, more)


def test_a_fixed_answer_makes_the_step_degraded_and_says_why(one):
    result = one(ask(", fallback: {answer: 'nothing on {{ inputs.q }}'}"), rules=[REFUSED])
    assert (result.status, result.text, result.error) == ("degraded", "nothing on why", None)
    assert result.reason == "fallback after refused: no"


def test_a_secret_in_a_fixed_answer_is_not_kept(one):
    result = one(ask(", fallback: {answer: ['{{ inputs.q }}']}"), rules=[REFUSED], q="sk-ant-abcdefghijklmnopqrst")
    assert (result.data, result.text) == (["[redacted:anthropic_key]"], '["[redacted:anthropic_key]"]')


def test_a_fixed_answer_may_be_data(one):
    result = one(ask(", output: {n: integer}, fallback: {answer: {n: 0}}"), rules=[REFUSED])
    assert (result.status, result.data) == ("degraded", {"n": 0})


def test_a_fixed_answer_that_turns_out_not_to_fit_is_the_failure_it_was(one):
    result = one(ask(", output: {n: integer}, fallback: {answer: {n: '{{ inputs.q }}'}}"), rules=[REFUSED])
    assert (result.status, result.error.cause) == ("failed", "refused")
    assert "does not fit its output" in result.error.message


def test_a_simpler_prompt_is_asked_once_without_tools_session_and_examples(start):
    more = (
        ", system: Be brief., tools: [read], session: chat, examples: [{prompt: a, answer: b}], output: {n: integer}"
        ", fallback: {prompt: 'just {{ inputs.q }}'}"
    )
    rehearsed = start(ask(more), rules=[REFUSED, Rule(match="just", data={"n": 1}, usage=Usage(3, 1))])
    result = rehearsed.all()["ask"]
    assert (result.status, result.data, result.usage) == ("degraded", {"n": 1}, Usage(3, 1))
    last = rehearsed.fake.requests[-1]
    assert ([turn.content[0].text for turn in last.messages], last.tools) == (["just why"], ())
    assert last.system == "Be brief."
    (reply,) = rehearsed.lines("reply")
    assert (reply["path"], reply["prompt_version"]) == ("ask[fallback]", None)
    assert rehearsed.lines("exchange") == []


def test_when_the_simpler_prompt_fails_too_the_first_failure_counts(start):
    rehearsed = start(ask(", output: {n: integer}, fallback: {prompt: simply}"), rules=[REFUSED, Rule(text="no JSON")])
    result = rehearsed.all()["ask"]
    assert (result.status, result.error.cause) == ("failed", "refused")
    assert "the fallback failed too" in result.error.message
    assert len(rehearsed.fake.requests) == 2  # no correction is asked for


def test_further_attempts_come_before_the_fallback(start):
    rules = [Rule(text="no JSON", times=2), Rule(data={"n": 1})]
    more = ", output: {n: integer}, retry: {on: [malformed_output], initial_s: 0}, fallback: {answer: {n: 0}}"
    result = start(ask(more), rules=rules).all()["ask"]
    assert (result.status, result.data) == ("succeeded", {"n": 1})


@pytest.mark.parametrize(("fallback", "status"), [("{prompt: simply}", "failed"), ("{answer: nothing}", "degraded")])
def test_a_spent_budget_asks_nothing_more_but_takes_an_answer(start, fallback, status):
    rehearsed = start(ask(f", fallback: {fallback}", "\nbudget: {tokens: 10}"))
    result = rehearsed.all()["ask"]
    assert (result.status, len(rehearsed.fake.requests)) == (status, 0)


def test_a_resumed_run_pays_for_the_fallback_once(start):
    text, rules = ask(", fallback: {prompt: simply}"), [REFUSED, Rule(text="so")]
    first = start(text, rules=rules)
    first.all()
    journal = next((first.home.journal / first.run.info.root_run).iterdir())
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if '"kind":"step"' not in line))
    resumed = start(text, rules=rules, root=first.run.info.root_run)
    assert resumed.all()["ask"].text == "so"
    assert [turn.messages[0].content[0].text for turn in resumed.fake.requests] == ["why in depth"]
