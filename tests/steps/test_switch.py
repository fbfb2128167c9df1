import pytest

SWITCH = """
inputs: {kind: {type: object}}
model: fake
steps:
  - name: choose
    type: switch
    value: "{{ inputs.kind.value }}"
    cases:
      small: [{name: answer, type: set, vars: {size: S}}]
      "true": [{name: answer, type: set, vars: {size: yes!}}]
      "3": [{name: answer, type: set, vars: {size: three}}]
      "null": [{name: answer, type: set, vars: {size: nothing}}]
    %s
  - {name: after, type: set, vars: {seen: "{{ vars.size }}"}, when: "{{ steps.choose.status == 'succeeded' }}"}
"""
DEFAULT = "default: [{name: answer, type: set, vars: {size: other}}]"


@pytest.mark.parametrize(
    ("value", "size"),
    [("small", "S"), (True, "yes!"), (3, "three"), (None, "nothing"), ("C++", "other"), ([1], "other")],
)
def test_the_case_that_the_value_spells_is_run(start, value, size):
    results = start(SWITCH % DEFAULT, kind={"value": value}).all()
    assert results["choose"].data["steps"]["answer"]["data"] == {"size": size}
    assert results["after"].data == {"seen": size}


def test_without_a_case_and_a_default_it_is_skipped(start):
    results = start(SWITCH % "", kind={"value": "huge"}).all()
    assert (results["choose"].status, results["choose"].reason) == ("skipped", "no case for 'huge' and no default")
    assert results["after"].status == "skipped"


def test_equal_names_in_two_branches_have_prompts_of_their_own(start):
    text = """
inputs: {items: {type: list}}
model: fake
steps:
  - name: each
    type: for_each
    items: "{{ inputs.items }}"
    steps:
      - name: choose
        type: switch
        value: "{{ item }}"
        cases:
          a: [{name: ask, type: llm, system: You are A, prompt: go}]
          "B b": [{name: ask, type: llm, system: You are B, prompt: go}]
"""
    rehearsed = start(text, items=["a", "B b"])
    rehearsed.all()
    assert sorted(request.system for request in rehearsed.fake.requests) == ["You are A", "You are B"]
    pins = {line["name"] for line in rehearsed.lines("pin") if line["name"].startswith("prompt:")}
    assert pins == {"prompt:each.choose.a.ask", "prompt:each.choose.case2.ask"}


def test_a_failure_inside_fails_the_switch_and_skips_what_follows(one):
    text = """
steps:
  - name: choose
    type: switch
    value: "{{ 'a' }}"
    cases:
      a:
        - {name: breaks, type: set, vars: {x: "{{ 1 / 0 }}"}}
        - {name: never, type: set, vars: {y: 1}}
"""
    result = one(text)
    assert (result.status, result.error.cause) == ("failed", "bad_input")
    assert list(result.data["steps"]) == ["breaks"]
