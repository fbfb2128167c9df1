import json
import os
from types import MappingProxyType

import pytest

from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.errors import PipelineError

INPUTS = "inputs: {repo: {type: path, default: null}, x: {type: string, default: ''}}\nsteps: "


def step(**verb):
    return INPUTS + json.dumps([{"name": "f", "type": "files", **verb}])


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "tree"
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "a.bin").write_bytes(bytes(range(256)) * 3)
    (folder / "key.txt").write_text("id AKIA" + "ABCDEFGH12345678\n")
    (folder / "sub" / "run.sh").write_text("#!/bin/sh\n")
    (folder / "sub" / "run.sh").chmod(0o755)
    return folder


@pytest.fixture
def do(start, tree):
    """Run one verb in a workspace that `files` fill first; the result and the workspace."""

    def run(files=MappingProxyType({}), x="", **verb):
        rehearsed = start(step(**verb), repo=str(tree), x=x)
        workspace = rehearsed.home.workspace(rehearsed.run.info.root_run)
        for path, content in files.items():
            (workspace / path).parent.mkdir(parents=True, exist_ok=True)
            (workspace / path).write_bytes(content if isinstance(content, bytes) else content.encode())
        return rehearsed.all()["f"], workspace

    return run


# copy


def test_a_copy_is_true_to_the_byte_whatever_is_in_it(do, tree):
    for name in ("a.bin", "key.txt"):
        result, workspace = do(copy={"from": "{{ inputs.repo }}/" + name, "to": "new/copy"})
        assert (workspace / "new" / "copy").read_bytes() == (tree / name).read_bytes()
        assert result.data["size"] == (tree / name).stat().st_size
        assert (workspace / "new" / "copy").stat().st_mode & 0o777 == 0o600


def test_a_folder_is_copied_with_all_but_links_pipes_and_git(do, tree):
    (tree / ".git" / "hooks").mkdir(parents=True)
    (tree / "sub" / ".git").write_text("gitdir: /elsewhere\n")
    (tree / "out").symlink_to("/etc")
    (tree / "file").symlink_to("/etc/hostname")
    os.mkfifo(tree / "pipe")
    (tree / "a\nb").write_text("x")
    result, workspace = do(copy={"from": "{{ inputs.repo }}", "to": "there"})
    found = sorted(str(path.relative_to(workspace)) for path in workspace.rglob("*"))
    assert found == [
        "there",
        "there/a\nb",
        "there/a.bin",
        "there/key.txt",
        "there/sub",
        "there/sub/deep",
        "there/sub/run.sh",
    ]
    assert (workspace / "there" / "sub" / "run.sh").stat().st_mode & 0o111
    assert [(one["path"], one["reason"]) for one in result.data["skipped"]] == [
        (".git", "belongs to git"),
        ("file", "symbolic link"),
        ("out", "symbolic link"),
        ("pipe", "not a regular file"),
        ("sub/.git", "belongs to git"),
    ]
    assert result.data["files"] == 4


@pytest.mark.parametrize(
    ("source", "to", "cause"),
    [
        ("/etc/hostname", "x", "tool_denied"),
        ("{{ inputs.repo }}/link", "x", "tool_denied"),
        ("{{ inputs.repo }}/a.bin", "../x", "tool_denied"),
        ("{{ inputs.repo }}/a.bin", ".git/hooks/pre-commit", "tool_denied"),
        ("{{ inputs.repo }}/a.bin", "out/x", "tool_denied"),
        ("{{ inputs.repo }}/a.bin", "full", "bad_input"),
        ("{{ inputs.repo }}/none", "x", "bad_input"),
        ("{{ inputs.repo }}/pipe", "x", "bad_input"),
        ("full", "full/inner", "bad_input"),
        ("full/inner", "full", "bad_input"),
        (".", "x", "bad_input"),
    ],
)
def test_a_copy_that_cannot_be_is_refused(start, tree, source, to, cause):
    (tree / "link").symlink_to("/etc/hostname")
    os.mkfifo(tree / "pipe")
    rehearsed = start(step(copy={"from": source, "to": to}), repo=str(tree))
    workspace = rehearsed.home.workspace(rehearsed.run.info.root_run)
    (workspace / "out").symlink_to(tree)
    (workspace / "full" / "inner").mkdir(parents=True)
    result = rehearsed.all()["f"]
    assert (result.status, result.error.cause) == ("failed", cause)
    assert not (tree / "x").exists()
    assert not list(workspace.rglob("*.part"))


