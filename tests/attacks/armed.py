"""A repository whose configuration has every key that git documents as starting a program, each with its own trace."""

import subprocess
import sys
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path

STARTED = {
    "alias.attack": "!{run}",
    "alias.at.tack": "!{run}",
    "alias.attack.command": "!{run}",
    "browser.attack.cmd": "{run}",
    "browser.attack.path": "{run}",
    "core.alternateRefsCommand": "{run}",
    "core.askPass": "{run}",
    "core.editor": "{run}",
    "core.fsmonitor": "{run}",
    "core.gitProxy": "{run}",
    "core.pager": "{run}",
    "core.sshCommand": "{run}",
    "credential.helper": "!{run}",
    "credential.http://127.0.0.1.helper": "!{run}",
    "diff.external": "{run}",
    "diff.command.command": "{run}",
    "diff.text.textconv": "{run}",
    "difftool.attack.cmd": "{run}",
    "difftool.meld.path": "{run}",
    "filter.plain.clean": "{run}",
    "filter.plain.smudge": "{run}",
    "filter.process.process": "{run}",
    "filter.a=b.clean": "{run}",
    "filter.nö.clean": "{run}",
    "gpg.program": "{run}",
    "gpg.openpgp.program": "{run}",
    "gpg.x509.program": "{run}",
    "gpg.ssh.program": "{run}",
    "gpg.ssh.defaultKeyCommand": "{run}",
    "guitool.attack.cmd": "{run}",
    "hook.attack.command": "{run}",
    "imap.tunnel": "{run}",
    "instaweb.browser": "{run}",
    "instaweb.httpd": "{run}",
    "interactive.diffFilter": "{run}",
    "man.attack.cmd": "{run}",
    "man.attack.path": "{run}",
    "merge.attack.driver": "{run} %A",
    "mergetool.attack.cmd": "{run}",
    "mergetool.meld.path": "{run}",
    "pager.log": "{run}",
    "remote.origin.uploadpack": "{run}",
    "remote.local.uploadpack": "{run}",
    "remote.local.receivepack": "{run}",
    "sendemail.smtpServer": "{run}",
    "sendemail.sendmailCmd": "{run}",
    "sendemail.toCmd": "{run}",
    "sendemail.ccCmd": "{run}",
    "sendemail.headerCmd": "{run}",
    "sendemail.attack.sendmailCmd": "{run}",
    "sequence.editor": "{run}",
    "submodule.attack.update": "!{run}",
    "tar.attack.command": "{run}",
    "trailer.attack.command": "{run}",
    "trailer.other.cmd": "{run}",
}
"""Every key, out of git-config(1) as of git 2.55, whose value git runs; `{run}` is a script that leaves a trace."""
SWITCHES = {
    "diff.tool": "attack",
    "merge.tool": "attack",
    "help.browser": "attack",
    "web.browser": "attack",
    "man.viewer": "attack",
    "hook.attack.event": "pre-commit",
    "log.showSignature": "true",
    "tag.gpgSign": "true",
    "push.gpgSign": "if-asked",
    "trailer.attack.ifmissing": "add",
    "trailer.other.ifmissing": "add",
    "protocol.allow": "always",
    "protocol.ext.allow": "always",
    "remote.ext.url": "ext::{folder}/remote.ext.url",
    "remote.origin.url": "{origin}",
    "remote.local.url": "{origin}",
    "remote.local.fetch": "+refs/heads/*:refs/remotes/local/*",
    "remote.ssh.url": "ssh://127.0.0.1:9/x.git",
    "remote.git.url": "git://127.0.0.1:9/x.git",
    "remote.web.url": "{web}",
    "remote.helper.vcs": "ext",
    "remote.helper.url": "{folder}/remote.helper.vcs",
    "url.ext::{folder}/url.insteadOf .insteadOf": "rewritten:",
    "core.hooksPath": "{folder}/hooks",
    "init.templateDir": "{folder}/template",
    "uploadpack.packObjectsHook": "{folder}/uploadpack.packObjectsHook",
    "receive.procReceiveRefs": "refs",
    "include.path": "{folder}/included",
    "includeIf.onbranch:other.path": "{folder}/included on a branch",
    "submodule.attack.url": "{origin}",
}
HOOKS = (
    *(
        "pre-commit",
        "prepare-commit-msg",
        "commit-msg",
        "post-commit",
        "post-checkout",
        "post-merge",
        "pre-merge-commit",
    ),
    *("pre-rebase", "post-rewrite", "pre-push", "pre-auto-gc", "post-index-change", "reference-transaction"),
    *("applypatch-msg", "pre-applypatch", "post-applypatch", "fsmonitor-watchman", "update", "pre-receive"),
)
ATTRIBUTES = """\
*.plain filter=plain
*.process filter=process
*.ab filter=a=b
*.no filter=nö
*.included filter=included
*.branch filter=branch
*.command diff=command
*.text diff=text
*.merge merge=attack
"""
FILES = ("f.plain", "f.process", "f.ab", "f.no", "f.included", "f.branch", "f.command", "f.text", "f.merge", "f.py")
COMMANDS = (
    "status --short",
    "diff --no-ext-diff",
    "diff",
    "diff --stat HEAD~1",
    "log -p -1",
    "log --show-signature -2",
    "show HEAD",
    "blame f.plain",
    "grep x",
    "ls-files -m -o",
    "cat-file --textconv HEAD:f.text",
    "cat-file --filters HEAD:f.plain",
    "hash-object f.plain",
    "add -p",
    "add -A",
    "commit -m ours",
    "commit --amend",
    "stash list",
    "checkout -b mine",
    "checkout other -- f.merge",
    "reset --hard",
    "rebase -i HEAD~1",
    "rebase --abort",
    "reset --hard",
    "merge --no-edit other",
    "mergetool --no-prompt -t attack",
    "add -A",
    "commit --no-edit -m merged",
    "cherry-pick other",
    "stash",
    "checkout -f other",
    "hash-object f.branch",
    "tag -m x signed",
    "tag -s -m x signed-too",
    "commit -S --allow-empty -m signed",
    "commit --allow-empty -S -m signed",
    "verify-commit HEAD",
    "archive --format=attack HEAD",
    "archive --format=tar -o ../archive.tar HEAD",
    "format-patch -1 -o ../patches",
    "interpret-trailers --trailer attack=x --trailer other=y f.py",
    "difftool --no-prompt -t attack HEAD~1",
    "difftool --no-prompt -t meld HEAD~1",
    "attack",
    "at.tack",
    "help -w status",
    "help -m status",
    "instaweb --start",
    "fetch local",
    "fetch ext",
    "fetch ssh",
    "fetch git",
    "fetch web",
    "fetch helper",
    "fetch rewritten:x",
    "push local HEAD:refs/heads/pushed",
    "ls-remote local",
    "remote show local",
    "submodule update --init",
    "clone -q . ../cloned",
    "init -q ../made",
    "worktree add --detach ../further",
    "bundle create ../bundle HEAD",
    "gc",
    "maintenance run",
    "repack -adq",
    "-p log -1",
)
"""Run in a working tree, each split at spaces."""
PAGED = (sys.executable, "-c", "import pty; pty.spawn(['git', 'log', '-1']); pty.spawn(['git', 'show', '--stat'])")
"""Git pages what it says on a terminal."""


