import pytest

from elexirion_dagster.errors import PipelineError
from elexirion_dagster.rehearsal.script import Script, Status, load_script

YAML = """
latency_ms: 5
answers:
  - {match: alpha, data: {a: 1}}
  - {text: rest}
faults:
  - {kind: status, nth: 2, status: 529, retry_after_s: 3}
  - {kind: cut, match: beta, clean: false}
"""


def test_a_script_is_read_from_yaml(tmp_path):
    path = tmp_path / "script.yaml"
    path.write_text(YAML)
    script = load_script(path)
    assert script.answers[0].data == {"a": 1}
    assert script.faults[0] == Status(kind="status", nth=2, status=529, retry_after_s=3)


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("latency: 5", ":1:"),
        ("answers:\n  - {tex: hello}", ":2:"),
        ("faults:\n  - {kind: status, status: 200}", ":2:"),
        ("faults:\n  - {kind: explode}", ":2:"),
        ("latency_ms: -1", ":1:"),
    ],
)
def test_a_wrong_script_is_refused_with_its_line(tmp_path, line, place):
    path = tmp_path / "script.yaml"
    path.write_text(line)
    with pytest.raises(PipelineError) as caught:
        load_script(path)
    assert f"script.yaml{place}" in str(caught.value)


def test_an_empty_script_answers_everything():
    assert (Script().answers, Script().faults) == ((), ())
