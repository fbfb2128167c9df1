import os
import sys
import threading

import pytest

from elexirion_dagster.errors import Cancelled, ElexirionError, InputError, PolicyError
from elexirion_dagster.sandbox.policy import Sandbox
from elexirion_dagster.steps.tools.catalog import ToolPlace, offered, use

SECRET = "outside the workspace"


@pytest.fixture
def workspace(tmp_path):
    folder = tmp_path / "workspace"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "a.py").write_text("def one():\n    return 1\n\n\ndef two():\n    return 2\n")
    (folder / "notes.md").write_text("one\ntwo\n")
    return folder


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.txt").write_text(SECRET)
    return folder


@pytest.fixture
def place(workspace):
    def readable(path):
        try:
            real = (workspace / path).resolve()
        except ValueError as error:
            raise InputError("no usable path") from error
        if not real.is_relative_to(workspace):
            raise PolicyError(f"{path} lies outside", cause="tool_denied", mend="Name a file of the workspace.")
        return real

    sandbox = Sandbox(writable=(workspace,))
    return ToolPlace(workspace, readable, ("echo", "sh", "sleep", "git"), lambda: 60.0, threading.Event(), sandbox)


def good(name, place, **arguments):
    outcome = use(name, arguments, place)
    assert not outcome.is_error, outcome.text
    return outcome.text


def refused(name, place, **arguments):
    outcome = use(name, arguments, place)
    assert outcome.is_error, outcome.text
    assert SECRET not in outcome.text
    return outcome.text


def test_a_file_is_written_read_changed_and_found(place, workspace):
    assert good("write", place, path="new/b.py", text="x = 1\ny = 2\n") == "wrote new/b.py (12 bytes)"
    assert good("edit", place, path="new/b.py", old="y = 2", new="y = 3") == "changed new/b.py at line 2"
    assert good("read", place, path="new/b.py") == "     1\tx = 1\n     2\ty = 3"
    assert good("glob", place, pattern="**/*.py") == "new/b.py\nsrc/a.py"
    assert good("grep", place, pattern=r"^\w = \d$") == "new/b.py:1:x = 1\nnew/b.py:2:y = 3"
    assert good("command", place, program="echo", arguments=["$HOME", "*"]) == "exit code 0\noutput:\n$HOME *\n"
    assert (workspace / "new" / "b.py").stat().st_mode & 0o777 == 0o600


def test_the_offer_is_in_the_order_of_the_catalogue():
    names = [tool.name for tool in offered(["command", "grep", "read"], ["pytest", "ruff"])]
    assert names == ["read", "grep", "command"]
    schema = offered(["command"], ["pytest", "ruff"])[0].input_schema
    assert schema["properties"]["program"]["enum"] == ["pytest", "ruff"]


@pytest.mark.parametrize(("names", "programs"), [(["browse"], []), (["command"], [])])
def test_an_offer_that_cannot_be_made_says_so(names, programs):
    with pytest.raises(InputError) as caught:
        offered(names, programs)
    assert caught.value.mend


@pytest.mark.parametrize("name", ["read", "write", "edit", "glob", "grep"])
@pytest.mark.parametrize(
    "path",
    ["../outside/secret.txt", "/etc/passwd", "link/secret.txt", "hole", "a\0b", "\ud800", ".git/hooks/pre-commit"],
)
def test_no_tool_leaves_what_was_granted(place, workspace, outside, name, path):
    (workspace / "link").symlink_to(outside)
    (workspace / "hole").symlink_to("/etc/hostname")
    (workspace / ".git" / "hooks").mkdir(parents=True)
    more = {
        "write": {"text": "x"},
        "edit": {"old": "outside", "new": "x"},
        "glob": {"pattern": "*"},
        "grep": {"pattern": "."},
    }
    refused(name, place, path=path, **more.get(name, {}))
    assert (outside / "secret.txt").read_text() == SECRET
    assert list((workspace / ".git" / "hooks").iterdir()) == []


@pytest.mark.parametrize("path", [".git", ".git/config", ".GIT/config", "sub/.git/hooks/post-checkout"])
def test_what_belongs_to_git_is_not_written(place, workspace, path):
    assert "git" in refused("write", place, path=path, text="#!/bin/sh\n")
    assert not (workspace / ".git").exists()


