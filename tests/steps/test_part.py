import pytest

from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.expressions import Engine
from elexirion_dagster.steps.part import Part, covered, held_back

TEXT = """
name: parts
steps:
  - {name: listing, type: set, vars: {x: 1}}
  - name: each
    type: for_each
    items: "{{ [vars.x, 2] }}"
    steps: [{name: look, type: llm, prompt: "{{ item }}"}]
  - name: again
    type: for_each
    items: "{{ steps.each.results }}"
    steps: [{name: look, type: llm, prompt: "{{ item.key }}"}]
  - {name: apart, type: llm, prompt: go}
"""


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ("1/2 2/2", True),
        ("2/2 1/4 2/4", True),
        ("1/2 3/4 7/8 8/8", True),
        ("1/1", True),
        ("1/2", False),
        ("1/2 4/4", False),
        ("1/4 2/4 1/2", False),
        ("", False),
    ],
)
def test_parts_are_the_whole_when_no_gap_is_left(parts, whole):
    assert covered(Part.parse(text) for text in parts.split()) is whole


def test_a_part_does_its_items_and_what_they_need_and_leaves_the_rest():
    steps = load_string(TEXT).pipeline.steps
    assert held_back(steps, Engine(), {}) == {"again", "apart"}
