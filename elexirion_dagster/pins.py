"""What was settled when a root run began: models, prompts and inputs. A later run of the same root reuses them."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import NamedTuple

from elexirion_dagster.errors import ElexirionError, InputError, PolicyError
from elexirion_dagster.providers.catalog import ModelRef, resolve
from elexirion_dagster.providers.pricing import ModelPrice, cost_usd
from elexirion_dagster.records import Json, Usage
from elexirion_dagster.recovery.asked import NO_RECOVERY, Recovery
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.base import Amounts
from elexirion_dagster.spec.children import Pipelines, asked
from elexirion_dagster.spec.llm import LlmStep, Model
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.steps.context import Slot
from elexirion_dagster.store.accounts.ledger import PRICE_MEND
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.journal import JournalWriter
from elexirion_dagster.store.registry.prompts import Canary, PromptVersion, Stale, pointer, read, slot_hash, usable
from elexirion_dagster.store.replay import Replay
from elexirion_dagster.store.sessions import Sessions
from elexirion_dagster.tags import NO_MODEL

_YAML = "yaml:"
"""Begins the version of a slot that is the YAML's own text."""


class _Place(NamedTuple):
    """Where a slot's versions are kept in the prompt registry."""

    pipeline: str
    name_path: str


class RunPins:
    """The pins of one root run, as steps ask for them. Thread-safe.

    `pinned` is what the journal has; `override` the model a user chose for this run in place of the pipeline's.
    `recovery` may name another model and other prompt versions, which are not pinned. Where another pipeline recovers
    the root run, its prompts and inputs are pinned apart.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        settings: Settings,
        home: Home,
        journal: JournalWriter,
        *,
        pinned: Mapping[str, Json],
        override: Model | None,
        recovery: Recovery = NO_RECOVERY,
    ) -> None:
        self._pipeline = pipeline
        self._settings = settings
        self._home = home
        self._journal = journal
        self._pinned = dict(pinned)
        changed = recovery.change.model if recovery.change else None
        self._override = override if override == NO_MODEL else changed or override
        self._versions = recovery.change.prompts if recovery.change else {}
        self._root_pipeline = recovery.root_pipeline or pipeline.name
        self._lock = threading.RLock()
        self._choices: dict[str, Choice] = {}
        self._models: dict[str, tuple[ModelRef, ...]] = {}

    def env(self, pipeline: Pipeline) -> Mapping[str, str]:
        """The environment variables that a pipeline lists, as far as they were set when the run began."""
        environ = self._settings.environ
        return {name: environ[name] for name in pipeline.env if name in environ}

    def inside(self, pipeline: Pipeline, *, named: bool) -> "ChildPins":
        """The pins as the steps of a pipeline inside ask for them."""
        return ChildPins(self, self, pipeline, named)

    @property
    def no_model(self) -> str:
        """Why no model is asked, where none is."""
        if self._override == NO_MODEL:
            return "no model was wanted for this run (--no-model)"
        return "no model is configured: set ANTHROPIC_API_KEY or ELEXIRION_LOCAL_URL; `elexirion doctor` says more"

    @property
    def inputs_name(self) -> str:
        """The name under which the inputs of this run's pipeline are pinned."""
        own = self._pipeline.name == self._root_pipeline
        return "inputs" if own else f"inputs:{self._pipeline.name}"

    def fixed(self, name: str, find: Callable[[], Json]) -> Json:
        """The pinned value of this name; what `find` gives is pinned when there is none."""
        with self._lock:
            if name not in self._pinned:
                value = find()
                self._journal.append("pin", durable=True, name=name, value=value)
                self._pinned[name] = value
            return self._pinned[name]

    def sessions(self, replay: Replay, root_run: str) -> Sessions:
        """The conversations that the steps of this root run continue."""
        return Sessions(
            self._home,
            self._journal,
            replay,
            pipeline=self._pipeline.name,
            root_run=root_run,
            steps=[step.name for step in self._pipeline.steps],
            fixed=self.fixed,
        )

    def models(self, model: Model | None) -> tuple[ModelRef, ...]:
        """The models behind a `model` word, resolved once per root run."""
        wanted = self._override or model or self._pipeline.model
        key = wanted if isinstance(wanted, str) else ", ".join(wanted)
        with self._lock:
            if key not in self._models:
                pinned = self.fixed(f"model:{key}", lambda: [asdict(ref) for ref in self._resolved(wanted)])
                self._models[key] = tuple(ModelRef(**ref) for ref in pinned)
            return self._models[key]

    def _resolved(self, wanted: Model) -> tuple[ModelRef, ...]:
        return () if wanted == NO_MODEL else resolve(wanted, self._settings)

    def slot(self, step: LlmStep, name_path: str, item: str | None, pipeline: str | None = None) -> Slot:
        """The step's slot: the promoted version if there is one for this YAML, else the YAML's own text.

        A canary's for its share of the items, or of the root runs where there is none. `pipeline` is the one whose
        prompts it is among, the run's own when absent.
        """
        return self.choice(step, name_path, pipeline).of(item)

    def choice(self, step: LlmStep, name_path: str, pipeline: str | None = None) -> "Choice":
        """What the step's slot is for any item of this root run."""
        place = _Place(pipeline or self._pipeline.name, name_path)
        name = name_path if place.pipeline == self._root_pipeline else f"{place.pipeline}/{name_path}"
        with self._lock:
            if name not in self._choices:
                self._choices[name] = replace(self._find(step, place, name), run=self._journal.root_run)
            return self._choices[name]

    def _find(self, step: LlmStep, place: _Place, name: str) -> "Choice":
        pin, trial_pin = f"prompt:{name}", f"canary:{name}"
        own = own_slot(step)
        if place.name_path in self._versions:
            return Choice(self._chosen(own, place))
        if pin in self._pinned:
            return self._as_pinned(own, place, self._pinned[pin], self._pinned.get(trial_pin))
        found = choice_now(self._home, step, *place)
        self.fixed(pin, lambda: found.base.version)
        if found.canary is not None:  # after the other: a process that dies in between has asked nothing yet
            self.fixed(trial_pin, partial(asdict, found.canary))
        return found

    def _chosen(self, own: Slot, place: _Place) -> Slot:
        """The version that a recovery names: `yaml`, or one in the registry."""
        version = self._versions[place.name_path]
        return own if version == "yaml" else _slot_of(read(self._home, *place, version))

    def _as_pinned(self, own: Slot, place: _Place, pinned: str, trial: Json) -> "Choice":
        """The versions that the root run began with, whatever was promoted, tried out or stopped since."""
        base = self._version(own, place, pinned)
        if trial is None:
            return Choice(base)
        canary = Canary(**trial)
        return Choice(base, canary, _on_trial(self._version(own, place, canary.hash), canary))

    def _version(self, own: Slot, place: _Place, pinned: str) -> Slot:
        if pinned == own.version:
            return own
        try:
            if not pinned.startswith(_YAML):
                return _slot_of(read(self._home, *place, pinned))
        except InputError as error:
            raise _gone(place.name_path, pinned) from error
        raise _gone(place.name_path, pinned)


