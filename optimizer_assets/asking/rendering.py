"""A row becomes the request that a run would send for it, by the same renderer. No dspy."""

from collections import Counter
from collections.abc import Mapping, Sequence

from elexirion_dagster.errors import ElexirionError, InputError
from elexirion_dagster.expressions import Engine
from elexirion_dagster.prompting.render import build_request, example_of, sendable
from elexirion_dagster.providers.base import Capabilities
from elexirion_dagster.providers.catalog import ModelRef
from elexirion_dagster.records import Json, Message, Request, TextBlock
from elexirion_dagster.spec.llm import LlmStep
from elexirion_dagster.store.learned.learning import Row
from elexirion_dagster.templating.keyed import Keyed
from optimizer_assets.task import Candidate

Chain = tuple[str, ...]


class Turns:
    """A step's templates, ready to be rendered from rows. Thread-safe."""

    def __init__(self, spec: LlmStep) -> None:
        self._engine = Engine(lazy=_beside)
        self._written = spec.turns()
        chains = {chain for turn in self._written for chain in self._engine.references(turn.content)}
        self._chains = sorted(chains, key=lambda chain: (len(chain), chain))

    def of(self, row: Row) -> tuple[Message, ...]:
        """The turns of a row. Raises ExpressionError; InputError where inputs were cut or are no text."""
        scope = scope_of(row.inputs, self._chains)
        said = (sendable(self._engine.render(turn.content, scope), f"the row {row.key}") for turn in self._written)
        return tuple(Message(turn.role, (TextBlock(text),)) for turn, text in zip(self._written, said, strict=True))

    def user(self, row: Row) -> str:
        """What the last turn says, which is the user's: the first half of an example."""
        return "".join(block.text for block in self.of(row)[-1].content if isinstance(block, TextBlock))


def renderable(spec: LlmStep, rows: Sequence[Row]) -> tuple[tuple[Row, ...], dict[str, int]]:
    """The rows whose question can be asked again, and how many cannot, by reason."""
    turns, kept, dropped = Turns(spec), list[Row](), Counter[str]()
    for row in rows:
        try:
            turns.of(row)
        except ElexirionError as error:
            dropped[error.message] += 1
        else:
            kept.append(row)
    return tuple(kept), dict(dropped)


def slot_request(
    spec: LlmStep, candidate: Candidate, turns: Sequence[Message], model: ModelRef, capabilities: Capabilities
) -> Request:
    """The request that a run with this slot would send."""
    return build_request(
        model=model.model,
        system=candidate.system,
        examples=[example_of(prompt, answer) for prompt, answer in candidate.examples],
        history=turns,
        output_schema=spec.output_schema(),
        native_schema=capabilities.output_schema,
        max_tokens=spec.max_tokens,
        temperature=spec.temperature,
    )


class _Record(dict[str, Json]):
    """A value with fields that a run reads lazily: they can be asked for, and do not show when it is printed."""

    __slots__ = ("beside",)

    def __init__(self, fields: Mapping[str, Json]) -> None:
        super().__init__(fields)
        self.beside: dict[str, Json] = {}


def scope_of(inputs: Mapping[str, Json], chains: Sequence[Chain]) -> dict[str, Json]:
    """The scope that templates see, from values by dotted path; `chains` are sorted by length.

    A value that was too large to be kept raises InputError; one that is not there stays unresolved.
    """
    scope: dict[str, Json] = {}
    for chain in chains:
        try:
            value = _found(inputs, chain)
        except KeyError:
            continue
        if isinstance(value, Mapping) and value.keys() == {"omitted"}:
            raise InputError(
                f"{'.'.join(chain)} was not kept whole ({value['omitted']}), so the question cannot be asked again",
                mend="Refer to the part of the value that the prompt uses.",
            )
        _put(scope, chain, _looked_up(value))
    return scope


def _found(inputs: Mapping[str, Json], chain: Chain) -> Json:
    """The value at a chain: under its dotted path, or inside the value at the beginning of it."""
    for length in range(len(chain), 0, -1):
        name = ".".join(chain[:length])
        if name in inputs:
            value = inputs[name]
            for part in chain[length:]:
                if not isinstance(value, Mapping):
                    raise KeyError(chain)
                value = value[part]
            return value
    raise KeyError(chain)


def _put(scope: dict[str, Json], chain: Chain, value: Json) -> None:
    *outer, name = chain
    place = scope
    for part in outer:
        within = _room(place, part).setdefault(part, {})
        if not isinstance(within, dict):  # a list or a text has its parts itself
            return
        place = within
    _room(place, name).setdefault(name, value)


def _room(place: dict[str, Json], name: str) -> dict[str, Json]:
    """Where a part of this name belongs: in the map itself, or beside what is printed of a record."""
    return place.beside if isinstance(place, _Record) and name not in place else place


def _looked_up(value: Json) -> Json:
    """The value as a run has it: results by key too, maps with room for what is read lazily."""
    if isinstance(value, list) and all(isinstance(entry, Mapping) for entry in value):
        return Keyed(value)
    return _Record(value) if isinstance(value, Mapping) else value


def _beside(record: Mapping[str, Json], name: str) -> Json:
    if isinstance(record, _Record):
        return record.beside[name]
    raise KeyError(name)
