import os

import pytest

LIST = """
inputs: {repo: {type: path}}
steps: [{name: f, type: files, list: {root: "{{ inputs.repo }}", git: %s}}]
"""
READ = """
inputs: {repo: {type: path}, file: {type: string}}
steps: [{name: f, type: files, read: {path: "{{ inputs.file }}"}}]
"""
WRITE = (
    'inputs: {file: {type: string}}\nsteps: [{name: f, type: files, write: {path: "{{ inputs.file }}", text: "hällo"}}]'
)


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "tree"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.py").write_text("a = 1\n")
    (folder / "sub" / "b.txt").write_text("text\n")
    return folder


def paths(result):
    return [file["path"] for file in result.data["files"]]


def reasons(result):
    return {skipped["path"]: skipped["reason"] for skipped in result.data["skipped"]}


def test_git_decides_what_is_listed(one, git_repository):
    result = one(LIST % "tracked", repo=str(git_repository))
    assert paths(result) == ["broken.py", "src/clean.py", "src/shell.py"]
    assert result.data["source"] == "git"
    changed = one(LIST % "changed", repo=str(git_repository))
    assert paths(changed) == ["untracked.py"]


def test_without_git_everything_is_listed_and_the_note_says_so(one, tree):
    result = one(LIST % "tracked", repo=str(tree))
    assert paths(result) == ["a.py", "sub/b.txt"]
    assert (result.data["source"], "every file" in result.data["note"]) == ("walk", True)


def test_an_empty_folder_gives_no_files_and_a_note(one, tmp_path):
    (tmp_path / "empty").mkdir()
    result = one(LIST % "null", repo=str(tmp_path / "empty"))
    assert (result.status, paths(result)) == ("succeeded", [])
    assert result.data["note"]


def test_what_cannot_be_read_is_named_with_its_reason(one, tree):
    (tree / "binary.py").write_bytes(b"a\0b")
    (tree / "loop").symlink_to(tree / "loop")
    (tree / "out.py").symlink_to("/etc/hostname")
    (tree / "self").symlink_to(tree)
    with (tree / "large.py").open("wb") as file:
        file.truncate(50 * 1024 * 1024)
    (tree / os.fsdecode(b"caf\xe9.py")).write_text("x = 1\n")
    result = one(LIST % "null", repo=str(tree))
    assert paths(result) == ["a.py", "sub/b.txt"]
    found = reasons(result)
    assert found["binary.py"] == "binary"
    assert found["large.py"] == "larger than 1024 kB"
    assert found["loop"] == found["out.py"] == found["self"] == "symbolic link"
    assert found["caf\\udce9.py"] == "name is not UTF-8"


def test_a_folder_outside_what_was_granted_is_refused(one, tree, tmp_path):
    text = 'inputs: {repo: {type: path}}\nsteps: [{name: f, type: files, list: {root: "%s", git: null}}]'
    for place in (tmp_path, "/etc", "{{ inputs.repo }}/.."):
        result = one(text % place, repo=str(tree))
        assert result.error.cause == "tool_denied"


def test_a_missing_folder_is_refused(one, tmp_path):
    assert one(LIST % "null", repo=str(tmp_path / "nowhere")).error.cause == "bad_input"


def test_text_is_read_below_a_path_input(one, tree):
    result = one(READ, repo=str(tree), file=str(tree / "sub" / "b.txt"))
    assert (result.text, result.data["size"]) == ("text\n", 5)


@pytest.mark.parametrize("file", ["/etc/hostname", "{tree}/link", "{tree}/../other", "../../../etc/hostname"])
def test_reading_elsewhere_is_refused(one, tree, tmp_path, file):
    (tmp_path / "other").write_text("other")
    (tree / "link").symlink_to(tmp_path / "other")
    assert one(READ, repo=str(tree), file=file.format(tree=tree)).error.cause == "tool_denied"


