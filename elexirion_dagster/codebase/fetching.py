"""Asking a repository's remote for news, without the repository's own configuration.

Git fetches from a git folder made for the occasion, which has the repository's objects and refs and a configuration of
ours. Of the repository's configuration only the URL of its remote is used, and whether it is a partial clone. The
user's own configuration is used as it is: the keys and helpers in it belong to the user.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from elexirion_dagster.codebase.executables import find
from elexirion_dagster.codebase.git import ask
from elexirion_dagster.codebase.git_config import writing_environment
from elexirion_dagster.codebase.history import REMOTE, current_branch, head
from elexirion_dagster.errors import ElexirionError, InputError, PolicyError
from elexirion_dagster.shell import Completed, Limits, run

_FETCH_S = 600.0
_LIMITS = Limits(memory_mb=16_384, file_mb=64 * 1024, output_bytes=512 * 1024 * 1024)
_CREDENTIALS = re.compile(r"//[^/@\s]+@")
_SCHEMES = frozenset({"https", "http", "ssh", "git", "file", "git+ssh", "ssh+git"})
_URL = re.compile(r"([A-Za-z0-9][A-Za-z0-9+.-]*)://", re.ASCII)
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9+.-]*::", re.ASCII)
_SSH_PLACE = re.compile(r"[^/:]+:")
_FILTER = re.compile(r"blob:none|blob:limit=\d{1,12}[kmg]?|tree:\d{1,9}")
_OURS = (
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "gc.auto=0"),
    *("-c", "maintenance.auto=false"),
    *("-c", "fetch.writeCommitGraph=false"),
    *("-c", "fetch.recurseSubmodules=false"),
)
_WORDS = ("--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--no-prune")
_USERS = (
    *("HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "GNUPGHOME", "KRB5CCNAME"),
    *("SSH_AUTH_SOCK", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_SSL_CAINFO"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
)
"""Where git finds the user's settings, keys and the way out; nothing else of the environment goes along."""


def fetch(root: Path, branch: str | None) -> None:
    """Bring the remote branch up to date; nothing in the working tree changes. Raises ElexirionError (connection).

    The user's own git settings and keys are used, the repository's are not; nobody is asked for a password.
    """
    git = _program()
    url = _text(ask(git, root, "config", "--get", "remote.origin.url"))
    if not url:
        raise InputError(f"{root} has no remote called origin to fetch from", mend="Add one, or leave fetch out.")
    wanted = branch or current_branch(root)
    if wanted is None:
        head(root, None, fetched=True)
    if ask(git, root, "check-ref-format", f"refs/heads/{wanted}").exit_code != 0:
        raise InputError(
            f"{wanted!r} cannot be the name of a branch", mend="Name a branch: partitions: {branch: main}."
        )
    source = _source(root, url)
    with tempfile.TemporaryDirectory(prefix="elexirion-fetch-") as folder:
        place = Path(folder)
        _make(place, root, source)
        done = _fetched(git, place, root, f"+refs/heads/{wanted}:refs/fetched")
        if done.exit_code != 0:
            why = _CREDENTIALS.sub("//", _said(done))
            raise ElexirionError(
                f"git fetch of {wanted} in {root} failed: {why}",
                cause="connection",
                mend="Try it by hand there; if it cannot work without a question, set up a key in your own git "
                "configuration (the repository's is not used), or leave fetch out.",
            )
        commit = (place / "refs" / "fetched").read_text(encoding="ascii").strip()
    words = ("update-ref", "--no-deref", "-m", "fetch", f"{REMOTE}{wanted}", commit)
    put = ask(git, root, *words, env=writing_environment(root))
    if put.exit_code != 0:
        message = f"git cannot note what was fetched in {root}: {_said(put)}"
        raise ElexirionError(message, cause="command_failed", mend="Look at the repository: may it be written?")


def _source(root: Path, url: str) -> str:
    """The URL as git is given it: a path on this machine is made absolute. Raises PolicyError."""
    scheme = _URL.match(url)
    if _HELPER.match(url) or url.startswith("-") or (scheme is not None and scheme[1] not in _SCHEMES):
        raise PolicyError(
            f"the remote of {root} is {_CREDENTIALS.sub('//', url)[:200]!r}, which is not fetched from",
            cause="tool_denied",
            mend=f"Give it a URL of one of these kinds: {', '.join(sorted(_SCHEMES))}; or leave fetch out.",
        )
    if scheme is not None or _SSH_PLACE.match(url):
        return url
    top = _text(ask(_program(), root, "rev-parse", "--show-toplevel"))
    return str(Path(top or root).resolve() / url)


