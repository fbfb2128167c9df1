"""ONE optimisation, from rows to registry: split, search, choose, prove, and put to use what the gate lets pass."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from elexirion_dagster.errors import PolicyError
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.home import Home, check_name, open_home, storage_error
from elexirion_dagster.store.learned.learning import replies
from elexirion_dagster.store.registry.prompts import pointer, read
from optimizer_assets.asking.asker import Asker
from optimizer_assets.material import Material, gathered
from optimizer_assets.proving.proof import TRIES, prove
from optimizer_assets.searching.fronts import choose, front
from optimizer_assets.searching.optimizers import optimise
from optimizer_assets.settling import settle
from optimizer_assets.subject import check_free, find_subject
from optimizer_assets.told import Learned, Listen, Put, Study

NOTHING = "no candidate was better on the validation rows, or as good and cheaper"


def learn(address: str, settings: Settings, listen: Listen, cancelled: threading.Event | None = None) -> Learned:
    """Optimise the slot of an address and put to use what the gate lets pass; `cancelled` ends calls under way.

    Started again after it was killed, it goes on and pays nothing twice. Raises ElexirionError with the prompt in use
    untouched: nothing to learn from, a pinned slot, another optimisation of it under way, a dead model, no budget.
    """
    home = open_home(settings.home)
    with alone(address, home):
        found = study(address, settings, listen, cancelled)
        done = found.proof and settle(found.subject, found.proof.version, home)
    learned = Learned(found, *(done or ("keep", NOTHING)))
    listen(learned)
    return learned


def put_to_use(address: str, version: str, settings: Settings) -> Put:
    """Do what the gate said of a version that was saved before."""
    home = open_home(settings.home)
    with alone(address, home):
        subject = find_subject(address, settings, home)
        found = read(home, subject.slot.pipeline, subject.slot.step, version)
        outcome, why = settle(subject, found, home)
        return Put(found, outcome, why, pointer(home, subject.slot.pipeline, subject.slot.step).history)


@contextmanager
def alone(address: str, home: Home) -> Iterator[None]:
    """Hold the lock of a slot; a second optimisation of it is refused: PolicyError."""
    place = home.cache / "optimizing"
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        with FileLock(place / check_name(address.replace("/", ".")[:200]), mode=0o600, blocking=False):
            yield
    except Timeout as error:
        raise PolicyError(
            f"another optimisation of {address} is under way",
            cause="tool_denied",
            mend="Wait for it, or end it where it runs; what it has paid for is not paid again.",
        ) from error
    except OSError as error:
        raise storage_error(error, place) from error


def study(address: str, settings: Settings, listen: Listen, cancelled: threading.Event | None = None) -> Study:
    """Search and prove: a version is saved and the attempt written down, and nothing of it is in use."""
    started = time.monotonic()
    home = open_home(settings.home)
    subject = find_subject(address, settings, home)
    check_free(subject, home)
    material = gathered(subject, settings, home)
    listen(material.began)
    with _asker(material, settings, home, cancelled) as asker:
        material.judge_with(asker)
        parts = material.parts
        found = optimise(material.task, asker, parts.train, parts.validation, listen)
        chosen = choose(found.candidates, found.candidates[0], subject.optimize)
        proof = None if chosen is None else prove(material, asker, chosen, home, listen)
        return Study(
            subject=subject,
            began=material.began,
            iterations=found.iterations,
            measured=found.candidates,
            front=front(found.candidates),
            chosen=chosen,
            proof=proof,
            notes=found.notes,
            calls=asker.calls,
            replayed=asker.replayed,
            usd=asker.usd,
            seconds=time.monotonic() - started,
        )


def _asker(material: Material, settings: Settings, home: Home, cancelled: threading.Event | None) -> Asker:
    """The one that asks; what runs paid for is not asked again, and the proof's calls are kept."""
    parts, slot = material.parts, material.subject.slot
    return Asker(
        material.task,
        settings,
        (*parts.train, *parts.validation, *parts.holdout),
        redactor=material.redactor,
        logged=replies(home, slot.pipeline, slot.step),
        cancelled=cancelled,
        kept=TRIES * len(parts.holdout),
    )