@pytest.mark.parametrize("file", ["{tree}/none", "{tree}/sub", "{tree}/loop", "{tree}/a\0b", "{tree}/fifo"])
def test_what_is_no_readable_file_is_refused_without_hanging(one, tree, file):
    (tree / "loop").symlink_to(tree / "loop")
    os.mkfifo(tree / "fifo")
    result = one(READ, repo=str(tree), file=file.format(tree=tree))
    assert result.status == "failed"
    assert result.error.cause in ("bad_input", "tool_denied")


def test_a_secret_in_a_file_is_not_kept(start, tree):
    secret = "AKIA" + "ABCDEFGH12345678"
    (tree / "key.txt").write_text(f"id {secret}\n")
    rehearsed = start(READ, repo=str(tree), file=str(tree / "key.txt"))
    assert rehearsed.all()["f"].text == "id [redacted:aws_access_key]\n"
    assert secret not in str(rehearsed.lines())


def test_writing_goes_to_the_workspace(start):
    rehearsed = start(WRITE, file="out/a.txt")
    result = rehearsed.all()["f"]
    target = rehearsed.home.workspace(rehearsed.run.info.root_run) / "out" / "a.txt"
    assert (result.data["path"], target.read_text()) == (str(target), "hällo")
    assert target.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("file", ["../out", "/out", "a/../../out", "", ".", "a\0b", "down/../../x"])
def test_writing_elsewhere_is_refused(one, file):
    assert one(WRITE, file=file).error.cause == "tool_denied"


def test_links_in_the_workspace_do_not_lead_out(start, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    for name, target in (("folder/x", outside), ("file", outside / "f"), ("folder/x", "/")):
        rehearsed = start(WRITE, file=name)
        workspace = rehearsed.home.workspace(rehearsed.run.info.root_run)
        (workspace / name.split("/")[0]).symlink_to(target)
        assert rehearsed.all()["f"].error.cause == "tool_denied"
    assert list(outside.iterdir()) == []


def test_a_file_in_place_of_a_folder_and_too_long_names_are_refused(start):
    rehearsed = start(WRITE, file="a/b")
    (rehearsed.home.workspace(rehearsed.run.info.root_run) / "a").write_text("")
    assert rehearsed.all()["f"].error.cause == "bad_input"
    assert start(WRITE, file="x" * 300).all()["f"].error.cause in ("bad_input", "tool_denied")


def test_a_pipe_in_the_workspace_is_not_waited_for(start):
    rehearsed = start(WRITE, file="pipe")
    os.mkfifo(rehearsed.home.workspace(rehearsed.run.info.root_run) / "pipe")
    assert rehearsed.all()["f"].error.cause == "bad_input"


def test_files_written_by_the_run_can_be_listed_and_their_text_read(start):
    text = """
steps:
  - {name: w, type: files, write: {path: made.txt, text: made}}
  - {name: l, type: files, list: {git: null}}
  - {name: t, type: set, vars: {text: "{{ steps.l.data.files[0].text }}"}}
"""
    assert start(text).all()["t"].data == {"text": "made"}


def test_a_file_as_large_as_the_list_allows_can_be_read(start, tree):
    (tree / "big.txt").write_text("x" * 1_500_000)
    text = """
inputs: {repo: {type: path}}
steps:
  - {name: l, type: files, list: {root: "{{ inputs.repo }}", git: null, include: [big.txt], max_file_kb: 2000}}
  - {name: t, type: set, vars: {size: "{{ steps.l.data.files[0].text | length }}"}}
"""
    assert start(text, repo=str(tree)).all()["t"].data == {"size": 1_500_000}


def test_text_is_as_it_is_when_it_is_rendered(start, tree):
    text = """
inputs: {repo: {type: path}}
steps:
  - {name: l, type: files, list: {root: "{{ inputs.repo }}", git: null, include: [a.py]}}
  - {name: t, type: set, vars: {x: "{{ steps.l.data.files[0].text }}"}}
"""
    rehearsed = start(text, repo=str(tree))
    steps = rehearsed.run.pipeline.steps
    listed = rehearsed.run.step(steps[0], {})
    (tree / "a.py").write_text("b = 2\n")
    assert rehearsed.run.step(steps[1], {"l": listed}).data == {"x": "b = 2\n"}
