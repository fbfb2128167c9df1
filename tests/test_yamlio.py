from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elexirion_dagster import yamlio
from elexirion_dagster.errors import PipelineError, Problem
from elexirion_dagster.yamlio import dump, load_file, load_text

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
YAML_PIECES = st.lists(
    st.sampled_from(
        [
            *"abc:-?&*!|>%@`\"'#{}[], \n\t\\~<=0123.",
            "a: ",
            "- ",
            "\n  ",
            "&a ",
            "*a ",
            "<<: ",
            "---\n",
            "!!int ",
            "{{ x }}",
            "\x85",
            "é",
        ]
    ),
    max_size=40,
).map("".join)


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(PipelineError) as caught:
        load_text(text, file="p.yaml")
    return caught.value.problems


def faults(load) -> tuple[Problem, ...]:
    try:
        load()
    except PipelineError as error:
        return error.problems
    return ()


def problem(text: str) -> Problem:
    (found,) = problems(text)
    return found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("on", "on"),
        ("yes", "yes"),
        ("No", "No"),
        ("off", "off"),
        ("500_000", 500_000),
        ("-3", -3),
        ("0x1F", 31),
        ("0o17", 15),
        ("007", "007"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        (".inf", ".inf"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("2020-01-01 10:00:00", "2020-01-01 10:00:00"),
        ("=", "="),
        ("'1'", "1"),
        ('"true"', "true"),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
)
def test_scalars_are_read_as_yaml_1_2(text, value):
    data = load_text(f"v: {text}").data
    assert data == {"v": value}
    assert type(data["v"]) is type(value)


def test_the_root_key_on_stays_a_word():
    assert load_text("on: {push: [main]}").data == {"on": {"push": ["main"]}}


def test_positions_are_those_of_keys_and_list_entries():
    document = load_text("name: x\nsteps:\n  - name: a\n    type: llm\n  - name: b\n", file="p.yaml")
    assert document.position(["name"]) == (1, 1)
    assert document.position(["steps"]) == (2, 1)
    assert document.position(["steps", 0]) == (3, 5)
    assert document.position(["steps", 0, "type"]) == (4, 5)
    assert document.position(["steps", 1, "name"]) == (5, 5)


def test_an_unknown_path_has_the_position_of_its_nearest_ancestor():
    document = load_text("steps:\n  - name: a\n", file="p.yaml")
    assert document.position(["steps", 0, "prompt", "deep"]) == (2, 5)
    assert document.position(["nothing"]) == (1, 1)
    assert document.position([]) == (1, 1)


def test_a_problem_carries_file_and_position():
    document = load_text("a:\n  b: 1\n", file="p.yaml")
    assert document.problem("wrong", ["a", "b"], "Mend it.") == Problem("wrong", "p.yaml", 2, 3, "Mend it.")


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, 1, "the key 'a' stands here a second time (first in line 1)"),
        ("1: x", 1, 1, "the key 1 is not a text"),
        ("x:\n  true: y", 2, 3, "the key True is not a text"),
        ("~: y", 1, 1, "the key None is not a text"),
        ("items: {{ x }}", 1, 9, "a key must be a text"),
        ("? [a]\n: b", 1, 3, "a key must be a text"),
        ("a: !!python/object:os.system x", 1, 4, "tag"),
        ("a: !!str 1", 1, 4, "tag"),
        ("a: ! 1", 1, 4, "tag"),
        ("a: 1\n---\nb: 2", 2, 1, "a second document"),
        ("a: &x [*x]", 1, 8, "inside its own anchor"),
        ("a: *nope", 1, 4, "does not exist"),
        ("a:\n\t- b", 2, 1, "a tab is used for indentation"),
        ("a: \x00", 1, 4, "control character U+0000"),
        ("ab\ncd\x1b", 2, 3, "control character U+001B"),
        ('a: "\\0"', 1, 4, "U+0000"),
        ("a: 'x", 1, 6, "never closed"),
        ("a: b: c", 1, 5, "':'"),
        ("a: [1, 2", 2, 1, "not closed"),
        ("'a' b", 1, 5, "after the end of the document"),
        ("a: 1e999", 1, 4, "too large"),
        ("a: " + "9" * 200, 1, 4, "digits"),
        ("", 1, 1, "empty"),
        ("# only a comment\n", 1, 1, "empty"),
        ("<<: 3", 1, 1, "merges mappings only"),
    ],
)
def test_what_is_refused_says_where(text, line, column, words):
    found = problem(text)
    assert (found.file, found.line, found.column) == ("p.yaml", line, column)
    assert words in found.message


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("items: {{ x }}", "quotes"),
        ("include: **/*.py", "quotes"),
        ("a: @x", "quote"),
        ("a:\n\tb: 1", "spaces"),
        ("1: x", '"1"'),
    ],
)
def test_common_slips_say_how_to_mend_them(text, mend):
    assert mend in str(problem(text).mend)


