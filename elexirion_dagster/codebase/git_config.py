"""The environment in which git starts nothing that the configuration of a repository names.

The configuration of a repository that somebody else made cannot be trusted, and git cannot be told to leave it out. So
every key that it sets is set once more through GIT_CONFIG_COUNT, except those that `git_keys` knows as harmless.
"""

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from elexirion_dagster.codebase.executables import find
from elexirion_dagster.codebase.git import ask
from elexirion_dagster.codebase.git_keys import FIXED, VARIABLES, override
from elexirion_dagster.errors import PolicyError

_MOST_FILES, _MOST_BYTES, _TIMEOUT_S = 50, 100_000, 30.0


def steps_environment(
    places: Iterable[Path], *, workspace: Path, cancelled: threading.Event | None = None
) -> dict[str, str]:
    """The environment of a program that may be git, or start it, in one of these places.

    `workspace` is its home. Raises PolicyError for configuration that no environment makes harmless.
    """
    absolute = [folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if Path(folder).is_absolute()]
    variables = {"PATH": os.pathsep.join(absolute), "HOME": str(workspace), **VARIABLES}
    return variables | _as_variables(_overrides(places, workspace, cancelled))


def writing_environment(repository: Path, *, cancelled: threading.Event | None = None) -> dict[str, str]:
    """The environment of our own git commands that write in a repository. Raises PolicyError as above."""
    return _as_variables(_overrides([repository], Path(os.devnull), cancelled))


def named_folders(arguments: Iterable[str], cwd: Path) -> Iterator[Path]:
    """The folders that the arguments of a program name, as `git -C folder` and `git --git-dir=folder` do."""
    for argument in arguments:
        for word in (argument, argument.partition("=")[2]):
            with contextlib.suppress(OSError, ValueError):  # too long for a path, or with a NUL
                if word and (cwd / word).is_dir():
                    yield cwd / word


def _as_variables(pairs: Mapping[str, str]) -> dict[str, str]:
    variables = {"GIT_CONFIG_COUNT": str(len(pairs))}
    for index, (key, value) in enumerate(pairs.items()):
        variables |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
    return variables


def _overrides(places: Iterable[Path], home: Path, cancelled: threading.Event | None) -> dict[str, str]:
    pairs, home = dict(FIXED), home.resolve()
    for git_folder in dict.fromkeys(found for place in places for found in _git_folders(place.resolve(), cancelled)):
        for name, value in _settings(git_folder, home, cancelled):
            pairs |= override(name, value)
    if sum(len(key) for key in pairs) > _MOST_BYTES:
        raise PolicyError("the git configuration of the repository sets too much", cause="tool_denied")
    return pairs


def _git_folders(place: Path, cancelled: threading.Event | None) -> Iterator[Path]:
    """The git folder that git finds from a place, and the place itself where somebody may name it as one."""
    git = find("git")
    top = next((one for one in (place, *place.parents) if os.path.lexists(one / ".git")), None)
    if git is not None and top is not None:
        found = ask(git, top, "rev-parse", "--absolute-git-dir", raw=True, cancelled=cancelled)
        if found.exit_code == 0:
            yield Path(os.fsdecode(found.stdout_bytes.removesuffix(b"\n")))
    if (place / "HEAD").is_file() and (place / "objects").is_dir():
        yield place


def _settings(git_folder: Path, home: Path, cancelled: threading.Event | None) -> Iterator[tuple[str, str]]:
    """Every key and value of a repository's configuration files, of those too that they include on a condition."""
    files, seen = [_common(git_folder) / "config", git_folder / "config.worktree"], set[Path]()
    while files:
        file = files.pop()
        if file in seen:
            continue
        seen.add(file)
        for name, value in _listed(file, cancelled):
            yield name, value
            if name.partition(".")[0] in ("include", "includeif") and name.endswith(".path"):
                files.append(_included(value, file, home))
        why = f"includes more than {_MOST_FILES} files" if len(seen) > _MOST_FILES else ""
        if any(home in one.resolve().parents for one in files) and home not in git_folder.resolve().parents:
            why = "includes a file that lies in the workspace, where programs may change it"
        if why:
            message = f"the git configuration in {git_folder} {why}"
            raise PolicyError(message, cause="tool_denied", mend="Remove the include from it.")


def _listed(file: Path, cancelled: threading.Event | None) -> Iterator[tuple[str, str]]:
    """The keys and values of one file. One that git cannot read here ends every git command that comes to it."""
    git = find("git")
    if git is None or not file.is_file():
        return
    words = ("config", f"--file={file}", "--no-includes", "--null", "--list")
    done = ask(git, file.parent, *words, raw=True, timeout_s=_TIMEOUT_S, cancelled=cancelled)
    for entry in filter(None, os.fsdecode(done.stdout_bytes).split("\0")):
        name, _, value = entry.partition("\n")
        yield name, value


def _common(own: Path) -> Path:
    """The folder that a worktree's git folder shares with the main one."""
    note = own / "commondir"
    return own / os.fsdecode(note.read_bytes().strip()) if note.is_file() else own


def _included(value: str, file: Path, home: Path) -> Path:
    if value.startswith("~/"):
        return home / value[2:]
    return file.parent / os.path.expanduser(value)  # noqa: PTH111  ~user, as git reads it
