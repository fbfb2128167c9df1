"""The parts of an `llm` step that are more than one question: turns, sessions, granted programs, what stands in."""

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from elexirion_dagster.records import Json
from elexirion_dagster.spec.base import Name, Said, Spec
from elexirion_dagster.spec.output import check_instance

ToolName = Literal["read", "write", "edit", "glob", "grep"]


class Turn(Spec):
    """One turn of a conversation that the pipeline gives."""

    role: Literal["user", "assistant"]
    """Who speaks."""
    content: Said
    """Template of what is said."""


class Programs(Spec):
    """The tool `command`, with the programs it may run."""

    command: tuple[str, ...] = Field(min_length=1)
    """Names of programs, such as pytest."""


class Session(Spec):
    """A conversation that several calls continue, in program order."""

    name: Name
    """What the calls of one conversation have in common."""
    scope: Literal["run", "pipeline"] = "run"
    """One run, or all successive runs of the pipeline."""
    max_tokens: int = Field(default=20_000, ge=1, le=1_000_000)
    """Most tokens of history that are sent, four bytes taken for one; the oldest exchanges are left out first."""


def _form(value: Json) -> str:
    """Which form of a value is meant, so that one fault is told once and not per form."""
    return "word" if isinstance(value, str) else "map"


AnyTool = Annotated[Annotated[ToolName, Tag("word")] | Annotated[Programs, Tag("map")], Discriminator(_form)]
AnySession = Annotated[Annotated[Name, Tag("word")] | Annotated[Session, Tag("map")], Discriminator(_form)]


class Fallback(Spec):
    """What stands in for an answer that could not be had: exactly one of the two."""

    prompt: Said | None = None
    """Template of a simpler question, asked once, without tools, session and examples."""
    answer: Json = None
    """The answer itself: text, or data that fits `output`; templates inside it are filled in."""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.prompt is None) == (self.answer is None):
            raise ValueError("expected exactly one of prompt and answer in fallback")
        return self

    def check_answer(self, schema: dict[str, Json]) -> None:
        """Raise ValueError if the answer cannot fit the step's output; one with templates is known only later."""
        if self.answer is not None and not _has_template(self.answer):
            check_instance(self.answer, schema, "fallback.answer")


def _has_template(value: Json) -> bool:
    match value:
        case str():
            return "{{" in value or "{%" in value
        case dict():
            return any(map(_has_template, value.values()))
        case list():
            return any(map(_has_template, value))
    return False
