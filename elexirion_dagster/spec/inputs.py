"""What a pipeline declares to be handed in."""

from typing import Literal, Self

from pydantic import model_validator

from elexirion_dagster.records import Json
from elexirion_dagster.spec.base import Spec

InputType = Literal["string", "path", "integer", "number", "boolean", "list", "object"]
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