def programs() -> list[list[str]]:
    """All of them, as lists of arguments."""
    return [*(["git", *words.split()] for words in COMMANDS), list(PAGED)]


@dataclass(frozen=True, slots=True)
class Armed:
    """The repository, and the folder where its programs leave a trace."""

    root: Path
    folder: Path

    def traces(self) -> set[str]:
        """The keys whose programs ran."""
        found = {path.name for path in (self.folder / "traces").iterdir()}
        for name in found:
            (self.folder / "traces" / name).unlink()
        return found


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def script(folder: Path, key: str) -> Path:
    """A program that leaves the trace of a key, and answers like a filter that changes nothing."""
    place = folder / key.replace("/", "|")
    answer = "exit 1" if key.startswith(("remote.", "url.", "core.")) else "[ $# = 0 ] && exec cat\nexit 0"
    place.write_text(f"#!/bin/sh\ntouch '{folder}/traces/{place.name}'\n{answer}\n")
    place.chmod(0o755)
    return place


def arm(folder: Path, web: str, *, worktrees: bool = False) -> Armed:
    """Make the repository. `worktrees`: the keys stand in `config.worktree` instead."""
    root = folder / "armed"
    (folder / "traces").mkdir(parents=True)
    git(folder, "init", "-q", str(root))
    (root / ".gitattributes").write_text(ATTRIBUTES)
    _write(root, "first")
    _commit(root, "first")
    git(root, "checkout", "-q", "-b", "other")
    _write(root, "other")
    _commit(root, "other")
    git(root, "checkout", "-q", "main")
    _write(root, "second")
    _commit(root, "second")
    git(folder, "clone", "-q", "--bare", str(root), "origin.git")
    _write(root, "changed")
    for name in HOOKS:
        for place in (folder / "hooks", folder / "template" / "hooks", root / ".git" / "hooks"):
            place.mkdir(parents=True, exist_ok=True)
            _copy(script(folder, f"hook {name}"), place)
    (folder / "included").write_text(f'[filter "included"]\n\tclean = {_quoted(script(folder, "include.path"))}\n')
    (folder / "included on a branch").write_text(
        f'[filter "branch"]\n\tclean = {_quoted(script(folder, "includeIf.onbranch"))}\n'
    )
    known = {"folder": folder, "origin": folder / "origin.git", "web": web}
    for key in ("remote.ext.url", "remote.helper.vcs", "url.insteadOf", "uploadpack.packObjectsHook"):
        script(folder, key)
    if worktrees:
        git(root, "config", "extensions.worktreeConfig", "true")
    for key, value in (STARTED | SWITCHES).items():
        words = ("config", *(["--worktree"] if worktrees else []), "--add")
        run = script(folder, key)
        git(root, *words, key.format(**known), value.format(run=run, **known))
    return Armed(root, folder)


def _write(root: Path, text: str) -> None:
    for name in FILES:
        (root / name).write_text(f"x = 1\n{text} = 2\n")


def _commit(root: Path, message: str) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", message)


def _quoted(place: Path) -> str:
    return f'"{place}"'


def _copy(place: Path, folder: Path) -> None:
    (folder / place.name.removeprefix("hook ")).write_bytes(place.read_bytes())
    (folder / place.name.removeprefix("hook ")).chmod(0o755)


class Refusing(BaseHTTPRequestHandler):
    """A server that asks everybody for a password."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="x"')
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
