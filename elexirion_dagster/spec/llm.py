"""`llm`: one model call with a typed or a free answer."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from elexirion_dagster.records import Json
from elexirion_dagster.spec.base import Spec, StepBase
from elexirion_dagster.spec.output import json_schema

Model = Annotated[str | tuple[str, ...], Field(union_mode="left_to_right")]


class Example(Spec):
    """A worked example in the slot: the user text and the wished-for answer."""

    prompt: str
    """What the user turn says, already rendered."""
    answer: Json
    """The wished-for answer: text, or data that fits `output`."""


class LlmStep(StepBase):
    """Ask a model once. `system` and `examples` are the slot that optimisation may rewrite; `prompt` never is."""

    templates: ClassVar[tuple[str, ...]] = ("prompt",)

    type: Literal["llm"]
    model: Model | None = None
    """`provider/model`, `auto`, or a list as failover order; the pipeline's `model` when absent."""
    system: str | None = None
    """Fixed instructions, sent as written: not a template."""
    prompt: str = Field(min_length=1)
    """Template of the user turn."""
    output: Json = None
    """Short form or JSON Schema of the typed answer; free text when absent."""
    examples: tuple[Example, ...] = ()
    """Worked examples, sent as earlier turns."""
    max_tokens: int = Field(default=4096, ge=1, le=200_000)
    """Longest answer in tokens."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Sampling temperature; the provider's own default when absent."""

    @field_validator("output")
    @classmethod
    def _output_is_a_schema(cls, output: Json) -> Json:
        if output is not None:
            json_schema(output)
        return output

    def output_schema(self) -> dict[str, Json] | None:
        """The JSON Schema of the answer, or None for free text."""
        return None if self.output is None else json_schema(self.output)
