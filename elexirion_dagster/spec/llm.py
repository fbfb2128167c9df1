"""`llm`: a model call, a conversation or a tool loop, with a typed or a free answer."""

from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from elexirion_dagster.errors import Cause
from elexirion_dagster.records import Json
from elexirion_dagster.spec.base import CALL_CAUSES, Effect, Model, ProgramStep, Said, Spec
from elexirion_dagster.spec.conversation import AnySession, AnyTool, Fallback, Programs, Session, Turn
from elexirion_dagster.spec.learning import Optimize
from elexirion_dagster.spec.output import json_schema

__all__ = ["Example", "LlmStep", "Model"]

_READING: frozenset[str] = frozenset({"read", "glob", "grep"})


class Example(Spec):
    """A worked example in the slot: the user text and the wished-for answer."""

    prompt: Said
    """What the user turn says, already rendered."""
    answer: Json
    """The wished-for answer: text, or data that fits `output`."""

    @field_validator("answer")
    @classmethod
    def _answer_says_something(cls, answer: Json) -> Json:
        if isinstance(answer, str) and not answer.strip():
            raise ValueError("expected an answer, found nothing but white space, which providers refuse")
        return answer


class LlmStep(ProgramStep):
    """Ask a model. `system` and `examples` are the slot that optimisation may rewrite; `prompt`, `messages` never."""

    templates: ClassVar[tuple[str, ...]] = ("prompt", "messages", "fallback")
    retried_inside: ClassVar[tuple[Cause, ...]] = CALL_CAUSES

    type: Literal["llm"]
    model: Model | None = None
    """`provider/model`, `auto`, or a list as failover order; the pipeline's `model` when absent."""
    system: str | None = None
    """Fixed instructions, sent as written: not a template."""
    prompt: Said | None = None
    """Template of the user turn."""
    messages: tuple[Turn, ...] = ()
    """Turns in place of `prompt`: templates; the last is the user's."""
    output: Json = None
    """Short form or JSON Schema of the typed answer; free text when absent."""
    examples: tuple[Example, ...] = ()
    """Worked examples, sent as earlier turns."""
    tools: tuple[AnyTool, ...] = ()
    """What the model may do: read, glob, grep, write, edit, and {command: [programs]}."""
    max_turns: int = Field(default=20, ge=1, le=1000)
    """Most model calls of the tool loop; when they are used up the step fails (max_turns)."""
    session: AnySession | None = None
    """Conversation that this step continues: a name, or {name, scope, max_tokens}."""
    samples: int = Field(default=1, ge=1, le=50)
    """Independent answers; the most common one is the step's, `.results` has all."""
    fallback: Fallback | None = None
    """What stands in when the call failed for good; the step is then degraded."""
    max_tokens: int = Field(default=4096, ge=1, le=200_000)
    """Longest answer in tokens."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Sampling temperature; the provider's own default when absent."""
    optimize: Optimize | None = None
    """How `system` and `examples` are improved from what was answered; over the pipeline's `optimize`, key by key."""

    @field_validator("output")
    @classmethod
    def _output_is_a_schema(cls, output: Json) -> Json:
        if output is not None:
            json_schema(output)
        return output

    @field_validator("tools", mode="before")
    @classmethod
    def _command_names_its_programs(cls, tools: Json) -> Json:
        if isinstance(tools, list | tuple) and "command" in tools:
            raise ValueError("command needs the programs it may run, such as {command: [pytest]}")
        return tools

    @model_validator(mode="after")
    def _is_one_question(self) -> Self:
        if (self.prompt is None) == (not self.messages):
            raise ValueError("expected exactly one of prompt and messages")
        if self.messages and self.messages[-1].role != "user":
            raise ValueError("the last of messages must be the user's, for the model to answer")
        return self

    @model_validator(mode="after")
    def _tools_are_distinct(self) -> Self:
        names = self.tool_names()
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"tools names {twice[0]} twice")
        if self.sandbox is not None and not self.programs():
            raise ValueError("sandbox has a meaning beside the tool command only")
        if self.samples > 1 and self.default_effect() == "write":
            raise ValueError("samples would work on the same files at once: give them read, glob and grep only")
        return self

    @model_validator(mode="after")
    def _fallback_answer_fits(self) -> Self:
        if self.fallback is not None and self.output is not None:
            self.fallback.check_answer(json_schema(self.output))
        return self

    def default_effect(self) -> Effect:
        """A model with tools writes, unless all it was given is tools that read."""
        if not self.tools:
            return "pure"
        return "read" if _READING.issuperset(self.tool_names()) else "write"

    def output_schema(self) -> dict[str, Json] | None:
        """The JSON Schema of the answer, or None for free text."""
        return None if self.output is None else json_schema(self.output)

    def turns(self) -> tuple[Turn, ...]:
        """What is asked, as turns: `messages`, or `prompt` as the only one."""
        return self.messages if self.prompt is None else (Turn(role="user", content=self.prompt),)

    def tool_names(self) -> tuple[str, ...]:
        """The names of the tools, `command` among them, in the order written."""
        return tuple("command" if isinstance(tool, Programs) else tool for tool in self.tools)

    def programs(self) -> tuple[str, ...]:
        """The programs that the tool `command` may run."""
        return next((tool.command for tool in self.tools if isinstance(tool, Programs)), ())

    def conversation(self) -> Session | None:
        """The session with its defaults filled in."""
        return Session(name=self.session) if isinstance(self.session, str) else self.session
