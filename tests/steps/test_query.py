import pytest

QUERY = """
inputs: {repo: {type: path}, word: {type: string, default: ""}}
steps: [{name: q, type: query, root: "{{ inputs.repo }}", %s}]
"""


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "a.py").write_text("def one():\n    pass\n")
    (folder / "b.py").write_text("import a, os\n")
    (folder / "test_b.py").write_text("from b import *\n")
    return folder


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("files: {name: '{{ inputs.word }}'}", ["a.py"]),
        ("files: {contains: import}, exclude: ['test_*']", ["b.py"]),
        ("symbols: {name: on?, kind: [function]}", ["a.py"]),
        ("symbols: {of: [{path: b.py}]}", []),
        ("symbols: {of: '{{ inputs.word }}'}", ["a.py"]),
        ("imports: {of: b.py}", ["b.py", "b.py"]),
        ("imports: {}, include: ['{{ inputs.word }}', 'test_b.py']", ["test_b.py"]),
        ("dependents: {of: '{{ inputs.word }}'}", ["b.py"]),
        ("impact: {of: ['{{ inputs.word }}']}", ["b.py", "test_b.py"]),
        ("impact: {of: [{path: a.py}], max_depth: 1}", ["b.py"]),
        ("impact: {of: []}", []),
    ],
)
def test_each_question_is_answered_under_its_name(one, tree, question, expected):
    result = one(QUERY % question, repo=str(tree), word="a.py")
    assert result.status == "succeeded", result.error
    assert [record["path"] for record in result.data[question.split(":")[0]]] == expected
    assert (result.data["unparsed"], result.data["source"], "every file" in result.data["note"]) == ([], "walk", True)


def test_files_are_those_that_git_tracks_and_broken_ones_are_named(one, git_repository):
    result = one(QUERY % "symbols: {}", repo=str(git_repository))
    assert {record["path"] for record in result.data["symbols"]} == {"src/clean.py", "src/shell.py"}
    (broken,) = result.data["unparsed"]
    assert (broken["path"], broken["line"], "line" in broken["reason"]) == ("broken.py", 1, True)
    assert (result.data["source"], result.metadata["unparsed"]) == ("git", 1)


def test_found_files_can_be_read_by_a_later_step(start, tree):
    text = """
inputs: {repo: {type: path}}
steps:
  - {name: q, type: query, root: "{{ inputs.repo }}", files: {contains: pass}}
  - {name: t, type: set, vars: {text: "{{ steps.q.data.files[0].text }}"}}
"""
    assert start(text, repo=str(tree)).all()["t"].data == {"text": "def one():\n    pass\n"}


def test_a_secret_in_the_source_is_not_kept(start, tree):
    secret = "AKIA" + "ABCDEFGH12345678"
    (tree / "s.js").write_text(f"import '{secret}'\nfunction {secret}() {{}}\n")
    for question in ("symbols: {}", "imports: {}"):
        rehearsed = start(QUERY % question, repo=str(tree))
        assert "[redacted:aws_access_key]" in str(rehearsed.all()["q"].data)
        assert secret not in str(rehearsed.lines())


@pytest.mark.parametrize(
    ("question", "cause"),
    [
        ("dependents: {of: gone.py}", "bad_input"),
        ("symbols: {of: gone.py}", "bad_input"),
        ("impact: {of: ../outside.py}", "bad_input"),
        ("imports: {of: 7}", "bad_input"),
        ("symbols: {name: '[z-a]'}", "bad_input"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_its_cause(one, tree, question, cause):
    result = one(QUERY % question, repo=str(tree))
    assert (result.status, result.error.cause) == ("failed", cause)


@pytest.mark.parametrize("root", ["/etc", "{{ inputs.repo }}/..", "{{ inputs.repo }}/link"])
def test_a_folder_outside_what_was_granted_is_refused(one, tree, root):
    (tree / "link").symlink_to("/etc")
    text = QUERY.replace("{{ inputs.repo }}", root) % "symbols: {}"
    assert one(text, repo=str(tree)).error.cause == "tool_denied"
