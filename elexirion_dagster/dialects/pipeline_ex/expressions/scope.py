"""What a name in pipeline_ex's expressions may mean, and what a translation came to."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["text", "data", "groups", "for_each", "tasks", "other"]


@dataclass(frozen=True, slots=True)
class Shape:
    """How the result of one of our steps is addressed where pipeline_ex wrote `step.field`.

    `text`: a model's free answer: `.text`; a field of it is looked for in its JSON. `data`, `other`: `.data` is the
    primary value. `groups`: `.data` is our list of `{key, items}` where theirs was a map from key to items.
    `for_each`: `.results`, whose inner steps are `inner`. `tasks`: a `for_each` keyed by task id with one step inside.
    """

    kind: Kind = "other"
    fields: frozenset[str] = frozenset()
    """Fields that the data is known to have; they win over `text`, `success`, `status` and the like."""
    output_field: str = ""
    """data_transform's name for the whole value: `step.<output_field>` is the data itself."""
    at: str = ""
    """Where the result stands when it is not `steps.<name>`: `steps.route.data.steps.plan`."""
    inner: Mapping[str, "Shape"] = field(default_factory=dict)
    """`for_each`, `tasks`: the inner steps by our name."""


@dataclass(frozen=True, slots=True)
class Names:
    """What a name may mean where the expression stands; all names are ours."""

    steps: frozenset[str] = frozenset()
    """Steps of the pipeline whose results are visible."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Their name of a step, variable or input -> ours; an `output_field` -> the step that makes it."""
    inputs: frozenset[str] = frozenset()
    vars: frozenset[str] = frozenset()
    loop_names: frozenset[str] = frozenset()
    """Item names of the loops that the expression stands in."""
    results: Mapping[str, Shape] = field(default_factory=dict)
    """Per step (our name) how its result is addressed; a step that is not listed counts as `other`."""
    item: str = ""
    """The innermost loop's item name: what `loop.item` means."""
    previous: str = ""
    """The step right before: what a bare `previous_response` means."""

    def own(self, name: str) -> str:
        """Our spelling of a name of theirs."""
        return self.renamed.get(name) or (name if self._has(name) else own_name(name))

    def known(self, name: str) -> bool:
        """Whether a name of theirs is declared anywhere."""
        return name in self.renamed or self._has(name)

    def _has(self, name: str) -> bool:
        return any(name in names for names in (self.steps, self.inputs, self.vars, self.loop_names))


@dataclass(frozen=True, slots=True)
class Translated:
    """An expression in our words.

    `notes` say what changed in meaning or was kept as it stands. `unresolved` are names that nothing declares: the
    text refers to them as `inputs.<name>`, so they have to become required inputs.
    """

    text: str
    notes: tuple[str, ...] = ()
    unresolved: tuple[str, ...] = ()


def own_name(name: str) -> str:
    """A name as our language spells it: small letters, digits and _, a letter first."""
    word = re.sub(r"[^a-z0-9_]", "_", name.lower())
    return word if word[:1].isalpha() and word.isascii() else f"x{word}"
