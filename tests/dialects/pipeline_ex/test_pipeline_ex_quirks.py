"""Small documents with what is odd about files of pipeline_ex: each loads and completes on the fake model."""

import pytest

from elexirion_dagster.dialects.load import load_string

QUIRKS = {
    "root-less, string prompts, bare names": """
name: blog_generator
metadata: {generated_by: genesis}
steps:
  - {name: plan, type: claude_smart, prompt: "Plan: {{requirements}}"}
  - {name: write, type: claude_robust, prompt: "Write {{plan.result}}"}
""",
    "a pipeline root, output_schema, bash, step.field without steps": """
pipeline: schema_validation
steps:
  - name: analyze_code
    type: claude
    prompt: Analyse the code.
    output_schema:
      type: object
      required: [score]
      properties: {score: {type: number, minimum: 0}, tags: {type: array, uniqueItems: true, items: {type: string}}}
  - name: report
    type: bash
    command: |
      echo "Score: {{analyze_code.score}}"
      echo done
  - {name: end, type: claude, prompt: "{{report.stdout}}"}
output: {score: "{{analyze_code.score}}"}
""",
    "results of parallel tasks by task and field, success of a step, an instructor without schema": """
workflow:
  name: comprehensive
  steps:
    - name: checks
      type: parallel_claude
      parallel_tasks:
        - {id: testing, prompt: [{type: static, content: test}], output_to_file: testing.json}
        - {id: docs, prompt: [{type: static, content: document}]}
    - {name: fix, type: claude, prompt: fix, claude_options: {print: false, allowed_tools: [Search]}}
    - name: rate
      type: gemini
      condition: fix.success
      prompt: [{type: previous_response, step: checks, extract: testing.coverage}]
    - {name: ship, type: claude, condition: rate.overall_score >= 8, prompt: ship}
    - {name: shape, type: gemini_instructor, prompt: [{type: previous_response, step: rate}]}
""",
    "conditions in trees and a result of a whole step": """
workflow:
  name: trees
  steps:
    - {name: a, type: gemini, prompt: a}
    - {name: b, type: gemini, prompt: b, condition: {and: ["steps.a.text contains 'a'", {not: "a.text == 'x'"}]}}
    - {name: c, type: gemini, prompt: "{{steps.a}} {{json(steps.b)}}", condition: ["a.success", "true"]}
""",
    "a conversation, and an extraction with everything": """
workflow:
  name: formats
  steps:
    - name: talk
      type: claude_session
      session_config: {session_name: t, max_turns: 3}
      conversation: [{role: user, content: hi}, {role: user, content: and now}]
    - name: facts
      type: claude_extract
      extraction_config: {use_content_extractor: true, output_format: json, post_processing: [trim, validate]}
      prompt: [{type: previous_response, step: talk, extract_with: content_extractor, summary: true, strict: false}]
""",
    "a singular variable, a path with colons, streaming and lazy": """
workflow:
  name: performance
  steps:
    - name: generate
      type: set_variable
      variable: large
      value: [{n: 1, t: a}, {n: 2, t: b}]
      streaming: {enabled: true}
    - name: shape
      type: data_transform
      input_source: "previous_response:generate:large"
      lazy: {enabled: true}
      operations:
        - {operation: filter, field: n, condition: "n > 1"}
        - {operation: map, mapping: {"seen": "yes"}}
      output_field: kept
    - {name: end, type: gemini, prompt: "{{previous_response:shape:kept}} {{steps.shape.kept[0].seen}}"}
  defaults: {output_dir: ./out}
""",
    "tools, agents, servers, memory and hooks at the root": """
workflow:
  name: inert
  hooks: {PreToolUse: [{matcher: Bash, hooks: [validate_bash]}]}
  mcp_servers: {brave: {type: stdio, command: npx, env: {KEY: "${BRAVE_API_KEY}"}}}
  agents: {tester: {description: d, prompt: p, tools: [Run], model: sonnet}}
  memory_config: {max_context_length: 150000, auto_compact: true}
  steps: [{name: a, type: claude_smart, preset: chat, prompt: "literal ${HOME} and TIMESTAMP_PLACEHOLDER"}]
""",
}


@pytest.mark.parametrize("quirk", QUIRKS)
def test_a_document_with_this_completes(quirk, start):
    declared = load_string(QUIRKS[quirk]).pipeline.inputs
    given = dict.fromkeys((name for name, one in declared.items() if one.required), "given")
    rehearsed = start(QUIRKS[quirk], tags={"elexirion/model": "fake"}, **given)
    results = rehearsed.all()
    assert {name: result.error for name, result in results.items() if result.status == "failed"} == {}
    assert results.keys() == {step.name for step in rehearsed.run.pipeline.steps}
    assert rehearsed.run.outputs(results).keys() == rehearsed.run.pipeline.outputs.keys()
