"""The prompt registry for people: what is in use where, how versions differ, and moving them by hand."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from elexirion_dagster.dialects.library import refusal
from elexirion_dagster.dialects.load import load_any
from elexirion_dagster.dialects.lookup import find_all
from elexirion_dagster.errors import ElexirionError, InputError, StorageError
from elexirion_dagster.pins import own_slot
from elexirion_dagster.records import Json
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.slots import slots as slots_of
from elexirion_dagster.steps.context import Slot
from elexirion_dagster.store.home import Home, open_home
from elexirion_dagster.store.registry import promotions
from elexirion_dagster.store.registry.prompts import Pointer, PromptVersion, hashes, pointer, read, slots

State = Literal["current", "stale", "gone", "damaged"]
"""`stale`: the YAML's text changed, so that runs use it. `gone`: no pipeline has that step, or it cannot be loaded."""
YAML = "yaml"
"""The word for the YAML's own text where a version is expected."""
_SHORTEST = 4


@dataclass(frozen=True, slots=True)
class Listed:
    """One slot: the version in use (None: the YAML's text), how it stands to the YAML, and why it does so."""

    slot: str
    in_use: str | None
    since: str | None
    canary: str | None
    share: float | None
    pinned: bool
    versions: int
    state: State
    note: str | None


@dataclass(frozen=True, slots=True)
class Shown:
    """A slot with its history and its versions, oldest first; a damaged one is an object with `hash` and `error`."""

    about: Listed
    history: list[dict[str, Json]]
    versions: list[dict[str, Json]]


@dataclass(frozen=True, slots=True)
class Address:
    """A slot of the registry in the home that it is in."""

    home: Home
    pipeline: str
    step: str

    @property
    def place(self) -> tuple[Home, str, str]:
        """What the functions of the registry begin with."""
        return self.home, self.pipeline, self.step

    def __str__(self) -> str:
        return f"{self.pipeline}/{self.step}"


def listed(settings: Settings) -> list[Listed]:
    """Every slot that has a version or had one."""
    home, known = open_home(settings.home), find_all(settings)
    return [_listed(Address(home, *slot), known) for slot in slots(home)]


def show(text: str, settings: Settings) -> Shown:
    """Everything about one slot. Raises InputError."""
    address = _address(text, settings)
    about = _listed(address, find_all(settings))
    history = [] if about.state == "damaged" else [asdict(change) for change in pointer(*address.place).history]
    return Shown(about, history, [_version(address, one) for one in hashes(*address.place)])


def text_of(text: str, version: str, settings: Settings) -> str:
    """What a version says (`yaml`: the YAML's own text), as people read it. Raises InputError, StorageError."""
    address = _address(text, settings)
    chosen = _chosen(address, version)
    return _words(_own(address, settings) if chosen is None else read(*address.place, chosen))


def diff(text: str, old: str | None, new: str | None, settings: Settings) -> str:
    """How two versions differ, as a unified diff.

    `old` is the version in use when absent, `new` the canary; without one, they are the version before and that in use.
    """
    address = _address(text, settings)
    now = pointer(*address.place)
    if new is None:
        if now.canary is None and (old is None and not now.before):
            raise InputError(f"{address} has nothing to compare: nothing was promoted", mend="Name two versions.")
        new = now.canary.hash if now.canary else now.hash or YAML
        old = old or ((now.hash if now.canary else now.before[-1]) or YAML)
    old = old or now.hash or YAML
    before, after = (text_of(text, version, settings).splitlines() for version in (old, new))
    return "\n".join(difflib.unified_diff(before, after, fromfile=old, tofile=new, lineterm=""))


def promote(text: str, version: str, why: str, settings: Settings, *, canary: float | None = None) -> str:
    """Put a version to use, or a share of the items on it; returns what was done. Raises InputError, StorageError."""
    address = _address(text, settings)
    chosen = _chosen(address, version)
    if chosen is not None:
        _check_fit(address, read(*address.place, chosen), settings)
    if canary is None:
        promotions.promote(*address.place, chosen, why=why, by="person")
        return f"{address} uses {chosen or _YAMLS} now"
    if chosen is None:
        raise InputError("the YAML's own text cannot be a canary", mend="Name a version, or promote it for all items.")
    promotions.try_out(*address.place, chosen, canary, why=why, by="person")
    return f"{address} tries {chosen} on {canary:.0%} of the items"


def rollback(text: str, why: str, settings: Settings) -> str:
    """Take back what was put to use last: a canary, else the version in use; returns what was done."""
    address = _address(text, settings)
    now = pointer(*address.place)
    if now.canary is not None:
        promotions.stop(*address.place, why=why, by="person", seen=now)
        return f"the canary {now.canary.hash} of {address} was stopped; {now.hash or _YAMLS} stays in use"
    back = promotions.rollback(*address.place, why=why, by="person", seen=now)
    return f"{address} uses {back or _YAMLS} again"


