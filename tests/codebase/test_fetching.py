"""`fetch: true` brings a remote's branch up to date with the user's git settings and without the repository's."""

import base64
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from elexirion_dagster.codebase.fetching import fetch
from elexirion_dagster.codebase.history import contents, entries, head
from elexirion_dagster.errors import ElexirionError, InputError, PolicyError

LOGIN = base64.b64encode(b"user:right").decode()


def git(folder, *words):
    who = ("-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")
    return subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder, text):
    (folder / "a.py").write_text(text)
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", text)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """The user's home; `.gitconfig` in it is the user's own."""
    made = tmp_path / "user"
    made.mkdir()
    monkeypatch.setenv("HOME", str(made))
    return made


@pytest.fixture
def origin(tmp_path):
    made = tmp_path / "origin"
    made.mkdir()
    git(made, "init", "-q")
    for number in range(3):
        commit(made, str(number))
    return made


@pytest.fixture
def clone(origin, tmp_path):
    def make(*words, of=None):
        place = tmp_path / "clone"
        git(tmp_path, "clone", "-q", *words, of or str(origin), str(place))
        return place

    return make


class Private(SimpleHTTPRequestHandler):
    """A static server that asks for a password."""

    def do_GET(self):
        if self.headers.get("Authorization") == f"Basic {LOGIN}":
            super().do_GET()
            return
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="x"')
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path, origin):
    """The URL of a private repository, and what brings it up to date."""
    git(tmp_path, "clone", "-q", "--bare", str(origin), "served.git")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Private, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def push():
        git(tmp_path / "served.git", "fetch", "-q", str(origin), "+main:main")
        git(tmp_path / "served.git", "update-server-info")

    yield f"http://127.0.0.1:{server.server_port}/served.git", push
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("words", [(), ("--depth=1",), ("--filter=blob:none",), ("--mirror",), ("--bare",)], ids=str)
def test_any_kind_of_clone_gets_the_commit(origin, clone, words):
    git(origin, "config", "uploadpack.allowFilter", "true")
    place = clone(*words, of=origin.as_uri())
    for _ in range(2):
        new = commit(origin, "new")
        fetch(place, "main")
        assert head(place, "main", fetched=True) == (new, "main")
        (entry,) = entries(place, new) if "--filter=blob:none" not in words else [None]
        if entry is not None:
            assert dict(contents(place, {entry.blob: entry.size})) == {entry.blob: b"new"}
        assert git(place, "fsck", "--connectivity-only", "--no-dangling") == ""
        commit(origin, "further")


def test_a_partial_clone_stays_partial(origin, clone):
    git(origin, "config", "uploadpack.allowFilter", "true")
    place = clone("--filter=blob:none", of=origin.as_uri())
    new = commit(origin, "left out")
    fetch(place, None)
    assert f"?{git(origin, 'rev-parse', f'{new}:a.py')}" in git(place, "rev-list", "--objects", "--missing=print", new)


def test_a_repository_of_sha256_is_fetched(tmp_path):
    origin = tmp_path / "origin"
    git(tmp_path, "init", "-q", "--object-format=sha256", str(origin))
    commit(origin, "first")
    git(tmp_path, "clone", "-q", str(origin), "clone")
    new = commit(origin, "second")
    fetch(tmp_path / "clone", None)
    assert head(tmp_path / "clone", "main", fetched=True)[0] == new


def test_a_relative_remote_is_read_from_the_top_folder(origin, clone):
    place = clone()
    git(place, "remote", "set-url", "origin", "../origin")
    (place / "sub").mkdir()
    new = commit(origin, "new")
    fetch(place / "sub", None)
    assert head(place, "main", fetched=True)[0] == new


def test_only_what_is_new_is_sent_and_no_branch_of_the_user_moves(origin, clone, home, tmp_path):
    place = clone()
    git(place, "symbolic-ref", "refs/remotes/origin/main", "refs/heads/main")  # whoever follows it moves the branch
    was = git(place, "rev-parse", "refs/heads/main")
    new = commit(origin, "new")
    (home / ".gitconfig").write_text(f"[trace2]\n\teventTarget = {tmp_path / 'trace'}\n")
    before = {path for path in (place / ".git" / "objects").rglob("*") if path.is_file()}
    fetch(place, None)
    assert git(place, "rev-parse", "refs/heads/main") == was
    assert git(place, "rev-parse", "refs/remotes/origin/main") == new
    assert len({path for path in (place / ".git" / "objects").rglob("*") if path.is_file()} - before) == 3
    assert not (place / ".git" / "FETCH_HEAD").exists()


def test_a_private_repository_is_fetched_with_the_users_helper_and_not_with_its_own(
    served, origin, clone, home, tmp_path
):
    url, push = served
    place = clone()
    git(place, "remote", "set-url", "origin", url)
    git(place, "config", "credential.helper", f"!touch {tmp_path / 'ran'}; echo username=user; echo password=right; :")
    new = commit(origin, "new")
    push()
    with pytest.raises(ElexirionError, match="git fetch of main") as failed:
        fetch(place, None)
    assert failed.value.cause == "connection"
    assert "your own git configuration" in failed.value.mend
    (home / ".gitconfig").write_text('[credential]\n\thelper = "!echo username=user; echo \\"password=right\\"; :"\n')
    fetch(place, None)
    assert head(place, None, fetched=True) == (new, "main")
    assert not (tmp_path / "ran").exists()


def test_the_users_includes_and_rewritten_urls_hold_and_the_repositorys_do_not(origin, clone, home, tmp_path):
    place = clone()
    git(place, "remote", "set-url", "origin", "work:app")
    other = tmp_path / "other"
    git(tmp_path, "clone", "-q", str(origin), str(other))
    wrong = commit(other, "wrong")
    git(place, "config", f"url.{other}.insteadOf", "work:app")
    (home / ".gitconfig").write_text(f'[includeIf "gitdir:{tmp_path}/clone/"]\n\tpath = work\n')
    (home / "work").write_text(f'[url "{origin}"]\n\tinsteadOf = work:app\n')
    new = commit(origin, "new")
    fetch(place, None)
    assert head(place, None, fetched=True)[0] == new != wrong


def test_the_users_ssh_command_is_used_and_the_repositorys_is_not(clone, home, tmp_path):
    place = clone()
    git(place, "remote", "set-url", "origin", "ssh://git@127.0.0.1:9/x.git")
    git(place, "config", "core.sshCommand", f"touch {tmp_path / 'theirs'};:")
    (home / ".gitconfig").write_text(f'[core]\n\tsshCommand = "touch {tmp_path / "mine"};:"\n')
    with pytest.raises(ElexirionError, match="git fetch of main"):
        fetch(place, None)
    assert [(tmp_path / name).exists() for name in ("mine", "theirs")] == [True, False]


@pytest.mark.parametrize(
    "url", ["ext::sh -c 'touch {ran}'", "fd::17", "ext://x", "hg::http://x", "-oProxyCommand=touch {ran}:x", "svn://x"]
)
def test_a_url_that_starts_a_program_is_refused(clone, tmp_path, url):
    place = clone()
    git(place, "config", "remote.origin.url", url.format(ran=tmp_path / "ran"))
    git(place, "config", "protocol.ext.allow", "always")
    with pytest.raises(PolicyError, match="is not fetched from"):
        fetch(place, None)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["a:b", "a..b", "*", "a b"])
def test_what_is_no_name_of_a_branch_is_refused(clone, name):
    place = clone()
    with pytest.raises(InputError, match="cannot be the name of a branch"):
        fetch(place, name)


def test_our_own_variables_of_git_lead_nowhere_else(origin, clone, tmp_path, monkeypatch):
    place = clone()
    git(tmp_path, "init", "-q", "elsewhere")
    new = commit(origin, "new")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere" / ".git"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.sshCommand")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "false")
    fetch(place, None)
    monkeypatch.undo()
    assert git(place, "rev-parse", "refs/remotes/origin/main") == new
