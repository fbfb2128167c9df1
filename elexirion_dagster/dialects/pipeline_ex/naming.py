"""Names of pipelines, steps, inputs and variables in the form that ours have."""

import re
from collections.abc import Iterable, Mapping, Sequence

from elexirion_dagster.dialects.pipeline_ex.notes import Notes, Path
from elexirion_dagster.records import Json

_LONGEST = 72


def slug(text: str, otherwise: str = "x") -> str:
    """A text as a name: small letters, digits and _, a letter first."""
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:_LONGEST]
    if not plain:
        return otherwise
    return plain if plain[0].isalpha() else f"{otherwise}_{plain}"


def is_name(text: str) -> bool:
    """Whether a text is a name as it stands."""
    return re.fullmatch("[a-z][a-z0-9_]*", text) is not None and len(text) <= _LONGEST


def free(wanted: str, taken: Iterable[str]) -> str:
    """The wanted name, numbered where it is taken."""
    names, name, number = set(taken), wanted, 2
    while name in names:
        name, number = f"{wanted}_{number}", number + 1
    return name


def step_names(steps: Sequence[Json], at: Path, taken: Iterable[str], notes: Notes) -> dict[str, str]:
    """Native names by original ones for the steps of one list; `taken` are names in use around them.

    A step without a name and two steps of one name are refused; a name of another form is changed, and listed.
    """
    found: dict[str, str] = {}
    for index, step in enumerate(steps):
        if not isinstance(step, dict):
            notes.refuse((*at, index), f"expected a step, got {step!r:.60}", "A step is a map with name: and type:.")
            continue
        name = original_name(step)
        if name is None:
            notes.refuse((*at, index), "the step has no name", "Give it one.")
        elif name in found:
            notes.refuse((*at, index), f"the name {name!r} is taken by an earlier step", "Give each step its own name.")
        else:
            found[name] = _native(name, {*taken, *found.values()}, (*at, index, "name"), notes)
    return found


def original_name(step: Mapping[str, Json]) -> str | None:
    """The name of a step as written."""
    name = step.get("name", step.get("id"))
    return None if name is None or isinstance(name, list | dict) or not str(name).strip() else str(name)


def _native(name: str, taken: set[str], path: Path, notes: Notes) -> str:
    native = free(slug(name, "step"), taken)
    if native != name:
        notes.add(
            path, f"the step {name!r} is called {native!r} here (small letters, digits and _; one name for one step)"
        )
    return native