# move, delete


def test_a_file_or_folder_is_moved(do):
    result, workspace = do({"a/b.txt": "x", "old.txt": "old"}, move={"from": "a", "to": "c/d"})
    assert (workspace / "c" / "d" / "b.txt").read_text() == "x"
    assert result.data == {"path": str(workspace / "c" / "d")}
    _, workspace = do({"a": "new", "old": "old"}, move={"from": "a", "to": "old"})
    assert [(path.name, path.read_text()) for path in workspace.iterdir()] == [("old", "new")]


@pytest.mark.parametrize(
    ("source", "to", "cause"),
    [
        ("none", "x", "bad_input"),
        ("a", "a/b/c", "bad_input"),
        ("a", "full", "bad_input"),
        ("../runs", "x", "tool_denied"),
        ("a", "../x", "tool_denied"),
        ("a", ".git", "tool_denied"),
        (".", "x", "tool_denied"),
        ("a/..", "x", "tool_denied"),
        ("{{ inputs.repo }}", "x", "tool_denied"),
    ],
)
def test_a_move_that_cannot_be_is_refused(do, tree, source, to, cause):
    result, workspace = do({"a/b/x": "x", "full/y": "y"}, move={"from": source, "to": to})
    assert (result.status, result.error.cause) == ("failed", cause)
    assert (workspace / "a" / "b" / "x").is_file()
    assert tree.is_dir()


def test_deleting_takes_a_link_and_not_what_it_leads_to(start, tree):
    rehearsed = start(step(delete={"path": "link", "recursive": True}), repo=str(tree))
    workspace = rehearsed.home.workspace(rehearsed.run.info.root_run)
    (workspace / "link").symlink_to(tree)
    assert rehearsed.all()["f"].data["kind"] == "file"
    assert list(workspace.iterdir()) == []
    assert (tree / "a.bin").is_file()


def test_a_folder_is_deleted_only_when_that_is_said(do):
    files = {"a/b/c": "x"}
    result, workspace = do(files, delete={"path": "a"})
    assert (result.error.cause, result.error.mend) == ("tool_denied", "Say recursive: true.")
    assert (workspace / "a" / "b" / "c").is_file()
    result, workspace = do(files, delete={"path": "a", "recursive": True})
    assert list(workspace.iterdir()) == []


@pytest.mark.parametrize(
    "path", ["none", ".", "..", "", ".git/config", "{{ inputs.repo }}", "a/../../x", "{{ inputs.x }}"]
)
def test_a_deletion_that_cannot_be_is_refused(do, tree, path):
    result, workspace = do({"a/x": "x", ".git/config": "x"}, x="a\0b", delete={"path": path, "recursive": True})
    assert result.error.cause in ("tool_denied", "bad_input")
    assert (workspace / "a" / "x").is_file()
    assert (workspace / ".git" / "config").is_file()
    assert tree.is_dir()


# convert


@pytest.mark.parametrize(
    ("source", "content", "to", "expected"),
    [
        ("a.csv", 'id,name\n007,a\n2,"b,c"\n', "b.json", [{"id": "007", "name": "a"}, {"id": "2", "name": "b,c"}]),
        ("a.csv", "\ufeffx\r\n1\r\n\r\n", "b.json", [{"x": "1"}]),
        ("a.yaml", "a: [1, 2.5, true, null, '007']\n", "b.json", {"a": [1, 2.5, True, None, "007"]}),
        ("a.json", '{"b": "é\\n", "a": {"k": []}}', "b.json", {"b": "é\n", "a": {"k": []}}),
    ],
)
def test_data_is_read_from_each_format(do, source, content, to, expected):
    result, workspace = do({source: content}, convert={"from": source, "to": to})
    assert result.status == "succeeded", result.error
    assert json.loads((workspace / to).read_text()) == expected


