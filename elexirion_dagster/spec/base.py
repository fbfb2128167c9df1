"""What all parts of the language share: names, templates, retry, and the keys common to every step."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, StringConstraints, Tag

from elexirion_dagster.errors import Cause
from elexirion_dagster.records import Json
from elexirion_dagster.sandbox.policy import Mode

NAME_PATTERN = "^[a-z][a-z0-9_]*$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=80)]
Effect = Literal["pure", "read", "write"]
Model = Annotated[str | tuple[str, ...], Field(union_mode="left_to_right")]
"""`provider/model`, `auto`, or a list as failover order."""
MAP, OTHER = Tag("map"), Tag("other")
"""Marks the two forms of a value that is a map or something shorter; with BY_FORM errors are about the form written."""
BY_FORM = Discriminator(lambda value: "map" if isinstance(value, dict | BaseModel) else "other")


def _says_something(text: str) -> str:
    if not text.strip():
        raise ValueError("expected text, found nothing but white space, which providers refuse")
    return text


Said = Annotated[str, Field(min_length=1), AfterValidator(_says_something)]
"""What is sent to a model, as a text or template that is not empty."""
CALL_CAUSES: tuple[Cause, ...] = ("overloaded", "rate_limited", "timeout", "connection")
"""Causes that a model call retries by itself; every other cause in `retry.on` repeats the whole step."""
CUT_SHORT: tuple[Cause, ...] = ("timeout", "connection")
"""Causes that end a step in the middle: nobody knows how much of its work was done."""


class Spec(BaseModel):
    """A part of a pipeline document: frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Retry(Spec):
    """When and how often to try again."""

    max_attempts: int = Field(default=3, ge=1, le=20)
    """Attempts in all, the first included."""
    on: tuple[Cause, ...] = CALL_CAUSES
    """Causes worth another attempt."""
    backoff: Literal["exponential", "fixed"] = "exponential"
    """How the wait grows from attempt to attempt."""
    initial_s: float = Field(default=1.0, ge=0, le=3600)
    """Seconds before the second attempt."""
    max_s: float = Field(default=30.0, ge=0, le=3600)
    """Longest wait in seconds; a server that asks for more is not waited for."""

    def wait_s(self, attempt: int) -> float:
        """Seconds to wait after the failed attempt number `attempt` (1-based)."""
        factor = 2 ** (attempt - 1) if self.backoff == "exponential" else 1
        return min(self.initial_s * factor, self.max_s)


class Amounts(Spec):
    """So much of each kind; what is absent is not limited."""

    usd: float | None = Field(default=None, ge=0)
    """Dollars."""
    tokens: int | None = Field(default=None, ge=0)
    """Tokens of all four buckets."""
    seconds: float | None = Field(default=None, gt=0)
    """Wall time."""


class Budget(Amounts):
    """What a run or a step may spend; checked before each model call against what that call may need at most."""

    call: Amounts | None = None
    """What any single model call may need; its seconds bound one attempt."""

    @property
    def in_dollars(self) -> bool:
        """Whether dollars are limited, and so a price is needed."""
        return self.usd is not None or (self.call is not None and self.call.usd is not None)


class StepBase(Spec):
    """Keys that every step has."""

    templates: ClassVar[tuple[str, ...]] = ()
    """The fields that hold templates, at any depth."""
    conditions: ClassVar[tuple[str, ...]] = ("when",)
    """The fields that hold one condition each."""
    retried_inside: ClassVar[tuple[Cause, ...]] = ()
    """Causes that the runner of this type retries by itself; they never repeat the whole step."""

    name: Name
    """Unique name; `steps.<name>` in templates and the op's name in Dagster."""
    description: str | None = None
    """Shown in Dagster, Markdown allowed."""
    when: str | bool = True
    """Condition; the step is skipped when it is false."""
    needs: tuple[Name, ...] = ()
    """Steps that must be done first although nothing of theirs is referenced."""
    effects: Effect | None = None
    """What the step does to the world, where the default for its type is wrong."""
    retry: Retry | None = None
    """Replaces the pipeline's `retry` for this step. Steps made of steps take none: their parts have their own."""
    timeout_s: float | None = Field(default=None, gt=0, le=86_400)
    """Seconds this step may take in all."""
    budget: Budget | None = None
    """What this step and those inside it may spend, recoveries of the run included; for steps that ask a model."""
    continue_on_error: bool = False
    """Go on with the other steps when this one fails; its status is then `failed`."""
    output_to: str | None = None
    """File in the run's workspace that receives the result: its text, else its data as JSON."""

    def default_effect(self) -> Effect:
        """What a step of this type does to the world unless `effects` says otherwise."""
        return "pure"

    def may_repeat(self, cause: Cause) -> bool:
        """Whether a failure with this cause may repeat the whole step, provided that a `retry` names the cause.

        A step that writes and was cut short may be half done, and is repeated only where its own `retry` says so.
        """
        if cause in self.retried_inside:
            return False
        writes = (self.effects or self.default_effect()) == "write"
        return self.retry is not None or not (writes and cause in CUT_SHORT)

    def template_values(self) -> list[tuple[str, Json]]:
        """The (field, value) pairs that hold templates; values may be nested lists and maps of strings."""
        fields = (*self.templates, "output_to")
        return [(field, getattr(self, field)) for field in fields if getattr(self, field, None) is not None]


def is_unset(value: Json) -> bool:
    """Keys added to the language later: where they are not written, a step is the same as before there were any."""
    return value is None


class ProgramStep(StepBase):
    """A step that starts programs."""

    sandbox: Mode | None = Field(default=None, exclude_if=is_unset)
    """Whether its programs are isolated: auto (where the machine can), required, off; ELEXIRION_SANDBOX when absent."""