@dataclass(frozen=True, slots=True)
class Choice:
    """What a slot is for a run: `base`, and for the items that a canary takes, `trial`."""

    base: Slot
    canary: Canary | None = None
    trial: Slot | None = None
    run: str = ""

    def of(self, item: str | None) -> Slot:
        """The slot of the item with this key; of the root run, where there is no item."""
        key = self.run if item is None else item
        return self.trial if self.trial and self.canary and self.canary.takes(key) else self.base


@dataclass(frozen=True, slots=True)
class ChildPins:
    """The pins of a run as the steps of a pipeline inside ask for them; `outer` is what stands around it."""

    outer: "RunPins | ChildPins"
    root: RunPins
    pipeline: Pipeline
    named: bool

    @property
    def no_model(self) -> str:
        """Why no model is asked, where none is."""
        return self.root.no_model

    def models(self, model: Model | None) -> tuple[ModelRef, ...]:
        """The models behind a `model` word; where the pipeline names none, the one around it decides."""
        own = self.pipeline.model if "model" in self.pipeline.model_fields_set else None
        return self.outer.models(model or own)

    def slot(self, step: LlmStep, name_path: str, item: str | None, pipeline: str | None = None) -> Slot:
        """The step's slot, kept under the nearest pipeline that has a name of its own."""
        return self.outer.slot(step, name_path, item, pipeline or (self.pipeline.name if self.named else None))

    def env(self, pipeline: Pipeline) -> Mapping[str, str]:
        """The environment variables that a pipeline lists, as far as they were set when the run began."""
        return self.root.env(pipeline)

    def inside(self, pipeline: Pipeline, *, named: bool) -> "ChildPins":
        """The pins as the steps of a pipeline inside this one ask for them."""
        return ChildPins(self, self.root, pipeline, named)