def test_several_problems_are_reported_together():
    assert [found.line for found in problems("a: 1\na: 2\n3: x\nb: !t 1\n")] == [2, 3, 4]


def test_a_merge_fills_in_what_the_mapping_does_not_say_itself():
    text = "base: &b {x: 1, y: 2}\nmore: &m {z: 3, y: 9}\nall:\n  y: 7\n  <<: [*b, *m]\n"
    assert load_text(text).data["all"] == {"y": 7, "x": 1, "z": 3}


def test_an_alias_is_a_copy_and_not_shared():
    data = load_text("a: &x [1]\nb: *x\n").data
    data["a"].append(2)
    assert data["b"] == [1]


def test_an_alias_bomb_is_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    assert "expands to more than" in problem("\n".join(lines)).message


def test_aliases_of_one_long_text_are_refused_too():
    text = "a: &x " + "y" * 500_000 + "\nb: [" + ", ".join(["*x"] * 1_000) + "]\n"
    assert "expands to more than" in problem(text).message


@pytest.mark.parametrize("text", ["[" * 200, "- " * 200 + "x", "a: " + "{a: " * 100 + "1" + "}" * 100])
def test_deep_nesting_is_refused(text):
    assert "nested deeper than 60" in problem(text).message


def test_depth_through_aliases_counts():
    lines = ["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 100))]
    assert "nested deeper than 60" in problem("\n".join(lines)).message


def test_more_values_than_the_bound_are_refused():
    assert "expands to more than 50,000" in problem("- a\n" * 60_000).message


def test_too_long_a_text_is_refused():
    assert "at most 1,000,000" in problem("#" * 1_000_001).message


def test_a_file_is_read_with_its_name(tmp_path: Path):
    path = tmp_path / "p.yaml"
    path.write_bytes("\ufeffname: é\n".encode())
    document = load_file(path)
    assert document.data == {"name": "é"}
    assert document.file == str(path)
    assert document.position(["name"]) == (1, 1)


@pytest.mark.parametrize(
    ("content", "place", "words"),
    [
        (b"", (1, 1), "empty"),
        (b"a: 1\nb: caf\xe9\n", (2, 7), "not UTF-8"),
        (b"#" * 1_000_001, (1, 1), "larger than"),
        ("a: 1".encode("utf-16"), (1, 1), "not UTF-8"),
    ],
)
def test_an_unusable_file_is_refused(tmp_path: Path, content, place, words):
    path = tmp_path / "p.yaml"
    path.write_bytes(content)
    with pytest.raises(PipelineError, match=words) as caught:
        load_file(path)
    (found,) = caught.value.problems
    assert (found.file, found.line, found.column) == (str(path), *place)


@pytest.mark.parametrize("name", [".", "missing.yaml", "a\x00b"])
def test_what_cannot_be_opened_is_refused(tmp_path: Path, name):
    with pytest.raises(PipelineError, match="cannot read the file"):
        load_file(tmp_path / name)


def test_dump_writes_block_style_in_the_given_order():
    data = {"steps": [{"name": "a", "prompt": "one\ntwo\n"}], "on": "yes", "n": "1", "empty": [], "none": None}
    assert dump(data) == (
        "steps:\n  - name: a\n    prompt: |\n      one\n      two\non: yes\nn: '1'\nempty: []\nnone: null\n"
    )


@settings(max_examples=400, deadline=None)
@given(JSON)
def test_what_is_dumped_is_loaded_again(data):
    assert load_text(dump(data)).data == data


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=60) | YAML_PIECES)
def test_any_text_loads_or_is_refused_with_a_position(text):
    assert all(found.file and found.line and found.column for found in faults(lambda: load_text(text, file="p.yaml")))


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=60))
def test_any_bytes_load_or_are_refused_with_a_position(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("bytes") / "p.yaml"
    path.write_bytes(content)
    assert all(found.file and found.line and found.column for found in faults(lambda: load_file(path)))


@settings(max_examples=200, deadline=None)
@given(YAML_PIECES)
def test_both_parsers_of_pyyaml_agree_on_the_data(text):
    results = []
    for loader in (yamlio.yaml.CSafeLoader, yamlio.yaml.SafeLoader):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(yamlio, "_LOADER", loader)
            try:
                results.append(load_text(text).data)
            except PipelineError:
                return
    assert results[0] == results[1]