def test_data_is_written_in_each_format_the_same_every_time(do):
    records = [{"b": 1, "a": "x,y"}, {"a": None, "c": True}]
    source = {"in.json": json.dumps(records)}
    for to, text in (
        ("out.csv", 'b,a,c\n1,"x,y",\n,,true\n'),
        ("out.yml", "- b: 1\n  a: x,y\n- a: null\n  c: true\n"),
        ("out.json", json.dumps(records, indent=2) + "\n"),
    ):
        result, workspace = do(source, convert={"from": "in.json", "to": to})
        assert (workspace / to).read_text() == text
        assert (result.data["records"], result.data["size"]) == (2, len(text))


def test_a_format_can_be_said_where_the_suffix_does_not(do):
    words = {"from": "a.txt", "to": "b.txt", "from_format": "json", "to_format": "yaml"}
    result, workspace = do({"a.txt": '{"a": 1}'}, convert=words)
    assert (workspace / "b.txt").read_text() == "a: 1\n"
    assert (result.data["from_format"], result.data["to_format"]) == ("json", "yaml")


@pytest.mark.parametrize(
    ("source", "content", "to", "said"),
    [
        ("a.txt", "x", "b.json", "does not end in .json"),
        ("a.json", "{", "b.yaml", "is not converted: it is no JSON"),
        ("a.json", '{"a": NaN}', "b.yaml", "NaN is no JSON number"),
        ("a.json", '{"a": 1, "a": 2}', "b.yaml", "stands twice"),
        ("a.json", "[" * 100_000, "b.yaml", "nested too deeply"),
        ("a.json", '"\\ud800"', "b.json", "surrogate"),
        ("a.json", b"\xff\xfe", "b.yaml", "not UTF-8"),
        ("a.json", "", "b.yaml", "no JSON"),
        ("a.json", "{}", "b.csv", "CSV holds a list of records"),
        ("a.json", "[]", "b.csv", "at least one column"),
        ("a.json", '[{"a": [1]}]', "b.csv", "the column 'a' holds a list"),
        ("a.yaml", "a: &x [*x]\n", "b.json", "cannot be read as YAML"),
        ("a.yaml", "a: !!python/object:os.system x\n", "b.json", "cannot be read as YAML"),
        ("a.csv", "", "b.json", "the columns' names"),
        ("a.csv", "a,a\n1,2\n", "b.json", "the columns' names"),
        ("a.csv", "a,b\n1\n", "b.json", "line 2 has 1 cells, the first line 2"),
        ("a.csv", 'a\n"x\n', "b.json", "is no CSV"),
        ("none.json", None, "b.yaml", "does not exist"),
    ],
)
def test_what_cannot_be_converted_is_refused_and_nothing_written(do, source, content, to, said):
    files = {} if content is None else {source: content}
    result, workspace = do(files, convert={"from": source, "to": to})
    assert (result.status, result.error.cause) == ("failed", "bad_input")
    assert said in result.error.message
    assert not (workspace / to).exists()


def test_a_huge_file_is_not_converted(start, tree):
    rehearsed = start(step(convert={"from": "{{ inputs.repo }}/huge.json", "to": "x.yaml"}), repo=str(tree))
    with (tree / "huge.json").open("wb") as file:
        file.truncate(3_000_000_000)
    assert "larger than" in rehearsed.all()["f"].error.message


# validate


