"""Which repository a folder is, wherever it lies, and the name of one of its files among all partitions."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from elexirion_dagster.codebase.executables import find
from elexirion_dagster.codebase.git import ask, is_bare
from elexirion_dagster.errors import InputError

_SEPARATOR = "::"
_RESERVED = frozenset("%:,|[]\"'*\\")
"""Dagster's own signs in keys, ranges and selections of partitions, and ours."""
_SCP = re.compile(r"(?:[^@/:]+@)?(\[[^\]/]+\]|[^/:@]+):(?!//)(.*)", re.DOTALL)
_PORTS = {"https": 443, "http": 80, "git": 9418}


@dataclass(frozen=True, slots=True)
class Repository:
    """A folder of code.

    `identity` is its origin's URL as `host/path` (else its absolute path), with `//folder` where only a folder of the
    repository is meant. `git`: whether git knows it. `commit` is None before the first one, `branch` with a detached
    HEAD; `shallow` says that the history is cut off, `bare` that there is no working tree.
    """

    identity: str
    root: Path
    git: bool
    commit: str | None
    branch: str | None
    shallow: bool = False
    bare: bool = False


def repository(root: Path) -> Repository:
    """Look at a folder. Raises InputError where there is none."""
    if not root.is_dir():
        raise InputError(f"{root} is no folder", mend="Give the folder of the code to look at.")
    real, git = root.resolve(), find("git")
    if git is None:
        return Repository(str(real), real, git=False, commit=None, branch=None)

    def said(*words: str) -> str | None:
        done = ask(git, real, *words)
        return done.stdout.removesuffix("\n") if done.exit_code == 0 else None

    if said("rev-parse", "--git-dir") is None:
        return Repository(str(real), real, git=False, commit=None, branch=None)
    url = said("config", "--get", "remote.origin.url")
    top = said("rev-parse", "--show-toplevel")
    place = Path(top).resolve() if top else real
    inside = real.relative_to(place).as_posix() if real.is_relative_to(place) else "."
    bare = is_bare(real) and said("rev-parse", "--is-bare-repository") == "true"
    identity = normal_url(url or str(place), place) if url or bare else str(place)
    return Repository(
        identity if inside == "." else f"{identity}//{inside}",
        real,
        git=True,
        commit=said("rev-parse", "--verify", "--quiet", "HEAD^{commit}"),
        branch=said("symbolic-ref", "--quiet", "--short", "HEAD"),
        shallow=said("rev-parse", "--is-shallow-repository") == "true",
        bare=bare,
    )


def normal_url(url: str, root: Path) -> str:
    """The same text for every form of one remote: no scheme, no credentials, no `.git`, no trailing slash.

    A remote on this machine is its absolute path; a relative one starts at `root`.
    """
    parts = urlsplit(url) if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", url) else None
    if parts is not None and parts.scheme != "file":
        return _host_and_path(_host(parts.netloc, parts.scheme), parts.path)
    if parts is None and (match := _SCP.fullmatch(url)):
        return _host_and_path(match[1].strip("[]").lower(), match[2])
    path = (root / (parts.path if parts else url)).resolve()
    return str(path).removesuffix("/").removesuffix(".git").rstrip("/")


def _host(netloc: str, scheme: str) -> str:
    """The host; with its port where that is neither the scheme's own nor one of ssh, which https cannot share."""
    host = netloc.rpartition("@")[2].lower()
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdigit():
        return host.strip("[]")
    return name.strip("[]") if scheme in ("ssh", "git+ssh") or int(port) == _PORTS.get(scheme) else host


def _host_and_path(host: str, path: str) -> str:
    return f"{host}/{path.strip('/').removesuffix('.git').rstrip('/')}"


def partition_key(repo: str, path: str) -> str:
    """The partition of a file: `repo::path`, with what Dagster keeps for itself escaped as in URLs.

    Raises InputError for a name that is not UTF-8.
    """
    return f"{_escaped(repo)}{_SEPARATOR}{_escaped(path)}"


def parse_key(key: str) -> tuple[str, str]:
    """Repository and path of a partition that `partition_key` named. Raises InputError."""
    repo, separator, path = key.partition(_SEPARATOR)
    found = unquote(repo, errors="surrogateescape"), unquote(path, errors="surrogateescape")
    if not separator or not path or partition_key(*found) != key:
        raise InputError(f"{key!r} names no file of a repository", mend="Such keys read `host/project::src/file.py`.")
    return found


def _escaped(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"the name {text!r} is not UTF-8, and no partition can have it", mend="Rename it.") from error
    plain = "".join(sign if sign.isprintable() and sign not in _RESERVED else quote(sign, safe="") for sign in text)
    dotted = re.sub(r"\.{3,}", lambda dots: "%2E" * len(dots[0]), plain)
    outside = len(dotted) - len(dotted.lstrip(" ")), len(dotted) - len(dotted.rstrip(" "))
    inner = dotted[outside[0] : len(dotted) - outside[1]] if dotted.strip(" ") else ""
    return "%20" * outside[0] + inner + ("%20" * outside[1] if inner else "")
