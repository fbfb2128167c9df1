"""What a recovery run does again, and what it does not."""

import json

import pytest

from elexirion_dagster.errors import InputError
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.fake import FakeProvider, Rule
from elexirion_dagster.tags import CEILING_TAG, CHANGE_TAG, MODEL_TAG, PART_TAG, ROOT_PIPELINE_TAG

TWO = """
retry: {max_attempts: 1}
steps:
  - {name: first, type: llm, prompt: "question one", max_tokens: 100}
  - {name: second, type: llm, prompt: "question two after {{ steps.first.text }}", max_tokens: 100}
"""
EACH = """
steps:
  - name: review
    type: for_each
    items: [a, b, c, d, e]
    on_error: collect
    steps:
      - {name: look, type: llm, prompt: "look at {{ item }}"}
"""


def overloaded(match):
    return Rule(match=match, error=ProviderError("too busy", cause="overloaded"), times=1)


def failed(start, text=TWO, match="question two", **options):
    first = start(text, rules=[overloaded(match)], **options)
    assert list(first.all().values())[-1].status == "failed"
    first.run.close()
    return first


def change(**edits):
    return {CHANGE_TAG: json.dumps(edits)}


def test_a_continued_run_asks_only_what_was_not_answered(start):
    first = failed(start)
    again = start(TWO, root=first.run.info.root_run)
    assert [result.status for result in again.all().values()] == ["succeeded", "succeeded"]
    assert len(again.fake.requests) == 1


def test_a_changed_model_answers_what_is_left_and_leaves_what_is_finished(start):
    first = failed(start)
    other = FakeProvider([])
    again = start(
        TWO,
        root=first.run.info.root_run,
        tags=change(model="local/other"),
        opened={"local": other},
        settings={"local_base_url": "http://127.0.0.1:9/v1"},
    )
    assert [result.status for result in again.all().values()] == ["succeeded", "succeeded"]
    assert (len(again.fake.requests), len(other.requests)) == (0, 1)


def test_a_recovery_of_a_recovery_finds_what_the_first_one_finished_with_its_changes(start):
    first = failed(start)
    second = start(TWO, root=first.run.info.root_run, tags=change(max_tokens=200))
    second.all()
    second.run.close()
    third = start(TWO, root=first.run.info.root_run, tags=change(max_tokens=400))
    third.all()
    assert [request.max_tokens for request in second.fake.requests] == [200]
    assert not third.fake.requests


def test_the_model_that_a_user_chose_keeps_its_finished_steps_through_a_change(start):
    first = failed(start, tags={MODEL_TAG: "fake/chosen"})
    again = start(TWO, root=first.run.info.root_run, tags={MODEL_TAG: "fake/chosen", **change(model="fake/next")})
    again.all()
    assert [request.model for request in again.fake.requests] == ["next"]


def test_a_run_that_asks_no_model_asks_none_whatever_is_changed(start):
    run = start(TWO, tags={MODEL_TAG: "none", **change(model="fake/other")})
    assert {result.status for result in run.all().values()} == {"skipped"}
    assert not run.fake.requests


def test_halves_work_on_their_items_only_and_do_not_count_as_the_whole(start):
    first = start(EACH, rules=[Rule(match="look at c", error=ProviderError("no", cause="refused"))])
    first.run.close()
    halves = []
    for part in ("1/2", "2/2"):
        half = start(EACH, root=first.run.info.root_run, tags={PART_TAG: part})
        halves.append([entry["item"] for entry in half.all()["review"].results])
        half.run.close()
    assert halves == [["a", "b"], ["c", "d", "e"]]
    whole = start(EACH, root=first.run.info.root_run)
    assert len(whole.all()["review"].results) == 5
    assert not whole.fake.requests


def test_what_follows_the_items_is_done_once_by_the_run_that_puts_the_halves_together(start):
    text = EACH + "  - {name: sum, type: llm, prompt: 'all {{ steps.review.results | length }}'}\n"
    first = start(text, rules=[Rule(match="look at c", error=ProviderError("no", cause="refused"), times=1)])
    first.run.step(first.run.pipeline.steps[0], {})
    first.run.close()
    root, asked = first.run.info.root_run, []
    for part in ("1/2", "2/2"):
        half = start(text, root=root, tags={PART_TAG: part})
        assert half.all()["sum"].status == "skipped"
        asked += half.fake.requests
        half.run.close()
    whole = start(text, root=root)
    assert whole.all()["sum"].status == "succeeded"
    assert len(asked) == 1, "only the item that had failed was left for the halves"
    assert [request.messages[0].content[0].text for request in whole.fake.requests] == ["all 5"]


def test_a_prompt_version_can_be_changed_to_the_text_of_the_yaml_or_to_one_that_is_there(start):
    text = "steps:\n  - {name: ask, type: llm, system: Be kind., prompt: go}\n"
    first = start(text)
    again = start(text, root=first.run.info.root_run, tags=change(prompts={"ask": "yaml"}))
    assert again.all()["ask"].status == "succeeded"
    gone = start(text, tags=change(prompts={"ask": "0" * 64}))
    assert gone.all()["ask"].status == "failed"


def test_another_pipeline_has_inputs_of_its_own_and_the_budget_of_the_root_run(start):
    budget = "name: one\nbudget: {tokens: 40}\ninputs: {x: {type: string, default: a}}\n"
    first = start(budget + "steps:\n  - {name: ask, type: set, vars: {y: '{{ inputs.x }}'}}\n", x="given")
    first.all()
    tags = {ROOT_PIPELINE_TAG: "one", CEILING_TAG: '{"tokens": 40}'}
    other = "name: other\nbudget: {tokens: 9000000}\ninputs: {x: {type: string}, z: {type: integer, default: 2}}\n"
    text = other + "steps:\n  - {name: ask, type: llm, prompt: '{{ inputs.x }} {{ inputs.z }}'}\n"
    second = start(text, root=first.run.info.root_run, tags=tags, x="given")
    assert second.run.inputs == {"x": "given", "z": 2}
    assert second.all()["ask"].error.cause == "budget_exceeded"


@pytest.mark.parametrize("tags", [{CHANGE_TAG: "{"}, {CHANGE_TAG: '{"colour": 1}'}, {PART_TAG: "3/2"}, {PART_TAG: "x"}])
def test_tags_that_cannot_be_read_are_told_in_words(start, tags):
    with pytest.raises(InputError, match=r"cannot be read|a part such as"):
        start(TWO, tags=tags)


def test_fewer_threads_and_tools_never_become_more(start):
    text = """
limits: {threads: 2}
steps:
  - {name: ask, type: llm, prompt: go, tools: [read]}
"""
    run = start(text, tags=change(limits={"threads": 64}, tools=["read", "write", "command"]))
    run.all()
    assert [tool.name for tool in run.fake.requests[0].tools] == ["read"]
