"""What was settled when a root run began: models, prompts and inputs. A later run of the same root reuses them."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace

from elexirion_dagster.errors import ElexirionError, InputError
from elexirion_dagster.providers.catalog import ModelRef, resolve
from elexirion_dagster.records import Json
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.llm import LlmStep, Model
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.steps.context import Slot
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.journal import JournalWriter
from elexirion_dagster.store.prompts import PromptVersion, Stale, current, read, slot_hash
from elexirion_dagster.store.replay import Replay
from elexirion_dagster.store.sessions import Sessions

NO_MODEL = "none"
"""The model word that turns models off."""
_YAML = "yaml:"
"""Begins the version of a slot that is the YAML's own text."""


class RunPins:
    """The pins of one root run, as steps ask for them. Thread-safe.

    `pinned` is what the journal has; `override` the model a user chose for this run in place of the pipeline's.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        settings: Settings,
        home: Home,
        journal: JournalWriter,
        *,
        pinned: Mapping[str, Json],
        override: str | None,
    ) -> None:
        self._pipeline = pipeline
        self._settings = settings
        self._home = home
        self._journal = journal
        self._pinned = dict(pinned)
        self._override = override
        self._lock = threading.RLock()
        self._slots: dict[str, Slot] = {}
        self._models: dict[str, tuple[ModelRef, ...]] = {}

    @property
    def env(self) -> Mapping[str, str]:
        """The environment variables that the pipeline lists, as far as they are set."""
        environ = self._settings.environ
        return {name: environ[name] for name in self._pipeline.env if name in environ}

    @property
    def no_model(self) -> str:
        """Why no model is asked, where none is."""
        if self._override == NO_MODEL:
            return "no model was wanted for this run (--no-model)"
        return "no model is configured: set ANTHROPIC_API_KEY or ELEXIRION_LOCAL_URL; `elexirion doctor` says more"

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

    def slot(self, step: LlmStep, name_path: str) -> Slot:
        """The step's slot: the promoted version if there is one for this YAML, else the YAML's own text."""
        with self._lock:
            if name_path not in self._slots:
                self._slots[name_path] = self._find(step, name_path)
            return self._slots[name_path]

    def _find(self, step: LlmStep, name_path: str) -> Slot:
        examples = tuple((example.prompt, example.answer) for example in step.examples)
        base = slot_hash(step.system, [{"prompt": prompt, "answer": answer} for prompt, answer in examples])
        own = Slot(step.system, examples, f"{_YAML}{base}")
        pinned = self._pinned.get(f"prompt:{name_path}")
        slot = self._promoted(own, base, name_path) if pinned is None else self._as_pinned(own, pinned, name_path)
        self.fixed(f"prompt:{name_path}", lambda: slot.version)
        return slot

    def _promoted(self, own: Slot, base: str, name_path: str) -> Slot:
        found = current(self._home, self._pipeline.name, name_path, base_hash=base)
        if isinstance(found, Stale):
            note = "the promoted prompt is stale: the YAML's own text changed since it was derived"
            return replace(own, note=note)
        return own if found is None else _slot_of(found)

    def _as_pinned(self, own: Slot, pinned: str, name_path: str) -> Slot:
        """The version that the root run began with, whatever was promoted since."""
        if pinned == own.version:
            return own
        try:
            if not pinned.startswith(_YAML):
                return _slot_of(read(self._home, self._pipeline.name, name_path, pinned))
        except InputError as error:
            raise _gone(name_path, pinned) from error
        raise _gone(name_path, pinned)


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
