"""What moves the pointer of a slot: promote, try out, roll back, stop, pin, unpin. One atomic rename each."""

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime

from filelock import FileLock

from elexirion_dagster.errors import InputError, PolicyError
from elexirion_dagster.store.home import Home, storage_error
from elexirion_dagster.store.registry.prompts import (
    POINTER,
    By,
    Canary,
    Change,
    Pointer,
    What,
    pointer,
    read,
    slot_folder,
    write,
)


def promote(
    home: Home, pipeline: str, step: str, version: str | None, *, why: str, by: By, seen: Pointer | None = None
) -> None:
    """Put a version to use, None for the YAML's own text; a canary ends.

    `seen`: the pointer by which this was decided; it is refused where somebody moved it meanwhile (InputError).
    PolicyError where the slot is pinned and `by` is no person.
    """
    if version is not None:
        read(home, pipeline, step, version)
    move = _Move(home, pipeline, step, by, why)
    move("promote", lambda old: replace(old, hash=version, canary=None), seen)


def try_out(home: Home, pipeline: str, step: str, version: str, share: float, *, why: str, by: By) -> None:
    """Let a share (between 0 and 1) of the items use a version beside the one in use; an earlier canary ends."""
    read(home, pipeline, step, version)
    if not 0 < share < 1:
        message = f"the share of a canary lies between 0 and 1, {share!r} came"
        raise InputError(message, mend="Give 0.1 for a tenth of the items; promote the version for all of them.")

    def trial(old: Pointer) -> Pointer:
        if old.hash == version:
            raise InputError(f"{version} is in use already", mend="Try out another version.")
        return replace(old, canary=Canary(version, share, _now()))

    _Move(home, pipeline, step, by, why)("canary", trial)


def rollback(home: Home, pipeline: str, step: str, *, why: str, by: By, seen: Pointer | None = None) -> str | None:
    """Go back to the version before the one in use; a canary ends. Returns what is in use then.

    InputError where there is none before; the version before must be whole (StorageError).
    """

    def back(old: Pointer) -> Pointer:
        if not old.before:
            message = f"{pipeline}/{step} uses the YAML's own text, and used nothing before"
            raise InputError(message, mend="`elexirion prompts show` has the history.")
        if old.before[-1] is not None:
            read(home, pipeline, step, old.before[-1])
        return replace(old, hash=old.before[-1], canary=None)

    return _Move(home, pipeline, step, by, why)("rollback", back, seen).hash


def stop(home: Home, pipeline: str, step: str, *, why: str, by: By, seen: Pointer | None = None) -> None:
    """End a canary; the version in use stays. InputError where none runs."""

    def ended(old: Pointer) -> Pointer:
        if old.canary is None:
            raise InputError(f"no canary of {pipeline}/{step} runs", mend="`elexirion prompts show` has the history.")
        return replace(old, canary=None)

    _Move(home, pipeline, step, by, why)("stop", ended, seen)


def pin(home: Home, pipeline: str, step: str, *, why: str, by: By) -> None:
    """Keep what is in use, canary included, until a person says otherwise."""
    _Move(home, pipeline, step, by, why)("pin", lambda old: replace(old, pinned=True))


def unpin(home: Home, pipeline: str, step: str, *, why: str, by: By) -> None:
    """Let the gate and the sensor change the slot again."""
    _Move(home, pipeline, step, by, why)("unpin", lambda old: replace(old, pinned=False))


class _Move:
    """One move of the pointer of a slot."""

    def __init__(self, home: Home, pipeline: str, step: str, by: By, why: str) -> None:
        self._slot = (home, pipeline, step)
        self._by: By = by
        self._why = why

    def __call__(self, what: What, edit: Callable[[Pointer], Pointer], seen: Pointer | None = None) -> Pointer:
        """Write what `edit` makes of the pointer, with its entry in the history."""
        folder = slot_folder(*self._slot)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with FileLock(folder / "current.lock", mode=0o600):
                old = pointer(*self._slot)
                self._check(old, seen)
                new = edit(old)
                about = new.canary.hash if what == "canary" and new.canary else new.hash
                if what == "stop" and old.canary:
                    about = old.canary.hash
                change = Change(_now(), self._by, self._why, about, what)
                new = replace(new, history=(*old.history, change))
                write(folder / POINTER, asdict(new))
        except OSError as error:
            raise storage_error(error, folder) from error
        return new

    def _check(self, old: Pointer, seen: Pointer | None) -> None:
        address = f"{self._slot[1]}/{self._slot[2]}"
        if old.pinned and self._by != "person":
            message = f"{address} is pinned: only people change it"
            raise PolicyError(message, cause="tool_denied", mend=f"`elexirion prompts unpin {address}` lets go of it.")
        if seen is not None and old != seen:
            raise InputError(f"{address} was changed meanwhile", mend="Look at it again, then decide anew.")


def _now() -> str:
    return datetime.now(UTC).isoformat()
