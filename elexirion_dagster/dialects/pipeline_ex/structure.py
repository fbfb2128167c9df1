"""Which documents are pipeline_ex's, and where in them the pipeline stands."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath

from elexirion_dagster.dialects.pipeline_ex.naming import slug
from elexirion_dagster.dialects.pipeline_ex.notes import Note, Notes, Path
from elexirion_dagster.dialects.pipeline_ex.pipelines import root_pipeline
from elexirion_dagster.dialects.pipeline_ex.placed import settled
from elexirion_dagster.dialects.pipeline_ex.steps.catalog import KINDS
from elexirion_dagster.errors import PipelineError
from elexirion_dagster.records import Json
from elexirion_dagster.spec.steps import STEP_MODELS
from elexirion_dagster.yamlio import Document

_THEIRS = frozenset(KINDS) - frozenset(STEP_MODELS)


@dataclass(frozen=True, slots=True)
class Native:
    """The native document, whose positions are those of the original, and what was changed on the way."""

    document: Document
    notes: tuple[Note, ...]


def is_theirs(data: Json) -> bool:
    """Whether a document is written for pipeline_ex rather than for us."""
    if isinstance(data, list):
        return _has_their_steps(data)
    if not isinstance(data, dict):
        return False
    return "workflow" in data or _is_specification(data) or "pipeline" in data or _has_their_steps(data.get("steps"))


def translate(document: Document, *, test_steps: bool = False) -> Native:
    """Turn a document of theirs into one of ours.

    Raises PipelineError with every fault's place in the original.
    """
    document = _mapped(document)
    notes = Notes(document)
    data, at = _pipeline_in(document)
    folder = FilePath(document.file).absolute().parent if document.file else None
    name = _name(document, data, at, notes)
    made = root_pipeline(data, at, name, notes, folder, test_steps=test_steps)
    if notes.faults:
        raise PipelineError(sorted(notes.faults, key=lambda fault: (fault.line or 0, fault.column or 0)))
    return Native(settled(made, document), notes.listed())


def _mapped(document: Document) -> Document:
    """A bare list of steps as the steps of a pipeline."""
    if not isinstance(document.data, list):
        return document
    positions = {("steps", *path): place for path, place in document.positions.items()}
    return Document({"steps": document.data}, document.file, document.text, positions)


def _has_their_steps(steps: Json) -> bool:
    return isinstance(steps, list) and any(isinstance(step, dict) and _is_their_step(step) for step in steps)


def _is_their_step(step: Mapping[str, Json]) -> bool:
    kind, prompt = step.get("type"), step.get("prompt")
    if isinstance(kind, str) and kind in _THEIRS:
        return True
    parts = isinstance(prompt, list) and any(isinstance(part, dict) and "type" in part for part in prompt)
    return parts or (kind == "llm" and "provider" in step)


def _is_specification(data: Mapping[str, Json]) -> bool:
    return "expected_output" in data and "steps" not in data and "workflow" not in data


def _pipeline_in(document: Document) -> tuple[Mapping[str, Json], Path]:
    """The map that holds name and steps, and where it is."""
    data = document.data
    if not isinstance(data, dict):
        raise PipelineError([document.problem("expected a map of pipeline keys")])
    if _is_specification(data):
        message = "this is a specification of a pipeline (input and expected_output), not a pipeline"
        mend = "Save what stands under expected_output as a file of its own to run it."
        raise PipelineError([document.problem(message, ("expected_output",), mend)])
    for key in ("workflow", "pipeline"):
        inner = data.get(key)
        if isinstance(inner, dict) and (key == "workflow" or "steps" not in data):
            beside = {other: value for other, value in data.items() if other != key and other not in inner}
            return {**beside, **inner}, (key,)
        if isinstance(inner, dict):
            return {**inner, **{other: value for other, value in data.items() if other != key}}, ()
        if key == "pipeline" and isinstance(inner, str):
            return {"name": inner, **{other: value for other, value in data.items() if other != key}}, ()
    if "workflow" in data:
        mend = "Indent name: and steps: under workflow:."
        raise PipelineError([document.problem("workflow: expected a map of pipeline keys", ("workflow",), mend)])
    return data, ()


def _name(document: Document, data: Mapping[str, Json], at: Path, notes: Notes) -> str:
    """The file's stem, else the document's own name, in the form that names have."""
    stem = FilePath(document.file).name.partition(".")[0] if document.file else None
    wanted = stem or str(data.get("name") or "pipeline")
    name = slug(wanted, "pipeline")
    if stem and name != stem:
        notes.add((*at, "name"), f"the file {stem!r} is the pipeline {name!r} here", key="name")
    return name
