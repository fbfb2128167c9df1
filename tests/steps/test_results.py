"""What every step's result says, whatever its type: a status, a measured duration, costs that were measured or none."""

import pytest

from elexirion_dagster.providers.fake import Rule
from elexirion_dagster.spec.steps import STEP_MODELS

ASK = "{name: ask, type: llm, prompt: hello}"
SET = "{name: inner, type: set, vars: {x: 1}}"
STEPS = {
    "llm": "type: llm, prompt: hello",
    "for_each": f"type: for_each, items: [1, 2], steps: [{ASK}]",
    "while": f"type: while, condition: '{{{{ loop.index < 3 }}}}', steps: [{ASK}]",
    "switch": f"type: switch, value: '{{{{ 1 }}}}', cases: {{'1': [{ASK}]}}",
    "pipeline": f"type: pipeline, pipeline: {{steps: [{ASK}]}}",
    "transform": "type: transform, from: [1, 2], ops: [{limit: 1}]",
    "files": "type: files, write: {path: a.txt, text: x}",
    "command": "type: command, run: 'true'",
    "analyze": "type: analyze, tools: [ruff], paths: []",
    "query": "type: query, root: ., files: {}",
    "set": "type: set, vars: {x: 1}",
    "sql": "type: sql, tables: {t: [{a: 1}]}, query: SELECT a FROM t",
}
ASKS = ("llm", "for_each", "while", "switch", "pipeline")


def test_every_type_is_looked_at():
    assert STEPS.keys() == STEP_MODELS.keys()


@pytest.mark.parametrize("kind", STEPS)
def test_a_result_says_how_it_ended_how_long_it_took_and_what_it_cost_if_it_did(one, kind):
    result = one(f"model: fake\nsteps: [{{name: s, {STEPS[kind]}}}]")
    assert result.status == "succeeded"
    assert result.duration_s >= 0
    assert (result.usage is not None) == (kind in ASKS)
    assert (result.cost_usd is not None) == (kind in ASKS)


@pytest.mark.parametrize("kind", STEPS)
def test_a_skipped_step_says_why_and_has_no_cost(one, kind):
    result = one(f"model: fake\nsteps: [{{name: s, when: '{{{{ 1 > 2 }}}}', {STEPS[kind]}}}]")
    assert (result.status, result.cost_usd, result.usage) == ("skipped", None, None)
    assert "when is false" in result.reason
    assert result.duration_s >= 0


@pytest.mark.parametrize("kind", [kind for kind in ASKS if kind != "llm"])
def test_a_composite_of_parts_that_ask_nobody_has_no_cost(one, kind):
    result = one(f"steps: [{{name: s, {STEPS[kind].replace(ASK, SET)}}}]")
    assert (result.status, result.cost_usd, result.usage) == ("succeeded", None, None)


@pytest.mark.parametrize("kind", ASKS)
def test_a_composite_is_skipped_with_the_reason_of_its_parts_when_all_of_them_were(one, kind):
    result = one(f"model: fake\nsteps: [{{name: s, {STEPS[kind]}}}]", tags={"elexirion/model": "none"})
    assert (result.status, result.cost_usd, result.usage) == ("skipped", None, None)
    assert "--no-model" in result.reason


@pytest.mark.parametrize("kind", ASKS)
def test_a_composite_fails_with_the_cause_of_its_part_and_tells_what_that_cost(one, kind):
    cut = [Rule(text="x", stop_reason="max_tokens")]
    result = one(f"model: fake\nsteps: [{{name: s, {STEPS[kind]}}}]", rules=cut)
    assert (result.status, result.error.cause) == ("failed", "truncated")
    assert result.usage.total_tokens > 0
    assert result.cost_usd is not None