def test_files_that_are_as_they_should_be_pass(do):
    files = {"a.json": '[{"n": 1, "more": true}]', "b/c.txt": "hello needle"}
    words = {"path": "a.json", "min_bytes": 2, "max_bytes": 100, "format": "json", "schema": [{"n": "integer"}]}
    assert do(files, validate=words)[0].data == {"checked": 1, "problems": []}
    assert do(files, validate={"path": ["a.json", "b/c.txt"], "kind": "file"})[0].data["checked"] == 2
    assert do(files, validate={"path": "b", "kind": "folder"})[0].status == "succeeded"
    assert do(files, validate={"path": "none", "exists": False})[0].status == "succeeded"
    assert do(files, validate={"path": "b/c.txt", "contains": "{{ inputs.x }}"}, x="needle")[0].status == "succeeded"


def test_every_violation_is_named(do):
    files = {"a.json": '[{"n": "x"}]', "b.json": "{"}
    words = {"path": ["a.json", "b.json", "none.json"], "min_bytes": 5, "schema": [{"n": "integer"}], "contains": "n"}
    result, _ = do(files, validate=words)
    assert (result.status, result.error.cause) == ("failed", "check_failed")
    told = [(one["path"], one["problem"][:30]) for one in result.data["problems"]]
    assert told == [
        ("a.json", "at $[0].n expected type intege"),
        ("b.json", "has 1 bytes, at least 5 were e"),
        ("b.json", "does not contain 'n'"),
        ("b.json", "it is no JSON: Expecting prope"),
        ("none.json", "does not exist"),
    ]
    assert all(one["path"] in result.error.message for one in result.data["problems"])


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ({"path": "b", "kind": "file"}, "is no file"),
        ({"path": "b", "min_bytes": 1}, "is no file"),
        ({"path": "a.json", "kind": "folder"}, "is no folder"),
        ({"path": "a.json", "exists": False}, "exists"),
        ({"path": "a.json", "max_bytes": 1}, "has 2 bytes, at most 1 were expected"),
    ],
)
def test_one_violation_is_enough(do, words, problem):
    result, _ = do({"a.json": "{}", "b/x": ""}, validate=words)
    assert [one["problem"] for one in result.data["problems"]] == [problem]
    assert result.error.cause == "check_failed"


@pytest.mark.parametrize("path", ["/etc/hostname", "../x", "link"])
def test_looking_elsewhere_is_refused_and_says_nothing(start, path):
    rehearsed = start(step(validate={"path": path}))
    (rehearsed.home.workspace(rehearsed.run.info.root_run) / "link").symlink_to("/etc/hostname")
    assert rehearsed.all()["f"].error.cause == "tool_denied"


def test_a_check_of_nothing_is_no_success(do):
    assert do(validate={"path": "{{ [] }}"})[0].error.cause == "bad_input"


# the language


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ({}, "exactly one of list, read, write, copy, move, delete, convert, validate, diff; this one has 0"),
        ({"delete": {"path": "a"}, "move": {"from": "a", "to": "b"}}, "this one has 2"),
        ({"copy": {"form": "a", "to": "b"}}, "from"),
        ({"validate": {"path": "a", "exists": False, "min_bytes": 1}}, "what does not exist has no min_bytes"),
        ({"validate": {"path": "a", "kind": "folder", "contains": "x"}}, "a folder has no contains"),
        ({"validate": {"path": "a", "schema": {"n": "integr"}}}, "integr"),
        ({"convert": {"from": "a", "to": "b", "to_format": "xml"}}, "json"),
    ],
)
def test_a_verb_that_makes_no_sense_is_refused_at_load(verb, said):
    with pytest.raises(PipelineError) as caught:
        load_string("name: p\n" + step(**verb))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("verb", "effect"),
    [
        ({"copy": {"from": "a", "to": "b"}}, "write"),
        ({"move": {"from": "a", "to": "b"}}, "write"),
        ({"delete": {"path": "a"}}, "write"),
        ({"convert": {"from": "a.csv", "to": "b.json"}}, "write"),
        ({"validate": {"path": "a"}}, "read"),
    ],
)
def test_each_verb_has_the_effect_it_has(verb, effect):
    assert load_string("name: p\n" + step(**verb)).pipeline.steps[0].default_effect() == effect
