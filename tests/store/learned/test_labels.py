import pytest

from elexirion_dagster.errors import InputError
from elexirion_dagster.store.learned.labels import labelled
from elexirion_dagster.store.learned.learning import row_key

PATHS = ("file.path", "inputs.goal")


def fits(answer):
    return () if isinstance(answer, dict) and isinstance(answer.get("kind"), str) else ["kind must be text"]


def read(tmp_path, name, text, **options):
    file = tmp_path / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return labelled(file, "p", "ask", **{"paths": PATHS, "check": fits, **options})


JSONL = (
    '{"inputs": {"file.path": "a.py", "inputs.goal": "g"}, "expected": {"kind": "x"}, "must_pass": true}\n'
    '\n{"inputs": {"file": {"path": "b.py"}, "goal": "g"}, "expected": {"kind": "7"}, "group": "mine"}\n'
)
YAML = """
- {inputs: {file.path: a.py, inputs.goal: g}, expected: {kind: x}, must_pass: true}
- {inputs: {file: {path: b.py}, inputs: {goal: g}}, expected: {kind: "7"}, group: mine}
"""
CSV = "file.path,inputs.goal,expected.kind,must_pass,group\na.py,g,x,true,\nb.py,g,7,,mine\n"


@pytest.mark.parametrize(
    ("name", "text"), [("l.jsonl", JSONL), ("l.yaml", YAML), ("l.csv", CSV), ("l.csv", "\ufeff" + CSV)]
)
def test_the_same_rows_come_out_of_each_kind_of_file(tmp_path, name, text):
    first, second = read(tmp_path, name, text)
    assert first.inputs == {"file.path": "a.py", "inputs.goal": "g"}
    assert first.key == row_key("p", "ask", first.inputs)
    assert (first.expected, first.must_pass, first.group, first.source) == ({"kind": "x"}, True, "a.py", "label")
    assert (second.inputs["file.path"], second.expected, second.must_pass) == ("b.py", {"kind": "7"}, False)
    assert second.group == "mine"


def test_without_the_prompt_s_paths_maps_are_opened_to_their_leaves(tmp_path):
    (row,) = read(tmp_path, "l.yaml", "- {inputs: {a: {b: 1, c: [2]}, d.e: 3}, expected: yes}", paths=(), check=None)
    assert row.inputs == {"a.b": 1, "a.c": [2], "d.e": 3}


GOOD = '{"inputs": {"file.path": "a", "goal": "g"}, "expected": {"kind": "x"}}\n'


@pytest.mark.parametrize(
    ("name", "text", "where", "said"),
    [
        ("l.jsonl", GOOD + "{nonsense\n", ":2:", "no JSON"),
        ("l.jsonl", GOOD + "\n[1]\n", ":3:", "expected a map"),
        ("l.jsonl", GOOD + GOOD.replace('"x"', "NaN"), ":2:", "NaN"),
        ("l.jsonl", GOOD.replace('"x"', "3"), ":1:", "kind must be text"),
        ("l.jsonl", GOOD.replace("file.path", "file.pat"), ":1:", "lacks file.path"),
        ("l.jsonl", GOOD.replace("expected", "expectd"), ":1:", "unknown key 'expectd'"),
        ("l.jsonl", '{"inputs": {"file.path": "a", "goal": "g"}}', ":1:", "does not say what is expected"),
        ("l.jsonl", '{"expected": {"kind": "x"}}', ":1:", "inputs must be a map"),
        ("l.jsonl", GOOD.replace("}}", '}, "must_pass": "si"}'), ":1:", "must_pass must be true or false"),
        ("l.jsonl", GOOD.encode() + b'{"inputs": "\xff"}', ":2:", "not UTF-8"),
        ("l.jsonl", "", "l.jsonl", "no rows"),
        ("l.yaml", YAML + "- 3\n", ":4:", "expected a map"),
        ("l.yaml", "rows: []", ":1:", "a list of rows"),
        ("l.yaml", YAML + "- {a: [", ":5:", "not valid YAML"),
        ("l.csv", CSV + "c.py,g\n", ":4:", "expected 5 cells, came 2"),
        ("l.csv", CSV + 'c.py,"g', ":4:", "no CSV"),
        ("l.csv", CSV.replace("x,true", "x,si"), ":2:", "must_pass must be true or false"),
        ("l.csv", "a,a\n1,2\n", ":1:", "a name of its own"),
        ("l.csv", "a,expected,expected.k\n1,2,3\n", ":1:", "beside columns of its fields"),
        ("l.txt", GOOD, "l.txt", "no kind of labelled file"),
    ],
)
def test_a_wrong_row_is_told_with_file_and_line(tmp_path, name, text, where, said):
    with pytest.raises(InputError) as caught:
        read(tmp_path, name, text)
    assert f"{name}{where}" in caught.value.message or where == name
    assert said in caught.value.message


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        labelled(tmp_path / "none.jsonl", "p", "ask")


def typed(answer):
    wrong = [] if isinstance(answer, dict) and isinstance(answer.get("n"), int) else ["n"]
    return [*wrong, *([] if isinstance(answer, dict) and isinstance(answer.get("kind"), str) else ["kind"])]


def test_cells_of_a_csv_are_numbers_or_text_as_the_output_wants_them_each_by_itself(tmp_path):
    (row,) = read(tmp_path, "l.csv", "a,expected.kind,expected.n\nx,7,8\n", paths=("a",), check=typed)
    assert row.expected == {"kind": "7", "n": 8}
    (row,) = read(tmp_path, "l.csv", 'a,expected\nx,"{""kind"": ""7"", ""n"": 8}"\n', paths=("a",), check=typed)
    assert row.expected == {"kind": "7", "n": 8}
    (row,) = read(
        tmp_path, "l.csv", "a,expected\nx,7\n", paths=("a",), check=lambda one: [] if one == "7" else ["text"]
    )
    assert row.expected == "7"
