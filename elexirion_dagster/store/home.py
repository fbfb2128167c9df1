"""The home folder: where everything lies, who may read it, which format it has, what may be pruned."""

import errno
import json
import os
import re
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from elexirion_dagster.errors import InputError, StorageError
from elexirion_dagster.store.first_use import first_use
from elexirion_dagster.store.host import Host, is_local, this_host

FORMAT = 1
"""Format of the home as a whole; a program refuses a home with a higher one."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_NO_SPACE = "Free some disk space, for instance with `elexirion prune`, and try again."
_NO_ACCESS = "Make it writable for you, or set ELEXIRION_HOME to a folder of your own."
_IN_THE_WAY = "Set ELEXIRION_HOME to a folder, or move the file that is in the way."
_MENDS = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EFBIG: _NO_SPACE,
    errno.EROFS: _NO_ACCESS,
    errno.EACCES: _NO_ACCESS,
    errno.EPERM: _NO_ACCESS,
    errno.EEXIST: _IN_THE_WAY,
    errno.ENOTDIR: _IN_THE_WAY,
}


@dataclass(frozen=True, slots=True)
class Home:
    """`$ELEXIRION_HOME` and the places in it."""

    path: Path

    @property
    def journal(self) -> Path:
        """Folder of `<root_run>/<run>.<pid>.jsonl` and `<run>.<status>.jsonl`, the truth."""
        return self.path / "journal"

    @property
    def dagster(self) -> Path:
        """The Dagster instance that CLI runs and the UI share."""
        return self.path / "dagster"

    @property
    def outcomes_db(self) -> Path:
        """The DuckDB file, a projection of the journal."""
        return self.path / "outcomes.duckdb"

    @property
    def outcomes_lock(self) -> Path:
        """The side lock that everyone takes who opens the DuckDB file."""
        return self.path / "outcomes.lock"

    @property
    def ledger_db(self) -> Path:
        """The SQLite file of budgets."""
        return self.path / "ledger.sqlite"

    @property
    def prompts(self) -> Path:
        """The prompt registry."""
        return self.path / "prompts"

    @property
    def sessions(self) -> Path:
        """Folder of `<pipeline>/<session>.jsonl`, the conversations that outlive a run."""
        return self.path / "sessions"

    @property
    def runs(self) -> Path:
        """Folder of the runs' workspaces."""
        return self.path / "runs"

    @property
    def reports(self) -> Path:
        """Folder of the runs' reports."""
        return self.path / "reports"

    @property
    def recoveries(self) -> Path:
        """Folder of `<failed run>.yaml`, the documents that recoveries were derived as."""
        return self.path / "recoveries"

    @property
    def cache(self) -> Path:
        """What may be deleted at any time."""
        return self.path / "cache"

    @property
    def version_file(self) -> Path:
        """`{"format": 1}`."""
        return self.path / "version.json"

    @property
    def host_file(self) -> Path:
        """Which machine uses the home; homes of 0.1 have no such file until they are opened again."""
        return self.path / "host.json"

    def workspace(self, run: str) -> Path:
        """Name the folder a run works in; the run creates it."""
        return self.runs / check_name(run)

    def report(self, run: str) -> Path:
        """Name the folder of a run's reports; whoever writes one creates it."""
        return self.reports / check_name(run)


def check_name(name: str) -> str:
    """Return the name if it can safely be one part of a path, else InputError."""
    if _NAME.fullmatch(name) and name.strip("."):
        return name
    message = f"a name made of letters, digits, `_`, `.` and `-` (at most 200) was expected, {name!r} came"
    raise InputError(message, mend="Choose another name.")


def storage_error(error: OSError, path: Path) -> StorageError:
    """Put in words what the system said about `path`, with the mend that fits."""
    mend = _MENDS.get(error.errno or 0, "Look at the state of that disk and at the system log, then try again.")
    return StorageError(f"{path} cannot be used: {error.strerror or error}", mend=mend)


def open_home(path: Path) -> Home:
    """Create what is missing (folders 0700, files 0600) and check that it can be written and is of our format.

    StorageError where another machine uses the home, or may use it: see `_check_host`.
    """
    home = Home(path.absolute())
    try:
        home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if home.version_file.exists():
            _check_format(home)
        with tempfile.TemporaryFile(dir=home.path):
            pass
        if not all(place.exists() for place in (home.version_file, home.host_file, *_folders(home))):
            with first_use(home.path):
                _make(home)
        _check_host(home)
    except OSError as error:
        raise storage_error(error, home.path) from error
    return home


def _folders(home: Home) -> tuple[Path, ...]:
    return (home.journal, home.dagster, home.prompts, home.runs, home.reports, home.cache)


def _make(home: Home) -> None:
    for folder in _folders(home):
        folder.mkdir(mode=0o700, exist_ok=True)
    if not home.host_file.exists():
        _note_host(home)
    if not home.version_file.exists():
        write_atomically(home.version_file, json.dumps({"format": FORMAT}).encode())


def _note_host(home: Home) -> None:
    """A full disk does not keep a home from being opened, as `elexirion prune` frees it."""
    with suppress(OSError):
        write_atomically(home.host_file, json.dumps(this_host().to_json()).encode())


def _host_of(home: Home) -> Host | None:
    try:
        return Host.from_json(json.loads(home.host_file.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        message = f"{home.host_file} does not name a machine"
        raise StorageError(message, mend="Remove that file: it is written again by the next command.") from error


def _check_host(home: Home) -> None:
    """Refuse to use a home together with another machine: neither locks nor process ids reach that far.

    A home on a disk of this machine was moved or copied here, as no other machine can use it there: it is taken over.
    """
    known, here = _host_of(home), this_host()
    if known is None or known == here or known.boot == here.boot is not None:
        return
    if known.is_same(here) or is_local(home.path):
        _note_host(home)
        return
    message = f"{home.path} is used by the machine {known.name!r}, this is {here.name!r}: a home serves one machine"
    mend = (
        f"Run it on {known.name!r}, or set ELEXIRION_HOME to a folder of this machine. If the home was moved here, "
        f"remove {home.host_file}."
    )
    raise StorageError(message, mend=mend)


def _check_format(home: Home) -> None:
    try:
        found = json.loads(home.version_file.read_bytes())["format"]
    except (ValueError, KeyError, TypeError) as error:
        message = f'{home.version_file} should read {{"format": {FORMAT}}} and does not'
        raise StorageError(message, mend="Put that text back, or set ELEXIRION_HOME to another folder.") from error
    if not isinstance(found, int) or found > FORMAT:
        message = f"{home.path} has format {found}; this program knows formats up to {FORMAT}"
        raise StorageError(message, mend="Upgrade elexirion, or set ELEXIRION_HOME to another folder.")


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by a file (0600) with this content: readers see the old or the new one, also after a crash."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
