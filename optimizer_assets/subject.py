"""Which slot is meant by an address, and all that an optimisation of it begins with."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from elexirion_dagster.dialects.library import refusal
from elexirion_dagster.dialects.load import load_any
from elexirion_dagster.dialects.lookup import find_all
from elexirion_dagster.errors import InputError, PolicyError
from elexirion_dagster.providers.catalog import ModelRef, resolve
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.learning import JudgeMetric, Optimize
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.spec.slots import SlotSpec, slots, unlearnable
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.registry.prompts import Stale, current, pointer, slot_hash
from optimizer_assets.task import Candidate

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Subject:
    """One slot that can be optimised: where it stands, how it is to be improved, what it says now.

    `base` is the version in use for this YAML text (`parent`; None: the YAML's own), `base_hash` the YAML's slot hash.
    """

    file: Path
    pipeline: Pipeline
    slot: SlotSpec
    optimize: Optimize
    base: Candidate
    base_hash: str
    parent: str | None

    @property
    def address(self) -> str:
        """`pipeline/step`."""
        return f"{self.slot.pipeline}/{self.slot.step}"


def find_subject(address: str, settings: Settings, home: Home) -> Subject:
    """The slot of an address such as `commit_kind/classify`. Raises InputError that names what there is."""
    name, slash, step = address.partition("/")
    if not slash or not name or not step:
        raise InputError(
            f"expected PIPELINE/STEP such as commit_kind/classify, came {address!r}",
            mend="`elexirion list` names the pipelines; a step inside a loop is outer.inner.",
        )
    known = find_all(settings)
    if error := refusal(known, name):
        raise error
    if name not in known:
        raise InputError(f"there is no pipeline {name!r}", mend=_nearest(name, list(known)))
    pipeline = load_any(known[name], known).pipeline
    found = {slot.step: slot for slot in slots(pipeline)}
    if step not in found:
        raise InputError(f"{name} has no llm step {step!r}", mend=_nearest(step, list(found)))
    return subject(known[name], pipeline, found[step], home)


def subject(file: Path, pipeline: Pipeline, slot: SlotSpec, home: Home) -> Subject:
    """The slot with what it says now. Raises InputError where nothing can be learned for it."""
    address = f"{slot.pipeline}/{slot.step}"
    if why := unlearnable(slot.spec):
        raise InputError(f"the prompt of {address} cannot be improved: {why}")
    if slot.optimize is None:
        raise InputError(
            f"{address} does not say how it is to be improved",
            mend=f"Give the step, or the pipeline, an `optimize:` in {file}, such as {{metric: {{exact: kind}}}}.",
        )
    examples = tuple((example.prompt, example.answer) for example in slot.spec.examples)
    own = Candidate(slot.spec.system, examples)
    base_hash = slot_hash(own.system, stored(own))
    found = current(home, slot.pipeline, slot.step, base_hash=base_hash)
    if found is None or isinstance(found, Stale):
        return Subject(file, pipeline, slot, slot.optimize, own, base_hash, None)
    return Subject(
        file, pipeline, slot, slot.optimize, version_text(found.system, found.examples), base_hash, found.hash
    )


def stored(candidate: Candidate) -> list[Mapping[str, object]]:
    """A candidate's examples as the registry keeps them."""
    return [{"prompt": prompt, "answer": answer} for prompt, answer in candidate.examples]


def version_text(system: str | None, examples: tuple[Mapping[str, object], ...]) -> Candidate:
    """What a version of the registry says."""
    return Candidate(system, tuple((str(one["prompt"]), one["answer"]) for one in examples))


def check_free(subject: Subject, home: Home) -> None:
    """Refuse a slot that a person has pinned, and one whose version is on trial: PolicyError."""
    now = pointer(home, subject.slot.pipeline, subject.slot.step)
    if now.pinned:
        raise PolicyError(
            f"{subject.address} is pinned: only people change it",
            cause="tool_denied",
            mend=f"`elexirion prompts unpin {subject.address}` lets go of it.",
        )
    if now.canary is not None:
        raise PolicyError(
            f"{subject.address} tries out {now.canary.hash} on {now.canary.share:.0%} of its items since "
            f"{now.canary.since[:16]}, and one version at a time is on trial",
            cause="tool_denied",
            mend=f"Wait for its figures, or decide: `elexirion prompts promote {subject.address} {now.canary.hash}`, "
            f"or `elexirion prompts rollback {subject.address}`.",
        )


def models_of(subject: Subject, settings: Settings) -> tuple[tuple[ModelRef, ...], tuple[ModelRef, ...]]:
    """The models that answer, and those that write instructions. Raises InputError where there is none."""
    asked = resolve(subject.slot.model, settings)
    if not asked:
        raise InputError(
            f"{subject.address} has no model to ask",
            mend="Set ANTHROPIC_API_KEY or ELEXIRION_LOCAL_URL, or name a model; `elexirion doctor` says more.",
        )
    return asked, resolve(subject.optimize.model, settings) if subject.optimize.model else asked


def judges_of(subject: Subject, metric: JudgeMetric, settings: Settings) -> tuple[ModelRef, ...]:
    """The models that judge: those named, else those that answer."""
    return resolve(metric.judge.model or subject.slot.model, settings)


def _nearest(word: str, known: list[str]) -> str:
    close = get_close_matches(word, known, n=1)
    if close:
        return f"Did you mean {close[0]!r}?"
    more = " …" if len(known) > _SHOWN else ""
    return f"Known: {', '.join(known[:_SHOWN]) or 'none'}{more}."
