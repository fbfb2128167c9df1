"""Pipelines as files: where they are, what they declare, whether they are right."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from elexirion_dagster.configuration import check_calls, faults
from elexirion_dagster.dialects.examples import examples_file
from elexirion_dagster.dialects.load import Loaded, load_any
from elexirion_dagster.dialects.lookup import find, find_all, shipped
from elexirion_dagster.errors import InputError, PipelineError, Problem
from elexirion_dagster.expressions import Engine
from elexirion_dagster.inputs import complete_inputs, masks_note, without_secrets
from elexirion_dagster.prompting.parse import checker
from elexirion_dagster.records import Json
from elexirion_dagster.redact import Redactor
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.children import Pipelines
from elexirion_dagster.spec.inputs import Input
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.spec.schema import editor_schema
from elexirion_dagster.spec.slots import slots
from elexirion_dagster.spec.smells import smells
from elexirion_dagster.store.learned.labels import labelled
from elexirion_dagster.yamlio import load_text


@dataclass(frozen=True, slots=True)
class Listed:
    """One pipeline file as `elexirion list` shows it; `error` says why it cannot be used."""

    name: str
    file: Path
    pipeline: Pipeline | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Chosen:
    """A pipeline somebody wants to run: its file, itself, those it may run, and the inputs given, checked."""

    file: Path
    pipeline: Pipeline
    pipelines: Pipelines
    inputs: Mapping[str, Json]

    @property
    def note(self) -> str | None:
        """What whoever gave the inputs should know: that the run sees masks in place of secrets."""
        return masks_note(self.inputs)


def scan_file() -> Path:
    """The pipeline behind `elexirion scan`: the packaged one, whatever lies in the scanned folder."""
    return shipped() / "nightly_scan.yaml"


def choose(target: str, assignments: tuple[str, ...], settings: Settings, *, test_steps: bool = False) -> Chosen:
    """The pipeline given by path or name, with inputs from `KEY=VALUE` words. Raises InputError, PipelineError."""
    check_calls(settings)
    file = find(target, settings)
    loaded = load_any(file, find_all(settings), test_steps=test_steps)
    pipeline = loaded.pipeline
    inputs = without_secrets(read_inputs(pipeline, assignments), Redactor(secrets=settings.secrets(pipeline.env)))
    complete = complete_inputs(pipeline, inputs)
    return Chosen(file, pipeline, loaded.pipelines, {name: complete[name] for name in inputs})


def schema() -> dict[str, Json]:
    """The JSON Schema of a pipeline document, for editors."""
    return editor_schema()


def listing(settings: Settings) -> list[Listed]:
    """Every pipeline found, broken ones with their error."""
    rows = []
    known = find_all(settings)
    for name, file in known.items():
        try:
            rows.append(Listed(name, file, load_any(file, known).pipeline, None))
        except PipelineError as error:
            rows.append(Listed(name, file, None, str(error)))
    return rows + [Listed(name, one.file, None, str(one.error)) for name, one in known.refused.items()]


def check(
    targets: list[str], settings: Settings, *, test_steps: bool = False
) -> list[tuple[Path, Loaded | PipelineError]]:
    """Check the settings, and the given files or names, or all that are found; a setting's fault has its name."""
    known = find_all(settings)
    files = targets or [*(str(file) for file in known.values()), *known.refused]
    wrong = [
        (Path(one.variable), PipelineError([Problem(one.message, file=one.variable, mend=one.mend)]))
        for one in faults(settings)
    ]
    return [*wrong, *(_checked(target, settings, known, test_steps=test_steps) for target in files)]


def _checked(
    target: str, settings: Settings, known: Mapping[str, Path], *, test_steps: bool
) -> tuple[Path, Loaded | PipelineError]:
    file = Path(target)
    try:
        file = find(target, settings)
        return file, _with_smells(load_any(file, known, test_steps=test_steps), known)
    except PipelineError as error:
        return file, error
    except InputError as error:
        return file, PipelineError([Problem(error.message, file=target, mend=error.mend)])


