"""Every decision of the gate about a slot: the account of how often luck was tried."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from filelock import FileLock

from elexirion_dagster.errors import StorageError
from elexirion_dagster.store.home import Home, storage_error
from elexirion_dagster.store.registry.prompts import load, slot_folder, write

_NAME = "attempts"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One candidate before the gate: when (ISO time), derived from which text, on which holdout (its digest).

    `n` rows were compared; `p_value` None: it came to no test. `alpha` is what this attempt was allowed to spend.
    """

    at: str
    base_hash: str
    holdout: str
    n: int
    p_value: float | None
    alpha: float
    passed: bool


def attempts(home: Home, pipeline: str, step: str) -> tuple[Attempt, ...]:
    """All attempts on a slot, oldest first. StorageError if their file is damaged."""
    path = slot_folder(home, pipeline, step) / _NAME
    if not path.exists():
        return ()
    try:
        return tuple(Attempt(**entry) for entry in load(path)["attempts"])
    except (KeyError, TypeError) as error:
        message = f"{path} should hold a list of attempts, and does not"
        mend = "Restore it: without it, nobody knows how often the gate was tried."
        raise StorageError(message, mend=mend) from error


def add_attempt(
    home: Home,
    pipeline: str,
    step: str,
    *,
    base_hash: str,
    holdout: str,
    n: int,
    p_value: float | None,
    alpha: float,
    passed: bool,
) -> Attempt:
    """Write down one attempt; it is on disk when this returns."""
    folder = slot_folder(home, pipeline, step)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(folder / "current.lock", mode=0o600):
            new = Attempt(datetime.now(UTC).isoformat(), base_hash, holdout, n, p_value, alpha, passed)
            known = [asdict(each) for each in attempts(home, pipeline, step)]
            write(folder / _NAME, {"attempts": [*known, asdict(new)]})
    except OSError as error:
        raise storage_error(error, folder) from error
    return new
