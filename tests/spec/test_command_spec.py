import pytest

from elexirion_dagster.spec.command import CommandStep


@pytest.mark.parametrize(
    ("run", "arguments"),
    [
        ("a b  c", ("a", "b", "c")),
        ("a 'b c' \"d e\"", ("a", "b c", "d e")),
        ("a {{ x y }} --f={{ z }}", ("a", "{{ x y }}", "--f={{ z }}")),
        ("a '{{ x }} and {{ y }}'", ("a", "{{ x }} and {{ y }}")),
        ("a {% if x %}b c{% endif %}", ("a", "{% if x %}b", "c{% endif %}")),
        (["a", "b c", "{{ x }}"], ("a", "b c", "{{ x }}")),
    ],
)
def test_a_line_is_split_before_templates_are_filled_in(run, arguments):
    assert CommandStep(name="c", type="command", run=run).arguments() == arguments
