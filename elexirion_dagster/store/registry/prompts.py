"""The prompt registry: immutable versions of a step's slot, and the pointer that says which are in use.

What moves the pointer is in `promotions`, what the gate decided about a slot in `attempts`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

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


POINTER = "current"
By = Literal["person", "optimizer", "watch"]
"""Who moved a pointer: somebody, the gate of an optimisation, or the sensor that watches versions at work."""
What = Literal["promote", "rollback", "canary", "pin", "unpin", "stop"]
"""`stop` ends a canary; the version in use stays."""


@dataclass(frozen=True, slots=True)
class Canary:
    """A version on trial: `share` (0..1) of the items use it, beginning at `since` (ISO time)."""

    hash: str
    share: float
    since: str

    def takes(self, key: str) -> bool:
        """Whether what is known by this key is among its share: always the same answer for the same canary."""
        number = int.from_bytes(hashlib.sha256(f"{self.hash} {key}".encode()).digest()[:8])
        return number < self.share * 2**64


@dataclass(frozen=True, slots=True)
class Change:
    """One move of a pointer: when (ISO time), by whom, why, to which version (None: the YAML's own text)."""

    at: str
    by: By
    why: str
    hash: str | None
    what: What


@dataclass(frozen=True, slots=True)
class Pointer:
    """Which version is in use (None: the YAML's own text), which is on trial, and how it came to that.

    A pinned slot is changed by nobody but people. `before` are the versions that rollbacks come back to, newest last.
    """

    hash: str | None = None
    canary: Canary | None = None
    pinned: bool = False
    history: tuple[Change, ...] = field(default=())

    @property
    def before(self) -> tuple[str | None, ...]:
        """The versions that were in use before this one and not rolled back, oldest first."""
        used: list[str | None] = [None]
        for change in self.history:
            if change.what == "promote":
                used.append(change.hash)
            elif change.what == "rollback" and len(used) > 1:
                used.pop()
        return tuple(used[:-1])

    @property
    def since(self) -> str | None:
        """When the version in use was put to use (ISO time); None where nothing ever was."""
        moves = [change.at for change in self.history if change.what in ("promote", "rollback")]
        return moves[-1] if moves else None


def slot_hash(system: str | None, examples: Sequence[Json]) -> str:
    """Identify what a slot says (16 hex digits)."""
    return _digest({"system": system, "examples": list(examples)})


def pointer(home: Home, pipeline: str, step: str) -> Pointer:
    """Which version of a slot is in use, and how it came to that. StorageError if the file is damaged."""
    path = slot_folder(home, pipeline, step) / POINTER
    if not path.exists():
        return Pointer()
    content = load(path)
    try:
        chosen, trial = content["hash"], content.get("canary")
        if chosen is not None:
            check_name(chosen)
        canary = None if trial is None else Canary(check_name(trial["hash"]), float(trial["share"]), trial["since"])
        return Pointer(chosen, canary, content.get("pinned", False), tuple(map(_change, content["history"])))
    except (KeyError, TypeError, ValueError, InputError) as error:
        message = f"{path} should hold `hash` and `history`, and does not as it should"
        raise StorageError(message, mend="Promote a version again after removing it.") from error


def _change(entry: Mapping[str, Json]) -> Change:
    """An entry of a history; of those that had no more than time and version, people made all."""
    return Change(**{"by": "person", "why": "", "what": "promote", **entry})


def current(home: Home, pipeline: str, step: str, *, base_hash: str) -> PromptVersion | Stale | None:
    """Find the version in use; None: the YAML. StorageError if one of the files was edited by hand."""
    return usable(home, pipeline, step, pointer(home, pipeline, step).hash, base_hash=base_hash)


def usable(
    home: Home, pipeline: str, step: str, version: str | None, *, base_hash: str
) -> PromptVersion | Stale | None:
    """A version as far as it is for this YAML text; None for the YAML's own."""
    if version is None:
        return None
    found = read(home, pipeline, step, version)
    return found if found.base_hash == base_hash else Stale(found, base_hash)


def slots(home: Home) -> tuple[tuple[str, str], ...]:
    """Pipeline and step of every slot that has a version or ever had one in use."""
    folders = (folder for folder in home.prompts.glob("*/*") if folder.is_dir())
    return tuple(sorted((folder.parent.name, folder.name) for folder in folders))


def hashes(home: Home, pipeline: str, step: str) -> tuple[str, ...]:
    """The versions of a slot by name, in the order in which they were saved; damaged files too."""
    files = slot_folder(home, pipeline, step).glob("*.json")
    return tuple(file.stem for file in sorted(files, key=lambda file: (file.stat().st_mtime_ns, file.name)))


def versions(home: Home, pipeline: str, step: str) -> tuple[PromptVersion, ...]:
    """The versions of a slot in the order in which they were saved. StorageError if one was edited by hand."""
    return tuple(read(home, pipeline, step, each) for each in hashes(home, pipeline, step))


def read(home: Home, pipeline: str, step: str, version: str) -> PromptVersion:
    """Read one version. InputError if there is none of that hash."""
    path = slot_folder(home, pipeline, step) / f"{check_name(version)}.json"
    if not path.exists():
        message = f"{pipeline}/{step} has no prompt version {version!r}"
        raise InputError(message, mend="`elexirion prompts show PIPELINE/STEP` lists the versions there are.")
    content = load(path)
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
    """Write a version; `promotions.promote` puts it to use. Saving the same content again changes nothing."""
    folder = slot_folder(home, pipeline, step)
    draft = PromptVersion("", pipeline, step, parent, model, system, tuple(examples), scores, base_hash)
    content = {name: value for name, value in asdict(draft).items() if name != "hash"}
    digest = _digest(content)
    if not (folder / f"{digest}.json").exists():
        write(folder / f"{digest}.json", content)
    return read(home, pipeline, step, digest)


def slot_folder(home: Home, pipeline: str, step: str) -> Path:
    """Where all about a slot lies."""
    return home.prompts / check_name(pipeline) / check_name(step)


def _fields() -> set[str]:
    return {name for name in PromptVersion.__slots__ if name != "hash"}


def load(path: Path) -> dict[str, Any]:
    """A JSON object from a file of the registry. Raises StorageError."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise storage_error(error, path) from error
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise StorageError(f"{path} should hold a JSON object", mend="Restore the file, or remove it.")
    return content


def write(path: Path, content: Mapping[str, Json]) -> None:
    """Put a JSON object into a file of the registry, whole or not at all. Raises StorageError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, json.dumps(content, indent=1).encode())
    except OSError as error:
        raise storage_error(error, path) from error


def _digest(content: Json) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
