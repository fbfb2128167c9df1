"""Fallback rules that cannot be meant are refused where they stand."""

import pytest

from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.errors import PipelineError

PIPELINE = "name: main\nsteps:\n- {name: ask, type: llm, prompt: go}\nfallback:\n- "


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("{on: [timeout]}", "exactly one of change, run, split, wait, park"),
        ("{on: [timeout], park: true, wait: true}", "exactly one of change, run, split, wait, park"),
        ("{on: [], park: true}", "at least 1"),
        ("{on: [tired], park: true}", "tired"),
        ("{on: [timeout], park: false}", "expected True"),
        ("{on: [timeout], change: {}}", "change is empty"),
        ("{on: [timeout], change: {modell: a}}", "unknown key 'modell'"),
        ("{on: [timeout], change: {max_turns: 0}}", "max_turns"),
        ("{on: [timeout], change: {tools: [fly]}}", "fly"),
        ("{on: [timeout], change: {limits: {max_recoveries: 9}}}", "unknown key 'max_recoveries'"),
        ("{on: [timeout], run: main}", "main would run itself after it failed"),
        ("{on: [timeout], split: true}", "no top-level for_each"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused_at_its_line(rule, why):
    with pytest.raises(PipelineError, match=why) as refused:
        load_string(PIPELINE + rule, file="main.yaml")
    assert {problem.line for problem in refused.value.problems} == {5}


def test_a_pipeline_whose_files_come_in_batches_is_not_split():
    text = """
name: main
inputs: {repo: {type: path, default: .}}
partitions: {by: file, repo: "{{ inputs.repo }}"}
steps:
  - {name: listing, type: files, list: {root: "{{ inputs.repo }}"}}
  - {name: each, type: for_each, items: "{{ steps.listing.data.files }}", steps: [{name: a, type: set, vars: {x: 1}}]}
fallback: [{on: [timeout], split: true}]
"""
    with pytest.raises(PipelineError, match="halves cannot be beside it"):
        load_string(text)


def test_a_pipeline_cannot_have_the_name_of_the_job_that_runs_derived_documents():
    with pytest.raises(PipelineError, match="cannot be called 'recover'"):
        load_string("name: recover\nsteps: [{name: a, type: set, vars: {x: 1}}]")


def test_a_rule_says_which_action_it_is():
    actions = [
        rule.action
        for rule in load_string(
            PIPELINE + "{on: [timeout], wait: true}\n- {on: [refused], change: {max_tokens: 9}}\n"
        ).pipeline.fallback
    ]
    assert actions == ["wait", "change"]
