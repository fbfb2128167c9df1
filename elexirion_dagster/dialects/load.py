"""Documents to pipelines: read, recognise the dialect, validate, check; every fault with its position."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from elexirion_dagster.dialects.examples import missing_examples
from elexirion_dagster.dialects.library import NO_FILES, Library
from elexirion_dagster.dialects.pipeline_ex.notes import Note
from elexirion_dagster.dialects.pipeline_ex.structure import is_theirs, translate
from elexirion_dagster.errors import PipelineError, Problem
from elexirion_dagster.expressions import Engine
from elexirion_dagster.spec.base import NAME_PATTERN
from elexirion_dagster.spec.check import check
from elexirion_dagster.spec.children import Pipelines
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.spec.steps import STEP_MODELS
from elexirion_dagster.yamlio import Document, load_file, load_text

_EXPECTED = {
    **dict.fromkeys(("tuple_type", "list_type"), "a list"),
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "a map"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    "string_type": "a text",
    "finite_number": "a finite number",
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A pipeline, its document, what is doubtful about it, and the pipelines that it may run."""

    pipeline: Pipeline
    document: Document
    """The native document; its positions are those of the file, whatever dialect that is written in."""
    warnings: list[Problem] = field(default_factory=list)
    pipelines: Pipelines = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    """What was changed in a document of another dialect, or could not be honoured; warnings too."""


def load_any(path: Path, known: Mapping[str, Path] = NO_FILES, *, test_steps: bool = False) -> Loaded:
    """Load the pipeline in a file, ours or pipeline_ex's, and those it may run.

    `known` are the files of the pipelines that may be named; other files lie below the folder of the one that names
    them, or beside a known one. `test_steps` allows the steps of pipeline_ex's test fixtures. Raises PipelineError with
    every fault's file, line and mend.
    """
    source = load_file(path)
    document, notes = _ours(source, test_steps=test_steps)
    loaded = _loaded(document, _shaped(document), Library(partial(_read, test_steps=test_steps), known, path))
    if document is source:
        _check_stem(document, loaded.pipeline, path)
    return _noted(loaded, notes)


def load_string(
    text: str, *, file: str | None = None, known: Mapping[str, Path] = NO_FILES, test_steps: bool = False
) -> Loaded:
    """Load the pipeline in a text. Raises PipelineError like `load_any`."""
    document, notes = _ours(load_text(text, file=file), test_steps=test_steps)
    library = Library(partial(_read, test_steps=test_steps), known)
    return _noted(_loaded(document, _shaped(document), library), notes)


def _ours(document: Document, *, test_steps: bool) -> tuple[Document, tuple[Note, ...]]:
    """The native document, and what was changed on the way there."""
    if not is_theirs(document.data):
        return document, ()
    native = translate(document, test_steps=test_steps)
    return native.document, native.notes


def _noted(loaded: Loaded, notes: tuple[Note, ...]) -> Loaded:
    said = [Problem(f"{note.key}: {note.said}", loaded.document.file, note.line) for note in notes]
    return replace(loaded, warnings=[*said, *loaded.warnings], notes=notes)


def _read(path: Path, *, test_steps: bool) -> tuple[Document, Pipeline]:
    """A file's document and the pipeline in it, which has the right shape and name and is not checked further."""
    source = load_file(path)
    document, _ = _ours(source, test_steps=test_steps)
    pipeline = _shaped(document)
    if document is source:
        _check_stem(document, pipeline, path)
    return document, pipeline


def _check_stem(document: Document, pipeline: Pipeline, path: Path) -> None:
    if pipeline.name != path.stem:
        mend = f"Call the pipeline {path.stem!r} or the file {pipeline.name}.yaml."
        message = f"the name {pipeline.name!r} is not the file's stem {path.stem!r}"
        raise PipelineError([document.problem(message, ("name",), mend)])


def _shaped(document: Document) -> Pipeline:
    if not isinstance(document.data, dict):
        mend = "A pipeline begins with name: and steps:."
        raise PipelineError([document.problem("expected a map of pipeline keys", (), mend)])
    try:
        return Pipeline.model_validate(document.data)
    except ValidationError as error:
        raise PipelineError(_problems(document, error.errors())) from error


def _loaded(document: Document, pipeline: Pipeline, library: Library) -> Loaded:
    """The pipeline, checked together with those it may run, whose faults stand after its own."""
    family = library.family(document, pipeline)
    faults: list[Problem] = []
    warnings: list[Problem] = []
    for index, (source, member) in enumerate(family.members.values()):
        issues = check(member, Engine(), family.pipelines)
        faults += missing_examples(source, member)
        for issue in sorted(issues, key=lambda issue: source.position(issue.path)):
            found = source.problem(issue.message, issue.path, issue.mend)
            if not issue.warning:
                faults.append(found)
            elif index == 0:
                warnings.append(found)
    if faults or family.problems:
        raise PipelineError([*family.problems, *faults])
    return Loaded(pipeline, document, warnings, family.pipelines)