def pin(text: str, why: str, settings: Settings, *, pinned: bool) -> str:
    """Keep a slot as it is until people change it, or let go of it; returns what was done."""
    address = _address(text, settings)
    if pinned:
        promotions.pin(*address.place, why=why, by="person")
        return f"{address} is pinned: only people change it"
    promotions.unpin(*address.place, why=why, by="person")
    return f"{address} is not pinned any more"


_YAMLS = "the YAML's own text"


def _address(text: str, settings: Settings) -> Address:
    """The slot that a text such as `review/look` names. Raises InputError with the nearest one."""
    home = open_home(settings.home)
    known = ["/".join(slot) for slot in slots(home)]
    if text not in known:
        close = difflib.get_close_matches(text, known, n=1)
        mend = f"Did you mean {close[0]!r}?" if close else "`elexirion prompts list` lists those there are."
        raise InputError(f"no prompt of {text!r} has a version (PIPELINE/STEP was expected)", mend=mend)
    pipeline, _, step = text.partition("/")
    return Address(home, pipeline, step)


def _chosen(address: Address, version: str) -> str | None:
    """The version with this beginning; None for the YAML's own text."""
    if version == YAML:
        return None
    found = [one for one in hashes(*address.place) if one.startswith(version)] if len(version) >= _SHORTEST else []
    if len(found) != 1:
        told = "more than one version begins" if found else "no version begins"
        mend = f"`elexirion prompts show {address}` lists them; at least {_SHORTEST} characters, or `yaml`."
        raise InputError(f"{told} with {version!r} in {address}", mend=mend)
    return found[0]


def _own(address: Address, settings: Settings) -> Slot:
    """The slot as the YAML has it now. Raises InputError where there is none, PipelineError where it is broken."""
    return _slot_in(address, find_all(settings))


def _slot_in(address: Address, known: Mapping[str, Path]) -> Slot:
    if error := refusal(known, address.pipeline):
        raise error
    if address.pipeline not in known:
        message = f"there is no pipeline {address.pipeline!r} any more, so no run asks {address}"
        raise InputError(message, mend="Put its file back, or leave the slot: nothing uses it.")
    pipeline = load_any(known[address.pipeline], known).pipeline
    found = [slot.spec for slot in slots_of(pipeline) if slot.step == address.step]
    if not found:
        names = ", ".join(slot.step for slot in slots_of(pipeline)) or "none"
        raise InputError(
            f"{address.pipeline} has no step {address.step!r} that asks a model", mend=f"Its steps that do: {names}."
        )
    return own_slot(found[0])


def _check_fit(address: Address, version: PromptVersion, settings: Settings) -> None:
    """Refuse a version that runs would not use."""
    own = _own(address, settings)
    if own.version != f"{YAML}:{version.base_hash}":
        raise InputError(
            f"{version.hash} is stale: it was made for another text than the YAML of {address} has now",
            mend="Put that text back, or learn a new version from this one.",
        )


def _listed(address: Address, known: Mapping[str, Path]) -> Listed:
    count = len(hashes(*address.place))
    try:
        now = pointer(*address.place)
        state, note = _state(address, now, known)
    except StorageError as error:
        now, state, note = Pointer(), "damaged", error.message
    canary = now.canary
    return Listed(
        slot=str(address),
        in_use=now.hash,
        since=now.since,
        canary=canary.hash if canary else None,
        share=canary.share if canary else None,
        pinned=now.pinned,
        versions=count,
        state=state,
        note=note,
    )


def _state(address: Address, now: Pointer, known: Mapping[str, Path]) -> tuple[State, str | None]:
    """How the versions at work stand to the YAML. Raises StorageError where one of them was edited by hand."""
    at_work = [read(*address.place, one) for one in (now.hash, now.canary.hash if now.canary else None) if one]
    try:
        own = _slot_in(address, known)
    except ElexirionError as error:
        return "gone", error.message
    stale = [one.hash for one in at_work if own.version != f"{YAML}:{one.base_hash}"]
    if stale:
        return "stale", f"the YAML's text changed since {', '.join(stale)} was made, so runs use the YAML"
    return "current", None


def _version(address: Address, version: str) -> dict[str, Json]:
    try:
        found = read(*address.place, version)
    except StorageError as error:
        return {"hash": version, "error": error.message}
    return {**asdict(found), "examples": list(found.examples)}


def _words(slot: Slot | PromptVersion) -> str:
    """A slot as text: the system text, then its examples."""
    if isinstance(slot, PromptVersion):
        pairs = [(example["prompt"], example["answer"]) for example in slot.examples]
    else:
        pairs = list(slot.examples)
    parts = [slot.system or "(no system text)"]
    for prompt, answer in pairs:
        shown = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
        parts.append(f"--- example ---\n{prompt}\n--- answer ---\n{shown}")
    return "\n".join(parts) + "\n"
