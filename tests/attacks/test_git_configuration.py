"""A repository whose configuration starts a program for everything git does, and everything of ours that asks git."""

import json
import os
import subprocess
import threading
import uuid
from http.server import ThreadingHTTPServer
from pathlib import Path

import dagster as dg
import pytest
from armed import FILES, STARTED, SWITCHES, Refusing, arm, git, programs

from elexirion_dagster.codebase.git_config import steps_environment
from elexirion_dagster.codebase.history import contents
from elexirion_dagster.codebase.worktree import head_of, open_worktree
from elexirion_dagster.compiler.compile import compile_files
from elexirion_dagster.errors import InputError, PolicyError
from elexirion_dagster.execution.executor import thread_executor
from elexirion_dagster.operations import scans
from elexirion_dagster.operations.instance import prune
from elexirion_dagster.sandbox.policy import Sandbox
from elexirion_dagster.settings import Settings
from elexirion_dagster.steps.tools.catalog import ToolPlace, use

KNOWN_TO_FIRE = {
    *("alias.attack", "core.fsmonitor", "core.editor", "core.pager", "core.sshCommand", "core.gitProxy"),
    *("core.askPass", "credential.helper", "diff.external", "diff.command.command", "diff.text.textconv"),
    *("difftool.attack.cmd", "mergetool.attack.cmd", "filter.plain.clean", "filter.plain.smudge"),
    *("filter.process.process", "filter.a=b.clean", "filter.nö.clean", "gpg.openpgp.program"),
    *(
        "merge.attack.driver",
        "remote.local.uploadpack",
        "remote.local.receivepack",
        "remote.ext.url",
        "sequence.editor",
    ),
    *("tar.attack.command", "trailer.attack.command", "url.insteadOf", "include.path", "includeIf.onbranch"),
    *("pager.log", "hook pre-commit", "hook reference-transaction", "hook post-checkout"),
}
"""What the commands start where git runs as it likes; other keys need a program, a server or a later git."""
WORKTREE = """
name: hostile
inputs: {repo: {type: path}}
workspace: {worktree_of: "{{ inputs.repo }}"}
steps: """
WHO = {f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
LEGITIMATE = ("status --short", "diff", "add -A", "commit -m ours", "commit --amend", "log -p -1", "show HEAD", "stash")


@pytest.fixture
def web():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/x.git"
    server.shutdown()
    server.server_close()


@pytest.fixture
def armed(tmp_path, web):
    return arm(tmp_path / "hostile", web)


@pytest.fixture
def folder(armed, tmp_path):
    """A worktree of it, with changes."""
    made = tmp_path / "work"
    made.mkdir()
    open_worktree(armed.root, made, head_of(armed.root))
    for name in FILES:
        (made / name).write_text("x = 3\n")
    return made


def test_the_repository_starts_its_programs_where_git_runs_as_it_likes(armed, tmp_path):
    (tmp_path / ".gitconfig").write_text("[user]\n\tname = T\n\temail = t@example.org\n")
    for words in programs():
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TERM": "xterm"}
        options = {"capture_output": True, "timeout": 60, "stdin": subprocess.DEVNULL}
        subprocess.run(words, cwd=armed.root, env=environment, check=False, **options)
    assert armed.traces() >= KNOWN_TO_FIRE


def written(commands):
    """Command steps, one after the other, whatever each comes to."""
    steps = [{"name": "w", "type": "files", "write": {"path": "f.merge", "text": "x = 3"}}]
    for number, words in enumerate(commands):
        step = {"name": f"s{number}", "type": "command", "run": words, "expect_exit": [*range(256)], "timeout_s": 60}
        steps.append({**step, "env": WHO, "sandbox": "off"})  # in a sandbox nothing could leave a trace
    return f"{WORKTREE}{json.dumps(steps)}\n"


@pytest.mark.slow
def test_command_steps_in_a_worktree_start_nothing(start, armed):
    commands = programs()
    rehearsed = start(written(commands), repo=str(armed.root))
    results = rehearsed.all()
    rehearsed.run.close()
    assert armed.traces() == set()
    said = {" ".join(words[1:]): results[f"s{number}"].data for number, words in enumerate(commands)}
    assert {words: said[words]["exit_code"] for words in LEGITIMATE[:-1]} == dict.fromkeys(LEGITIMATE[:-1], 0)
    assert "-second = 2" in said["diff"]["stdout"]


def test_command_steps_in_the_repository_itself_start_nothing(start, tmp_path, web):
    armed = arm(tmp_path / "hostile", web, worktrees=True)
    here = [["git", "-C", "{{ inputs.repo }}", *words[1:]] for words in programs() if " ".join(words[1:]) in LEGITIMATE]
    rehearsed = start(written(here), repo=str(armed.root))
    results = rehearsed.all()
    rehearsed.run.close()
    assert armed.traces() == set()
    assert results["s0"].data["stdout"].startswith(" M ")


def test_the_models_command_tool_starts_nothing(armed, folder):
    place = ToolPlace(folder, Path, ("git",), lambda: 60.0, threading.Event(), Sandbox(mode="off"), (armed.root,))
    who = ["-c", "user.name=T", "-c", "user.email=t@example.org"]
    for words in LEGITIMATE:
        outcome = use("command", {"program": "git", "arguments": [*who, *words.split()]}, place)
        assert outcome.text.startswith("exit code 0"), outcome.text
    use("command", {"program": "git", "arguments": ["-C", str(armed.root), "diff"]}, place)
    use("command", {"program": "git", "arguments": [f"--git-dir={armed.root}/.git", "diff"]}, place)
    assert armed.traces() == set()


def test_every_key_that_starts_something_has_another_value(armed, folder):
    environment = {"PATH": os.environ["PATH"], **steps_environment([folder], workspace=folder)}
    kept = set()
    for key in STARTED | {key: "" for key in SWITCHES if "." in key and key.startswith("hook")}:
        done = subprocess.run(
            ["git", "config", "--get", key], cwd=folder, env=environment, capture_output=True, text=True, check=True
        )
        kept |= {key} if str(armed.folder) in done.stdout or done.stdout == "pre-commit\n" else set()
    assert kept == {
        "remote.origin.uploadpack",
        "remote.local.uploadpack",
        "remote.local.receivepack",
    }  # the first value wins: never used, see above


def test_git_cannot_replace_the_null_device_by_a_file_of_settings(folder):
    """For root, `git config --global` would do so where that file is said to be /dev/null."""
    environment = {"PATH": os.environ["PATH"], **steps_environment([folder], workspace=folder)}
    assert environment["GIT_CONFIG_GLOBAL"] == ""
    words = ["git", "config", "--global", "user.name", "x"]
    assert subprocess.run(words, cwd=folder, env=environment, capture_output=True, check=False).returncode != 0
    assert Path(os.devnull).is_char_device()


def test_a_key_of_a_later_git_is_emptied_and_one_that_cannot_be_is_refused(armed, folder):
    git(armed.root, "config", "future.x.command", "run")
    values = steps_environment([folder], workspace=folder)
    number = next(name[15:] for name, value in values.items() if value == "future.x.command")
    assert values[f"GIT_CONFIG_VALUE_{number}"] == ""
    git(armed.root, "config", "gc.recentObjectsHook", "run")
    with pytest.raises(PolicyError, match="cannot be switched off"):
        steps_environment([folder], workspace=folder)


def test_a_repository_inside_or_around_the_place_is_looked_at_too(folder, tmp_path):
    lure = folder / "inner"  # looks like a git folder, is none: git goes on to the one around it
    for name in ("objects", "refs"):
        (lure / name).mkdir(parents=True)
    (lure / "HEAD").write_text("nothing\n")
    assert "filter.plain.clean" in steps_environment([lure], workspace=folder).values()
    assert "filter.plain.clean" not in steps_environment([tmp_path], workspace=tmp_path).values()


def test_a_partial_clone_does_not_fetch_what_is_missing(tmp_path):
    root, trace = tmp_path / "partial", tmp_path / "trace"
    git(tmp_path, "init", "-q", str(root))
    (root / "a.py").write_text("x = 1\n")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "first")
    blob = git(root, "rev-parse", "HEAD:a.py")
    (root / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    git(tmp_path, "init", "-q", "--bare", "lure")
    for key, value in {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "lazy",
        "remote.lazy.url": str(tmp_path / "lure"),
        "remote.lazy.promisor": "true",
        "remote.lazy.uploadpack": f"touch {trace}; false",
    }.items():
        git(root, "config", key, value)
    words = ["git", "log", "-p", "-1"]
    environment = steps_environment([root], workspace=tmp_path)
    subprocess.run(words, cwd=root, env=environment, check=False, capture_output=True)
    with pytest.raises(InputError, match="does not have"):
        list(contents(root, {blob: 6}))
    assert not trace.exists()
    plain = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    subprocess.run(words, cwd=root, env=plain, check=False, capture_output=True)
    assert trace.exists()


def test_an_include_that_lies_in_the_workspace_is_refused(armed, folder):
    git(armed.root, "config", "includeIf.onbranch:other.path", "~/in the tree")
    with pytest.raises(PolicyError, match="lies in the workspace"):
        steps_environment([folder], workspace=folder)


def test_a_relative_folder_of_path_is_not_looked_in(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", f".:bin::{os.environ['PATH']}")
    assert steps_environment([], workspace=tmp_path)["PATH"] == os.environ["PATH"].removeprefix(".:bin::")


OF_OURS = """
name: watch
inputs: {{repo: {{type: path, default: .}}}}
repos: ["{repo}"]
partitions: {{by: file, branch: main, fetch: true}}
schedule: {{cron: "30 2 * * *"}}
on: push
steps: [{{name: due, type: files, list: {{git: due}}}}]
"""
LOOKS = """
inputs: {repo: {type: path}}
workspace: {worktree_of: "{{ inputs.repo }}"}
steps:
  - {name: tracked, type: files, list: {root: "{{ inputs.repo }}", git: tracked}}
  - {name: changed, type: files, list: {root: "{{ inputs.repo }}", git: changed}}
  - {name: diff, type: files, diff: {of: "{{ steps.tracked.data.files }}", root: "{{ inputs.repo }}", since: HEAD~1}}
  - {name: inside, type: files, list: {git: tracked}}
  - {name: query, type: query, root: "{{ inputs.repo }}", symbols: {kind: [function]}}
  - {name: copy, type: files, copy: {from: "{{ inputs.repo }}", to: copied}}
  - {name: add, type: command, run: [git, add, -A], sandbox: off}
  - {name: commit, type: command, run: [git, commit, -m, ours], env: WHO, sandbox: off}
"""


@pytest.mark.slow
def test_scans_of_it_start_nothing(armed, home_path):
    settings = Settings(home=home_path)
    for diff in (None, "HEAD~1"):
        scan = scans.prepare(str(armed.root), settings, diff=diff)
        assert scan.plan.tree.repository.git
        done = scans.run(scan, run_id=str(uuid.uuid4()), model=None, stream=False, settings=settings)
        assert done.status == "succeeded", done
    assert armed.traces() == set()


@pytest.mark.parametrize("remote", ["origin", "git", "ssh", "web", "ext"])
def test_a_schedule_and_a_push_that_fetch_start_nothing(armed, tmp_path, remote):
    url = git(armed.root, "config", "--get", f"remote.{remote}.url")
    git(armed.root, "config", "--unset-all", "remote.origin.url")
    git(armed.root, "config", "remote.origin.url", url)
    file = tmp_path / "watch.yaml"
    file.write_text(OF_OURS.format(repo=armed.root))
    settings = Settings(home=tmp_path / "home")
    location = compile_files([file], settings, executor=thread_executor, finish=lambda *_: {}).get_repository_def()
    folder = tmp_path / "instance"
    folder.mkdir()
    with dg.instance_for_test(temp_dir=str(folder)) as instance:
        ticked = location.get_schedule_def("watch_schedule").evaluate_tick(dg.build_schedule_context(instance=instance))
        sensor = dg.build_sensor_context(instance=instance, repository_def=location)
        pushed = location.get_sensor_def("watch_push").evaluate_tick(sensor)
    for tick in (ticked, pushed):
        assert len(tick.run_requests or ()) == (remote == "origin"), tick
        assert remote == "origin" or "fetch" in str(tick.skip_message)
    assert armed.traces() == set()


def test_steps_that_look_at_it_and_its_worktree_start_nothing(start, armed, home_path):
    rehearsed = start(LOOKS.replace("WHO", json.dumps(WHO)), repo=str(armed.root))
    results = rehearsed.all()
    assert {name: result.status for name, result in results.items()} == dict.fromkeys(results, "succeeded")
    assert len(results) == len(rehearsed.run.pipeline.steps)
    assert {file["path"] for file in results["changed"].data["files"]} == set(FILES)
    assert "-first = 2" in str(results["diff"].data)
    folder = rehearsed.home.workspace(rehearsed.run.info.root_run)
    rehearsed.run.close()
    assert folder.exists()  # it holds a commit
    for each in [folder, *folder.rglob("*")]:
        os.utime(each, (0, 0), follow_symlinks=False)
    prune(Settings(home=home_path), 1)
    git(armed.root, "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "branch", "saved", head_of(folder))
    prune(Settings(home=home_path), 1)
    assert not folder.exists()
    assert armed.traces() == set()