def _problems(document: Document, details: list[ErrorDetails]) -> list[Problem]:
    """The faults in the order of the document; a list is not blamed for what is wrong inside it, a value only once."""
    faults: dict[tuple[int, int, str], Problem] = {}
    paths = [_document_path(document.data, detail["loc"]) for detail in details]
    for detail, path in zip(details, paths, strict=True):
        inside = any(len(other) > len(path) and other[: len(path)] == path for other in paths)
        if detail["type"] == "too_short" and inside:
            continue
        problem = _problem(document, detail)
        place = (problem.line or 0, problem.column or 0, str(path) if _is_shape(detail) else problem.message)
        faults.setdefault(place, problem)
    return [faults[place] for place in sorted(faults)]


def _is_shape(detail: ErrorDetails) -> bool:
    """Whether the value has the wrong type; each alternative of a union says so again."""
    return detail["type"].endswith("_type")


def _problem(document: Document, detail: ErrorDetails) -> Problem:
    """One of pydantic's errors in our words, at its place in the document."""
    path = _document_path(document.data, detail["loc"])
    if detail["type"] == "extra_forbidden":
        key = str(detail["loc"][-1])
        return document.problem(f"unknown key {_short(key)}", path, _meant(key, _known_keys(document.data, path[:-1])))
    if detail["type"] == "union_tag_invalid":
        path = (*path, "type")
    message, mend = _wording(detail, _where(path))
    return document.problem(message, path, mend)


def _wording(detail: ErrorDetails, where: str) -> tuple[str, str | None]:
    """What is wrong and how to mend it."""
    kind, context, came = detail["type"], detail.get("ctx", {}), _short(detail["input"])
    mend = None
    match kind:
        case "missing":
            message, mend = f"the key {detail['loc'][-1]!r} is missing", "Add it."
        case "union_tag_invalid":
            tag = str(context.get("tag"))
            message, mend = f"unknown step type {_short(tag)}", _meant(tag, list(STEP_MODELS))
        case "union_tag_not_found":
            message, mend = "the step has no type", f"Types: {', '.join(STEP_MODELS)}."
        case "string_pattern_mismatch":
            message = f"{came} {_no_match(str(context.get('pattern')))}"
        case "value_error":
            message = str(context.get("error", detail["msg"]))
        case "literal_error":
            message = f"{where}expected {context.get('expected')}, got {came}"
            mend = _near(str(detail["input"]), str(context.get("expected")))
        case "too_short":
            message = f"{where}expected at least {context.get('min_length')} entry, got none"
        case _:
            expected = _EXPECTED.get(kind, detail["msg"].removeprefix("Input should be ").lower())
            message = f"{where}expected {expected}, got {came}"
    return message, mend


def _no_match(pattern: str) -> str:
    if pattern == NAME_PATTERN:
        return "is no name: small letters, digits and _, a letter first"
    return f"does not have the form {pattern}"


def _near(word: str, expected: str) -> str | None:
    close = get_close_matches(word, re.findall(r"'([^']+)'", expected), n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}?" if close else None


def _document_path(data: Any, loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Pydantic's location without the tags and type names that it adds and the document does not have."""
    path: list[str | int] = []
    for index, part in enumerate(loc):
        if isinstance(data, dict) and (part in data or index == len(loc) - 1) and not _is_tag(data, part):
            path.append(part)
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            path.append(part)
            data = data[part]
    return tuple(path)


def _is_tag(data: dict[str, Any], part: str | int) -> bool:
    return part not in data and data.get("type") == part


def _known_keys(data: Any, path: tuple[str | int, ...]) -> list[str]:
    """The keys that the model at a path of the document knows."""
    model: type[BaseModel] | None = Pipeline
    for part in path:
        data = data[part]
        if isinstance(part, int) and isinstance(data, dict) and str(data.get("type")) in STEP_MODELS:
            model = STEP_MODELS[str(data["type"])]
        elif isinstance(part, str):
            model = _model_of_field(model, part, data)
    return [info.alias or name for name, info in model.model_fields.items()] if model else []


def _model_of_field(model: type[BaseModel] | None, key: str, value: Any) -> type[BaseModel] | None:
    """The model behind one key of a model (also as the values of a map or the items of a list), if it has one.

    Of several forms it is the one that has most keys in common with the value.
    """
    if model is None:
        return None
    fields = {info.alias or name: info.annotation for name, info in model.model_fields.items()}
    if key not in fields:
        return model
    given = value if isinstance(value, dict) else {}
    return max(_models(fields[key]), key=lambda form: len(form.model_fields.keys() & given.keys()), default=None)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _models(part)


def _meant(word: str, known: list[str]) -> str | None:
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known here: {', '.join(sorted(known))}." if known else None


def _where(path: tuple[str | int, ...]) -> str:
    return f"{path[-1]}: " if path and isinstance(path[-1], str) else ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - as wide as a terminal's half