def _make(place: Path, root: Path, source: str) -> None:
    """Make a git folder that has the repository's refs, and the user's configuration beside it."""
    git = _program()
    (place / "refs").mkdir()
    (place / "objects").mkdir()
    (place / "HEAD").write_text("ref: refs/heads/none\n", encoding="ascii")
    refs = ask(git, root, "for-each-ref", "--format=%(objectname) %(refname)", raw=True, limits=_LIMITS)
    (place / "packed-refs").write_bytes(refs.stdout_bytes)
    shallow = _inside(root, "shallow")
    if shallow.is_file():
        shutil.copyfile(shallow, place / "shallow")
    (place / "config").write_bytes(_config(_settings(root, source)))
    (place / "user").write_bytes(_config(_users_settings(root)))


def _settings(root: Path, source: str) -> Iterable[tuple[str, str | None]]:
    """The configuration of the git folder: the remote, the kind of hash, and what a partial clone leaves out."""
    git = _program()
    yield from (("core.repositoryformatversion", "1"), ("core.bare", "true"), ("remote.source.url", source))
    yield "extensions.objectformat", _text(ask(git, root, "rev-parse", "--show-object-format")) or "sha1"
    if _text(ask(git, root, "config", "--type=bool", "--get", "remote.origin.promisor")) == "true":
        yield from (("extensions.partialclone", "source"), ("remote.source.promisor", "true"))
        left_out = _text(ask(git, root, "config", "--get", "remote.origin.partialclonefilter"))
        if _FILTER.fullmatch(left_out):
            yield "remote.source.partialclonefilter", left_out


def _users_settings(root: Path) -> Iterable[tuple[str, str | None]]:
    """The configuration of the user and of the machine as it holds in this repository, their includes resolved."""
    if "GIT_SSH" not in os.environ:
        yield "core.sshcommand", "ssh -oBatchMode=yes"
    words = ("config", "--null", "--list", "--includes", "--show-scope")
    done = run([_program(), *words], cwd=root, timeout_s=_FETCH_S, env=_users_environment(), raw=True)
    if done.exit_code != 0:
        message = f"git cannot read its configuration in {root}: {_said(done)}"
        raise ElexirionError(message, cause="connection", mend="Correct it, or leave fetch out.")
    parts = os.fsdecode(done.stdout_bytes).split("\0")
    for scope, entry in zip(parts[::2], parts[1::2], strict=False):
        name, given, value = entry.partition("\n")
        if scope in ("system", "global") and name.partition(".")[0] not in ("include", "includeif"):
            yield name, value if given else None


def _config(settings: Iterable[tuple[str, str | None]]) -> bytes:
    """Settings as git's configuration files have them."""
    lines = []
    for name, value in settings:
        section, _, rest = name.partition(".")
        inner, dot, key = rest.rpartition(".")
        lines.append(f"[{section}{f' {_quoted(inner)}' if dot else ''}]\n\t{key}")
        lines[-1] += "" if value is None else f" = {_quoted(value)}"
    return os.fsencode("\n".join([*lines, ""]))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def _fetched(git: str, place: Path, root: Path, refspec: str) -> Completed:
    variables = {
        "GIT_DIR": str(place),
        "GIT_OBJECT_DIRECTORY": str(_inside(root, "objects")),
        "GIT_CONFIG_GLOBAL": str(place / "user"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS": "",
    }
    words = (*_OURS, "fetch", *_WORDS, "--upload-pack=git-upload-pack", "--end-of-options", "source", refspec)
    return run([git, *words], cwd=place, timeout_s=_FETCH_S, env={**_users_environment(), **variables}, limits=_LIMITS)


def _users_environment() -> Mapping[str, str]:
    return {name: os.environ[name] for name in _USERS if name in os.environ}


def _inside(root: Path, name: str) -> Path:
    """The place of a file of the git folder."""
    words = ("rev-parse", "--path-format=absolute", "--git-path", name)
    return Path(os.fsdecode(ask(_program(), root, *words, raw=True).stdout_bytes.removesuffix(b"\n")))


def _program() -> str:
    git = find("git")
    if git is None:
        raise ElexirionError("git is not installed", cause="command_failed", mend="Install git.")
    return git


def _text(done: Completed) -> str:
    return done.stdout.removesuffix("\n") if done.exit_code == 0 else ""


def _said(done: Completed) -> str:
    lines = done.stderr.strip().splitlines()
    return lines[-1][:300] if lines else f"exit code {done.exit_code}"
