"""The root of a pipeline document."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from elexirion_dagster.records import Json
from elexirion_dagster.spec.base import Name, Retry, Spec
from elexirion_dagster.spec.llm import Example, Model
from elexirion_dagster.spec.steps import Step
from elexirion_dagster.spec.triggers import Fallback, Partitions, Schedule
from elexirion_dagster.spec.workspace import Workspace

InputType = Literal["string", "path", "integer", "number", "boolean", "list", "object"]
TagKey = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9_.-]{1,63}/)?[A-Za-z0-9_.-]{1,63}$")]
_PYTHON: dict[InputType, tuple[type, ...]] = {
    "string": (str,),
    "path": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "list": (list,),
    "object": (dict,),
}


class Input(Spec):
    """One declared input; required when it has no default."""

    type: InputType
    """What the value is; a `path` input is also what the pipeline may read."""
    default: Json = None
    """Taken when no value is given."""
    description: str | None = None
    """Shown in the Launchpad and by `elexirion list`."""
    enum: tuple[str, ...] | None = None
    """The only values allowed, for strings."""

    @property
    def kind(self) -> str:
        """The type with its article, for messages."""
        return f"an {self.type}" if self.type[0] in "aeiou" else f"a {self.type}"

    @property
    def required(self) -> bool:
        """Whether a value must be given."""
        return "default" not in self.model_fields_set

    def accepts(self, value: Json) -> bool:
        """Whether a value has this input's type (and is one of `enum`)."""
        if isinstance(value, bool) and self.type != "boolean":
            return False
        return isinstance(value, _PYTHON[self.type]) and (self.enum is None or value in self.enum)

    @model_validator(mode="after")
    def _default_fits(self) -> Self:
        if self.enum and self.type != "string":
            raise ValueError("enum is for inputs of type string")
        if not self.required and self.default is not None and not self.accepts(self.default):
            allowed = f" out of {list(self.enum)}" if self.enum else ""
            raise ValueError(f"the default {self.default!r} is not {self.kind}{allowed}")
        return self


class Budget(Spec):
    """What one run, its recoveries included, may spend; checked before each call."""

    usd: float | None = Field(default=None, ge=0)
    """Dollars."""
    tokens: int | None = Field(default=None, ge=0)
    """Tokens of all four buckets."""
    seconds: float | None = Field(default=None, gt=0)
    """Wall time."""


class Limits(Spec):
    """Ceilings on what a run uses of the machine."""

    threads: int | None = Field(default=None, ge=1, le=1024)
    """Threads in all, nested fan-outs included; ELEXIRION_MAX_THREADS when absent."""


class Pipeline(Spec):
    """One pipeline: one YAML file, one Dagster job."""

    name: Name
    """The file's stem."""
    description: str | None = None
    """Shown in Dagster, Markdown allowed."""
    version: str | int | float | None = None
    """The author's own version word; recorded, not interpreted."""
    tags: dict[TagKey, Annotated[str, StringConstraints(max_length=256)]] = {}
    """Tags of the Dagster job and its runs."""
    inputs: dict[Name, Input] = {}
    """Declared inputs: the job's whole config."""
    env: tuple[str, ...] = ()
    """Environment variables that templates may read as `env.<NAME>`."""
    workspace: Workspace | None = None
    """Where the run writes; a folder of its own when absent."""
    model: Model = "auto"
    """Model of the llm steps that name none."""
    budget: Budget = Budget()
    """What one run may spend."""
    limits: Limits = Limits()
    """What one run may use of the machine."""
    steps: tuple[Step, ...] = Field(min_length=1)
    """What to do."""
    outputs: dict[Name, Json] = {}
    """Templates of the run's results; `findings` among them makes the run write a report."""
    asset: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*$")] | None = None
    """Asset key that a run materialises, such as `scan/nightly_scan`."""
    partitions: Partitions | None = None
    """One Dagster partition per file."""
    repos: tuple[str, ...] = ()
    """Repositories a schedule goes through."""
    schedule: Schedule | None = None
    """When to run by itself."""
    on: Literal["push"] | None = None
    """What event runs it by itself."""
    retry: Retry = Retry()
    """How model calls and failed leaf steps are tried again where a step says nothing."""
    fallback: tuple[Fallback, ...] = ()
    """What to do after a failed run."""
    score: dict[Name, Json] = {}
    """Expressions that score a step's outcome."""
    optimize: dict[str, Any] | None = None
    """How prompts are optimised."""
    examples: tuple[Example, ...] | str | None = None
    """Labelled examples, or the file that holds them."""