def test_a_link_to_a_folder_that_is_swapped_in_after_the_look_is_not_followed(place, workspace, outside):
    real = (workspace / "src").resolve()

    def swapped(path):
        found = (workspace / path).resolve()
        if real.is_dir() and not real.is_symlink():
            real.rename(workspace / "was")
            real.symlink_to(outside)
        return found

    (outside / "a.py").write_text(SECRET)
    racing = ToolPlace(workspace, swapped, (), place.time_left_s, place.cancelled, place.sandbox)
    refused("read", racing, path="src/a.py")


def test_links_are_not_followed_by_a_search(place, workspace, outside):
    (workspace / "link").symlink_to(outside)
    (workspace / "file").symlink_to(outside / "secret.txt")
    assert SECRET not in good("grep", place, pattern="outside")
    assert "secret" not in good("glob", place, pattern="**")


def test_a_name_with_a_line_end_stays_on_its_line(place, workspace):
    (workspace / "a\nsrc").mkdir()
    (workspace / "a\nsrc" / "x.py").write_text("needle\n")
    (workspace / os.fsdecode(b"caf\xe9.py")).write_text("needle\n")
    assert good("glob", place, pattern="**/x.py") == '"a\\nsrc/x.py"'
    assert good("grep", place, pattern="needle") == 'caf\\udce9.py:1:needle\n"a\\nsrc/x.py":1:needle'


def test_long_files_are_read_in_parts(place, workspace):
    (workspace / "long.txt").write_text("".join(f"line {number}\n" for number in range(1, 5001)))
    assert good("read", place, path="long.txt", limit=2).endswith("[lines 1 to 2 of 5,000; go on with offset 3]")
    assert good("read", place, path="long.txt", offset=5000) == "  5000\tline 5000"
    assert "go on with offset" in good("read", place, path="long.txt")
    assert "5,000 lines" in refused("read", place, path="long.txt", offset=5001)


def test_what_is_no_text_is_not_read(place, workspace):
    (workspace / "binary").write_bytes(b"\x7fELF\0\0needle")
    with (workspace / "huge").open("wb") as file:
        file.truncate(3_000_000_000)
    os.mkfifo(workspace / "pipe")
    assert "binary" in refused("read", place, path="binary")
    assert "larger than" in refused("read", place, path="huge")
    assert "no regular file" in refused("read", place, path="pipe")
    assert "is a folder" in refused("read", place, path="src")
    assert good("grep", place, pattern="needle").startswith("[no line matches]\n[left out: 3 files")


def test_text_that_is_not_utf8_is_shown_with_a_note_and_never_changed(place, workspace):
    (workspace / "latin").write_bytes(b"caf\xe9\n")
    assert "not UTF-8" in good("read", place, path="latin")
    assert "not UTF-8" in refused("edit", place, path="latin", old="caf", new="x")
    assert (workspace / "latin").read_bytes() == b"caf\xe9\n"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("return", "yield", "at lines 2, 6"),
        ("missing", "x", "does not stand"),
        ("return 1\n\n", "return 1\n\n", "are the same"),
        ("def one():\n  return 1", "x", "line 1"),
    ],
)
def test_an_edit_that_is_not_exact_and_unique_changes_nothing_and_says_how(place, workspace, old, new, said):
    before = (workspace / "src" / "a.py").read_bytes()
    assert said in refused("edit", place, path="src/a.py", old=old, new=new)
    assert (workspace / "src" / "a.py").read_bytes() == before


def test_an_edit_keeps_line_ends_and_mode(place, workspace):
    (workspace / "dos.sh").write_bytes(b"a\r\nb\r\nc\r\n")
    (workspace / "dos.sh").chmod(0o755)
    good("edit", place, path="dos.sh", old="a\nb", new="x\ny\nz")
    assert (workspace / "dos.sh").read_bytes() == b"x\r\ny\r\nz\r\nc\r\n"
    assert (workspace / "dos.sh").stat().st_mode & 0o777 == 0o755


def test_answers_are_bounded_and_say_what_was_cut(place, workspace):
    for number in range(600):
        (workspace / f"{number:03}.txt").write_text("needle " * 100)
    assert "[100 more files" in good("glob", place, pattern="*.txt")
    assert "more lines match" in good("grep", place, pattern="needle")
    long = good("command", place, program="sh", arguments=["-c", "seq 100000; echo last"])
    assert "bytes left out" in long
    assert long.endswith("last\n")
    (workspace / "wide.txt").write_text("é" * 100_000)
    for text in (long, good("grep", place, pattern="."), good("read", place, path="wide.txt")):
        assert len(text.encode()) <= 30_000


