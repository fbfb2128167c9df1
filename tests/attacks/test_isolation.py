"""What a program of a pipeline tries to see, reach and change, and what it gets."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from elexirion_dagster.errors import PolicyError
from elexirion_dagster.providers.fake import Rule
from elexirion_dagster.records import ToolUseBlock
from elexirion_dagster.sandbox import isolation
from elexirion_dagster.sandbox.isolation import Isolation
from elexirion_dagster.sandbox.policy import Sandbox
from elexirion_dagster.shell import run

SECRET = "sk-ant-REDACTED"


def command(start, *words, **keys):
    """Run one command step; its result."""
    step = {"name": "c", "type": "command", "run": list(words), "timeout_s": 60, **keys}
    head = "inputs: {repo: {type: path, default: null}}\nsteps: "
    given = {name: keys.pop(name) for name in ("repo", "settings") if name in keys}
    step = {name: value for name, value in step.items() if name not in given}
    return start(head + json.dumps([step]), **given).all()["c"]


def tool(start, program, *arguments):
    """Let a model use the tool `command`; what it is told."""
    use = ToolUseBlock("t", "command", {"program": program, "arguments": list(arguments)})
    step = {"name": "a", "type": "llm", "prompt": "go", "tools": [{"command": [program]}]}
    text = "steps: " + json.dumps([step])
    rehearsed = start(text, rules=[Rule(match="go", tools=(use,), times=1), Rule(text="done")])
    assert rehearsed.all()["a"].status == "succeeded"
    return rehearsed.fake.requests[-1].messages[-1].content[0].text


@pytest.mark.usefixtures("isolated")
class TestWhatIsSeen:
    def test_the_documented_wc_does_not_read_a_file_outside_for_the_model(self, start):
        told = tool(start, "wc", "--files0-from=/etc/passwd")
        names = {line.split(":")[0] for line in Path("/etc/passwd").read_text().splitlines()} - {"root"}
        assert names
        assert not [name for name in names if f"{name}:" in told]

    def test_keys_are_not_in_any_environment(self, start, monkeypatch):
        monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
        look = "cat /proc/$PPID/environ /proc/1/environ /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'; true"
        seen = command(start, "sh", "-c", look)
        assert seen.status == "succeeded"
        assert SECRET not in seen.text
        worker = command(start, "sh", "-c", f"cat /proc/{os.getpid()}/environ; true")
        assert not worker.text.replace("\0", "").strip()

    def test_the_users_home_and_other_folders_are_not_there(self, start, tmp_path, monkeypatch):
        home = tmp_path / "person"
        (home / ".ssh").mkdir(parents=True)
        (home / ".ssh" / "id_ed25519").write_text("PRIVATE KEY")
        monkeypatch.setenv("HOME", str(home))
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "code.py").write_text("OTHER CHECKOUT")
        seen = command(start, "sh", "-c", f"cat {home}/.ssh/id_ed25519 {tmp_path}/other/code.py", expect_exit=[1])
        assert seen.status == "succeeded"
        assert not seen.text

    def test_a_path_input_is_seen_and_cannot_be_changed(self, start, tmp_path):
        repo = tmp_path / "repo"
        repo.mkdir()
        (repo / "a.py").write_text("x = 1\n")
        (tmp_path / "link").symlink_to(repo)
        for name in ("repo", "link"):
            seen = command(start, "cat", "{{ inputs.repo }}/a.py", repo=str(tmp_path / name))
            assert seen.text == "x = 1\n", seen.error
        changed = command(start, "sh", "-c", "echo y > $0/a.py", "{{ inputs.repo }}", repo=str(repo))
        assert changed.status == "failed"
        assert "may have caused this" in changed.error.mend
        assert "sandbox: off" in changed.error.mend
        assert (repo / "a.py").read_text() == "x = 1\n"

    def test_journal_ledger_and_other_runs_are_out_of_reach(self, start, home_path):
        before = start("steps: [{name: s, type: set, vars: {x: 1}}]")
        before.all()
        look = f"ls -R {home_path}/journal {home_path}; echo x >> {home_path}/x; find {home_path} -name '*.jsonl'"
        seen = command(start, "sh", "-c", f"{look}; true")
        assert "jsonl" not in seen.text
        assert not (home_path / "x").exists()
        wide = command(
            start, "sh", "-c", f"find {home_path.parent} -name '*.jsonl' -print; true", repo=str(home_path.parent)
        )
        assert "jsonl" not in wide.text

    def test_the_workspace_and_temporary_files_are_writable_and_the_system_is_not(self, start):
        words = "echo a > here; mktemp > /dev/null && echo made; touch /usr/bin/x /etc/x /x 2>/dev/null || echo refused"
        assert command(start, "sh", "-c", words).text == "made\nrefused\n"

    def test_a_link_in_the_workspace_leads_nowhere(self, start, tmp_path):
        (tmp_path / "secret").write_text("SECRET")
        seen = command(start, "sh", "-c", f"ln -s {tmp_path}/secret s; cat s", expect_exit=[1])
        assert (seen.status, seen.text) == ("succeeded", "")


class Answering(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with HTTPServer(("127.0.0.1", 0), Answering) as one:
        thread = threading.Thread(target=one.serve_forever)
        thread.start()
        yield one.server_port
        one.shutdown()
        thread.join()


CONNECT = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5); print('reached')"
UDP = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9)); print('sent')"


@pytest.mark.usefixtures("isolated")
class TestNetwork:
    def test_a_literal_command_has_it_unless_told_otherwise(self, start, server):
        assert command(start, sys.executable, "-c", CONNECT, str(server)).text == "reached\n"
        refused = command(start, sys.executable, "-c", CONNECT, str(server), network=False)
        assert refused.status == "failed"

    def test_what_a_result_is_part_of_has_none_unless_it_is_asked_for(self, start, server):
        step = {"name": "c", "type": "command", "run": [sys.executable, "-c", "{{ steps.m.text }}", str(server)]}
        asks = {"name": "m", "type": "llm", "prompt": "which"}
        rules = [Rule(text=CONNECT)]
        refused = start("steps: " + json.dumps([asks, step]), rules=rules).all()["c"]
        assert refused.status == "failed"
        allowed = "steps: " + json.dumps([asks, {**step, "network": True}])
        assert start(allowed, rules=rules).all()["c"].text == "reached\n"

    def test_a_models_tool_has_none(self, start, server):
        told = tool(start, "python3", "-c", CONNECT, str(server))
        assert "reached" not in told
        assert "Error" in told

    def test_it_is_off_for_datagrams_too(self, start, isolated):
        done = command(start, sys.executable, "-c", UDP, network=False)
        if isolated == "landlock":
            assert done.status == "failed"
            assert "network" in done.error.mend
        else:  # a loopback of its own: sent, and nobody there
            assert done.text == "sent\n"
        outside = UDP.replace("127.0.0.1", "192.0.2.1")
        done = command(start, sys.executable, "-c", outside, network=False)
        assert done.status == "failed"
        assert "network: true" in done.error.mend


def git(folder, *words):
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_GLOBAL": "/dev/null"}
    names = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
    environ |= dict.fromkeys(names, "x@example.org")
    done = subprocess.run(["git", *words], cwd=folder, env=environ, check=True, capture_output=True, text=True)
    return done.stdout.strip()


COMMIT = (
    "echo b > b && git add b && git -c user.name=x -c user.email=x@example.org commit -qm two && git rev-parse HEAD"
)


class TestWorktree:
    @pytest.fixture
    def repository(self, tmp_path):
        repo = tmp_path / "repo"
        repo.mkdir()
        git(repo, "init", "-q", "-b", "main")
        (repo / "a").write_text("a\n")
        git(repo, "add", "a")
        git(repo, "commit", "-qm", "one")
        git(repo, "repack", "-adq")
        return repo

    def in_worktree(self, start, repo, script, **keys):
        step = {"name": "c", "type": "command", "run": ["sh", "-c", script], "timeout_s": 60, **keys}
        head = 'inputs: {repo: {type: path}}\nworkspace: {worktree_of: "{{ inputs.repo }}"}\nsteps: '
        return start(head + json.dumps([step]), repo=str(repo)).all()["c"]

    @pytest.mark.usefixtures("isolated")
    def test_a_commit_works(self, start, repository):
        done = self.in_worktree(start, repository, COMMIT)
        assert done.status == "succeeded", done.error
        assert git(repository, "log", "--format=%s", done.text.strip()) == "two\none"

    @pytest.mark.usefixtures("isolated")
    def test_the_repositorys_own_files_are_read_only(self, start, repository):
        files = [file for file in (repository / ".git").rglob("*") if file.is_file()]
        before = {file: file.read_bytes() for file in files}
        places = "hooks/post-checkout hooks/pre-commit config refs/heads/evil HEAD packed-refs info/attributes"
        script = f"cd {repository}/.git; for one in {places}; do echo evil >> $one && echo wrote $one; done; exit 1"
        done = self.in_worktree(start, repository, script)
        assert (done.status, done.text) == ("failed", "")
        assert "sandbox" in done.error.mend
        assert {file: file.read_bytes() for file in before} == before
        assert not (repository / ".git" / "refs" / "heads" / "evil").exists()

    @pytest.mark.usefixtures("isolated")
    def test_no_mount_undoes_what_is_read_only_or_hidden(self, start, repository, home_path):
        git_folder = repository / ".git"
        script = (
            "grep CapEff /proc/self/status;"
            f"for one in {repository} {git_folder}; do mount -o remount,rw,bind $one; done;"
            f"echo x > {git_folder}/hooks/post-checkout; echo x >> {git_folder}/config; umount -l {home_path};"
            f"ls {home_path}/journal; mount -t tmpfs none /tmp && echo mounted; exit 1"
        )
        before = (git_folder / "config").read_bytes()
        done = self.in_worktree(start, repository, script)
        assert (done.status, done.text.split()) == ("failed", ["CapEff:", "0" * 16])
        assert (git_folder / "config").read_bytes() == before
        assert not (git_folder / "hooks" / "post-checkout").exists()

    @pytest.mark.parametrize("isolated", ["bubblewrap"], indirect=True)
    @pytest.mark.usefixtures("isolated")
    def test_no_hook_runs_whatever_git_is_asked(self, start, repository):
        for name in ("pre-receive", "update", "reference-transaction", "post-update"):
            hook = repository / ".git" / "hooks" / name
            hook.write_text("#!/bin/sh\necho $0 >> $HOME/ran\n")
            hook.chmod(0o755)
        script = "git push -q . HEAD:refs/heads/pushed; git bisect start; cat ran; exit 1"
        assert self.in_worktree(start, repository, script).text == ""

    @pytest.mark.parametrize("isolated", ["bubblewrap"], indirect=True)
    @pytest.mark.usefixtures("isolated")
    def test_the_links_between_worktree_and_repository_and_its_packs_stay(self, start, repository):
        own = "$(git rev-parse --git-dir)"
        attacks = (
            f"echo x > {own}/gitdir",
            f"rm {own}/commondir",
            "rm .git",
            "mv .git old",
            "echo gitdir: /x > .git",
            f"rm {repository}/.git/objects/pack/*.pack",
        )
        done = self.in_worktree(start, repository, "; ".join(f"({one}) && echo done" for one in attacks) + "; exit 1")
        assert (done.status, done.text) == ("failed", "")
        assert git(repository, "log", "--format=%s") == "one"


class TestModes:
    def test_required_refuses_where_there_is_none(self, tmp_path, monkeypatch):
        monkeypatch.setattr(isolation, "available", lambda: Isolation("none", "bubblewrap is not installed"))
        sandbox = Sandbox("required", writable=(tmp_path,))
        with pytest.raises(PolicyError, match="requires a sandbox") as caught:
            run(["touch", "ran"], cwd=tmp_path, timeout_s=10, sandbox=sandbox)
        assert "pip install 'elexirion[sandbox]'" in caught.value.mend
        assert not (tmp_path / "ran").exists()

    def test_auto_runs_where_there_is_none_and_says_so(self, tmp_path, monkeypatch):
        monkeypatch.setattr(isolation, "available", lambda: Isolation("none", "bubblewrap is not installed"))
        done = run(["true"], cwd=tmp_path, timeout_s=10, sandbox=Sandbox("auto", writable=(tmp_path,)))
        assert (done.exit_code, done.isolation) == (0, "none")

    def test_off_sees_everything(self, start, tmp_path):
        (tmp_path / "seen").write_text("seen")
        assert command(start, "cat", str(tmp_path / "seen"), sandbox="off").text == "seen"
        assert command(start, "cat", str(tmp_path / "seen"), settings={"sandbox": "off"}).text == "seen"

    @pytest.mark.usefixtures("isolated")
    def test_no_step_weakens_required(self, start, tmp_path):
        (tmp_path / "seen").write_text("seen")
        done = command(start, "cat", str(tmp_path / "seen"), sandbox="off", settings={"sandbox": "required"})
        assert done.status == "failed"
        assert f"{tmp_path}/seen exists" in done.error.mend
