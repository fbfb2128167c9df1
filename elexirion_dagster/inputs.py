"""What a run is given: its inputs, complete and checked, without secrets; the places that they let it read."""

from collections.abc import Mapping
from pathlib import Path

from elexirion_dagster.errors import InputError
from elexirion_dagster.records import Json
from elexirion_dagster.redact import Redactor, has_mask
from elexirion_dagster.spec.pipeline import Pipeline

_LONGEST_PATH = 4096


def complete_inputs(pipeline: Pipeline, given: Mapping[str, Json]) -> dict[str, Json]:
    """Given inputs with defaults filled in and paths made absolute. Raises InputError naming the input."""
    unknown = [name for name in given if name not in pipeline.inputs]
    if unknown:
        known = ", ".join(pipeline.inputs) or "none"
        raise InputError(f"{pipeline.name} has no input {unknown[0]!r}", mend=f"Its inputs: {known}.")
    complete: dict[str, Json] = {}
    for name, declared in pipeline.inputs.items():
        if name not in given and declared.required:
            raise InputError(f"{pipeline.name} needs the input {name} ({declared.type})", mend=f"Give {name}=…")
        value = given.get(name, declared.default)
        if name in given and not declared.accepts(value):
            allowed = f" out of {list(declared.enum)}" if declared.enum else ""
            raise InputError(f"the input {name} must be {declared.kind}{allowed}, got {value!r}")
        complete[name] = str(_place(name, value)) if declared.type == "path" and value else value
    return complete


def without_secrets(inputs: Mapping[str, Json], redactor: Redactor) -> dict[str, Json]:
    """The same inputs, with a mask for whatever looks like a secret: this is what a run sees and what is kept.

    A path of something that exists stays as it is, whatever it looks like. Masking twice changes nothing. Raises
    InputError for inputs that are nested too deeply.
    """
    try:
        masked: dict[str, Json] = redactor.masked(dict(inputs), keep=is_place)[0]
    except RecursionError as error:
        raise InputError("the inputs are nested too deeply", mend="Put them into a file.") from error
    return masked


def masks_note(inputs: Mapping[str, Json]) -> str | None:
    """What to say to whoever gave inputs that hold masks; None where there are none."""
    names = [name for name, value in inputs.items() if has_mask(value)]
    if not names:
        return None
    return (
        f"The run sees a mask in place of what looks like a secret in its inputs: {', '.join(names)}.\n"
        "  Put a secret into an environment variable, list the variable under `env:` in the pipeline, "
        "and write {{ env.NAME }} where the secret is used."
    )


def is_place(value: str) -> bool:
    """Whether a text is the path of something that exists, and so no secret."""
    if len(value) > _LONGEST_PATH or not ("/" in value or value.startswith("~")):
        return False
    try:
        return Path(value).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False


def readable_places(pipeline: Pipeline, inputs: Mapping[str, Json]) -> tuple[Path, ...]:
    """The places that the `path` inputs name, as they are written."""
    names = [name for name, declared in pipeline.inputs.items() if declared.type == "path" and inputs[name]]
    return tuple(Path(inputs[name]) for name in names)


def granted(pipeline: Pipeline, inputs: Mapping[str, Json]) -> tuple[Path, ...]:
    """The real places that the `path` inputs name."""
    return tuple(place.resolve() for place in readable_places(pipeline, inputs))


def _place(name: str, value: str) -> Path:
    """The absolute path of a `path` input, whether or not there is anything."""
    try:
        place = Path(value).expanduser().absolute()
        place.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"the input {name}={value!r} is no usable path: {error}", mend="Name a place.") from error
    return place