def _with_smells(loaded: Loaded, known: Mapping[str, Path]) -> Loaded:
    """What a check says besides what loading says. Raises PipelineError for a labelled row that is wrong."""
    if wrong := list(_wrong_rows(loaded)):
        raise PipelineError(wrong)
    found = [
        loaded.document.problem(issue.message, issue.path, issue.mend)
        for issue in smells(loaded.pipeline, Engine(), loaded.pipelines)
    ]
    found += _unfit_fallbacks(loaded, known)
    order = sorted([*loaded.warnings, *found], key=lambda problem: (problem.line or 0, problem.column or 0))
    return replace(loaded, warnings=order)


def _unfit_fallbacks(loaded: Loaded, known: Mapping[str, Path]) -> Iterator[Problem]:
    """Rules that would park the run: their pipeline is not there, is wrong, or needs what this one does not have."""
    for index, rule in enumerate(loaded.pipeline.fallback):
        if rule.run is None:
            continue
        message, mend = f"there is no pipeline {rule.run!r} to run after a failure", "`elexirion list` has the names."
        if rule.run in known:
            try:
                other = load_any(known[rule.run], known).pipeline
            except PipelineError:
                message, mend = f"{rule.run}, to run after a failure, cannot be used", f"`elexirion check {rule.run}`"
            else:
                needed = [name for name, one in other.inputs.items() if one.required]
                missing = [name for name in needed if name not in loaded.pipeline.inputs]
                if not missing:
                    continue
                message = f"{rule.run}, to run after a failure, needs the input {missing[0]}, which is not one here"
                mend = "Declare it here, or give it a default there."
        yield loaded.document.problem(f"{message}: the run would be parked", ("fallback", index, "run"), mend)


def _wrong_rows(loaded: Loaded) -> Iterator[Problem]:
    """The first wrong row of each file of labelled rows."""
    known = {slot.step: slot for slot in slots(loaded.pipeline)} if loaded.pipeline.examples else {}
    for step, reference in loaded.pipeline.examples.items() if loaded.document.file else ():
        schema = known[step].spec.output_schema()
        try:
            labelled(
                examples_file(Path(str(loaded.document.file)), reference),
                loaded.pipeline.name,
                step,
                paths=known[step].inputs(Engine()),
                check=fits(schema),
            )
        except InputError as error:
            yield Problem(error.message, mend=error.mend)


def fits(schema: Mapping[str, Json] | None) -> Callable[[Json], Sequence[str]]:
    """What is wrong with an answer that a step should give: text without a schema."""
    if schema is not None:
        return checker(schema)
    return lambda answer: () if isinstance(answer, str) else ("expected text, the step has no output",)


def read_inputs(pipeline: Pipeline, assignments: tuple[str, ...]) -> dict[str, Json]:
    """Inputs from `KEY=VALUE` words, read by the declared type. Raises InputError naming the word."""
    given: dict[str, Json] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        name = key if key in pipeline.inputs else key.lower()
        if not equals:
            raise InputError(f"expected KEY=VALUE, got {assignment!r}", mend="Write the input as key=value.")
        if name not in pipeline.inputs:
            known = ", ".join(f"{known}=…" for known in pipeline.inputs) or "none"
            raise InputError(f"{assignment!r} is no input of {pipeline.name}", mend=f"Its inputs: {known}")
        given[name] = _read(name, pipeline.inputs[name], text)
    return given


def _read(name: str, declared: Input, text: str) -> Json:
    """One value from the command line: text for strings and paths, YAML for everything else."""
    if declared.type in ("string", "path"):
        return text
    try:
        value = load_text(text).data
    except PipelineError as error:
        raise InputError(f"{name}={text} is not {declared.kind}: {error.problems[0].message}") from error
    if not declared.accepts(value):
        raise InputError(f"{name} must be {declared.kind}, got {text!r}", mend=_example(name, declared))
    return value


def _example(name: str, declared: Input) -> str:
    examples: Mapping[str, str] = {
        "integer": "3",
        "number": "0.5",
        "boolean": "true",
        "list": "'[a, b]'",
        "object": "'{a: 1}'",
    }
    return f"For instance {name}={examples[declared.type]}."