def test_only_granted_programs_are_run(place):
    for program in ("ls", "/bin/ls", "/bin/echo", "./echo", ""):
        assert "echo" in refused("command", place, program=program)
    bare = ToolPlace(place.workspace, place.readable, (), place.time_left_s, place.cancelled, place.sandbox)
    assert refused("command", bare, program="echo")


def test_a_program_of_that_name_in_the_workspace_is_not_run(place, workspace, monkeypatch):
    (workspace / "echo").write_text("#!/bin/sh\nprintf planted\n")
    (workspace / "echo").chmod(0o755)
    monkeypatch.setenv("PATH", f".::{os.environ['PATH']}")
    assert "planted" not in good("command", place, program="echo", arguments=["x"])


def test_a_program_sees_nothing_of_our_environment(place, monkeypatch):
    monkeypatch.setenv("SERVICE_TOKEN", "from the parent")
    assert "from the parent" not in good("command", place, program="sh", arguments=["-c", "env"])


def test_git_runs_no_hook_and_reads_no_configuration_of_the_workspace(place, workspace):
    planted = f"#!/bin/sh\ntouch {workspace}/planted\n"
    good("command", place, program="git", arguments=["init", "-q"])
    for path, text in ((".git/hooks/pre-commit", planted), (".gitconfig", f"[core]\n\tfsmonitor = {workspace}/run\n")):
        (workspace / path).write_text(text)
        (workspace / path).chmod(0o755)
    (workspace / "run").write_text(planted)
    (workspace / "run").chmod(0o755)
    good("command", place, program="git", arguments=["add", "."])
    words = ["-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-q", "-m", "first"]
    assert good("command", place, program="git", arguments=words) == "exit code 0"
    assert not (workspace / "planted").exists()


def test_a_failing_program_is_an_answer(place):
    told = good("command", place, program="sh", arguments=["-c", "echo why >&2; exit 3"])
    assert told == "exit code 3\nerrors:\nwhy\n"


def test_a_program_that_takes_too_long_is_stopped_and_the_model_told(place):
    assert "stopped after 1 s" in refused("command", place, program="sleep", arguments=["60"], timeout_s=1)


def test_the_end_of_the_steps_time_and_of_the_run_are_raised(place):
    def over():
        raise ElexirionError("out of time", cause="timeout")

    late = ToolPlace(place.workspace, place.readable, ("echo",), over, threading.Event(), place.sandbox)
    for name, arguments in (("command", {"program": "echo"}), ("grep", {"pattern": "x"}), ("glob", {"pattern": "*"})):
        with pytest.raises(ElexirionError, match="out of time"):
            use(name, arguments, late)
    place.cancelled.set()
    with pytest.raises(Cancelled):
        use("command", {"program": "echo"}, place)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("read", {}),
        ("read", {"path": 3}),
        ("read", {"path": "notes.md", "offset": 0}),
        ("read", {"path": "notes.md", "ofset": 1}),
        ("write", {"path": "src", "text": "x"}),
        ("write", {"path": ".", "text": "x"}),
        ("write", {"path": "notes.md/x", "text": "x"}),
        ("write", {"path": "x" * 300, "text": "x"}),
        ("edit", {"path": "none", "old": "x", "new": "y"}),
        ("glob", {"pattern": "[z-a]"}),
        ("glob", {"pattern": "\ud800"}),
        ("grep", {"pattern": "\ud800"}),
        ("grep", {"pattern": "(?=x)"}),
        ("grep", {"pattern": "(((a{1,100}){1,100}))"}),
        ("grep", {"pattern": "x", "path": "none"}),
        ("command", {"program": "echo", "arguments": "x"}),
        ("command", {"program": "echo", "arguments": ["a\0b"]}),
        ("bash", {"command": "ls"}),
    ],
)
def test_what_a_model_does_wrong_is_told_and_never_raised(place, name, arguments):
    told = refused(name, place, **arguments)
    assert "Traceback" not in told
    assert len(told) > len("wrong")


def test_the_interpreter_is_found_beside_us(workspace, place):
    name = os.path.basename(sys.executable)  # noqa: PTH119 - a name
    own = ToolPlace(workspace, place.readable, (name,), place.time_left_s, place.cancelled, place.sandbox)
    assert good("command", own, program=name, arguments=["-c", "print(1)"]) == "exit code 0\noutput:\n1\n"