def check_prices(
    pipeline: Pipeline, pipelines: Pipelines, pins: RunPins, prices: Mapping[str, ModelPrice], *, day: Amounts
) -> None:
    """Refuse to begin where a budget in dollars meets a model whose price is not known: PolicyError.

    A model that cannot be found is told by the step that asks it, if it comes to that.
    """
    for asking in asked(pipeline, pipelines, in_dollars=day.usd is not None):
        try:
            models = pins.models(asking.model) if asking.in_dollars else ()
        except ElexirionError:
            continue
        for model in models:
            if cost_usd(model.provider, model.model, Usage(), prices) is None:
                raise PolicyError(
                    f"a budget in dollars holds for the step {asking.step.name}, and the price of {model} is not known",
                    cause="budget_exceeded",
                    mend=PRICE_MEND,
                )


def own_slot(step: LlmStep) -> Slot:
    """The step's slot as the YAML has it."""
    examples = tuple((example.prompt, example.answer) for example in step.examples)
    base = slot_hash(step.system, [{"prompt": prompt, "answer": answer} for prompt, answer in examples])
    return Slot(step.system, examples, f"{_YAML}{base}")


def choice_now(home: Home, step: LlmStep, pipeline: str, name_path: str) -> Choice:
    """What a root run that begins now would pin: the promoted version, else the YAML's own text; and the canary."""
    own = own_slot(step)
    base_hash = own.version.removeprefix(_YAML)
    now = pointer(home, pipeline, name_path)
    found = usable(home, pipeline, name_path, now.hash, base_hash=base_hash)
    if isinstance(found, Stale):
        base = replace(own, note="the promoted prompt is stale: the YAML's own text changed since it was derived")
    else:
        base = own if found is None else _slot_of(found)
    tried = None if now.canary is None else usable(home, pipeline, name_path, now.canary.hash, base_hash=base_hash)
    if now.canary is None or not isinstance(tried, PromptVersion):
        return Choice(base)
    return Choice(base, now.canary, _on_trial(_slot_of(tried), now.canary))


def _on_trial(slot: Slot, canary: Canary) -> Slot:
    return replace(slot, note=f"this prompt is on trial: a canary that {canary.share:.0%} of the items use")


def _slot_of(version: PromptVersion) -> Slot:
    examples = tuple((example["prompt"], example["answer"]) for example in version.examples)
    return Slot(version.system, examples, version.hash)


def _gone(name_path: str, pinned: str) -> ElexirionError:
    """The run began with a prompt that is not there any more."""
    return ElexirionError(
        f"the prompt of {name_path} was {pinned} when this run began, and its text is not the same any more",
        cause="bad_pipeline",
        mend="Put the old text back, or start a new run.",
    )
