"""The prompt registry: immutable versions of a step's slot, and a pointer to the one in use."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from elexirion_dagster.errors import InputError, StorageError
from elexirion_dagster.records import Json
from elexirion_dagster.store.home import Home, check_name, storage_error, write_atomically


@dataclass(frozen=True, slots=True)
class PromptVersion:
    """One version of a slot: the step's `system` text and its examples.

    `base_hash` is the slot hash of the YAML it was derived from, `parent` the version (None: the YAML itself).
    """

    hash: str
    pipeline: str
    step: str
    parent: str | None
    model: str | None
    system: str | None
    examples: tuple[Json, ...]
    scores: Mapping[str, Json]
    base_hash: str


@dataclass(frozen=True, slots=True)
class Stale:
    """The current version was derived from another text than the YAML has now: use the YAML, and say so."""

    version: PromptVersion
    base_hash: str


def slot_hash(system: str | None, examples: Sequence[Json]) -> str:
    """Identify what a slot says (16 hex digits)."""
    return _digest({"system": system, "examples": list(examples)})


def current(home: Home, pipeline: str, step: str, *, base_hash: str) -> PromptVersion | Stale | None:
    """Find the version in use; None: the YAML. StorageError if one of the files was edited by hand."""
    chosen = _pointer(_folder(home, pipeline, step))["hash"]
    if chosen is None:
        return None
    version = read(home, pipeline, step, chosen)
    return version if version.base_hash == base_hash else Stale(version, base_hash)


def read(home: Home, pipeline: str, step: str, version: str) -> PromptVersion:
    """Read one version. InputError if there is none of that hash."""
    path = _folder(home, pipeline, step) / f"{check_name(version)}.json"
    if not path.exists():
        message = f"{pipeline}/{step} has no prompt version {version!r}"
        raise InputError(message, mend="`elexirion prompts` lists the versions there are.")
    content = _load(path)
    if _digest(content) != version or content.keys() != _fields():
        message = f"{path} was changed after it was written; versions are immutable"
        raise StorageError(message, mend="Restore the file, or remove it and promote another version.")
    return PromptVersion(hash=version, **{**content, "examples": tuple(content["examples"])})


def save(
    home: Home,
    pipeline: str,
    step: str,
    *,
    base_hash: str,
    system: str | None,
    examples: Sequence[Json],
    parent: str | None,
    model: str | None,
    scores: Mapping[str, Json],
) -> PromptVersion:
    """Write a version; `promote` puts it to use. Saving the same content again changes nothing."""
    folder = _folder(home, pipeline, step)
    draft = PromptVersion("", pipeline, step, parent, model, system, tuple(examples), scores, base_hash)
    content = {name: value for name, value in asdict(draft).items() if name != "hash"}
    digest = _digest(content)
    _write(folder / f"{digest}.json", content)
    return read(home, pipeline, step, digest)


def promote(home: Home, pipeline: str, step: str, version: str | None) -> None:
    """Put a version to use, an earlier one to roll back, None for the YAML's own text."""
    if version is not None:
        read(home, pipeline, step, version)
    folder = _folder(home, pipeline, step)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(folder / "current.lock", mode=0o600):
            change = {"hash": version, "at": datetime.now(UTC).isoformat()}
            history = [*_pointer(folder)["history"], change]
            _write(folder / "current", {"hash": version, "history": history})
    except OSError as error:
        raise storage_error(error, folder) from error


def _folder(home: Home, pipeline: str, step: str) -> Path:
    return home.prompts / check_name(pipeline) / check_name(step)


def _fields() -> set[str]:
    return {name for name in PromptVersion.__slots__ if name != "hash"}


def _pointer(folder: Path) -> dict[str, Any]:
    path = folder / "current"
    if not path.exists():
        return {"hash": None, "history": []}
    pointer = _load(path)
    if not {"hash", "history"} <= pointer.keys():
        raise StorageError(
            f"{path} should hold `hash` and `history`", mend="Promote a version again after removing it."
        )
    return pointer


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise storage_error(error, path) from error
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise StorageError(f"{path} should hold a JSON object", mend="Restore the file, or remove it.")
    return content


def _write(path: Path, content: Mapping[str, Json]) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, json.dumps(content, indent=1).encode())
    except OSError as error:
        raise storage_error(error, path) from error


def _digest(content: Json) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
