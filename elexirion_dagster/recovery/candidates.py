"""Documents derived from failed pipelines: kept, checked before they run, and never more than what they came from."""

from collections.abc import Mapping
from pathlib import Path

from elexirion_dagster.dialects.load import Loaded, load_string
from elexirion_dagster.errors import InputError, PolicyError
from elexirion_dagster.recovery.decide import Find
from elexirion_dagster.recovery.derive import candidate_name, document, document_hash
from elexirion_dagster.spec.changes import Change
from elexirion_dagster.spec.children import every_step, pipeline_hash
from elexirion_dagster.spec.command import CommandStep
from elexirion_dagster.spec.llm import LlmStep
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.store.failures.recoveries import Past
from elexirion_dagster.store.home import Home, check_name, storage_error, write_atomically


def candidate_file(home: Home, run: str) -> Path:
    """Where the document derived after the failure of this run lies."""
    return home.recoveries / f"{check_name(run)}.yaml"


def derive(loaded: Loaded, change: Change, run: str, known: Mapping[str, Path]) -> str:
    """The derived document, checked by the loader of all documents. Raises PipelineError, PolicyError."""
    text = document(loaded.pipeline, change, candidate_name(loaded.pipeline.name, run))
    check_contained(load_string(text, known=known).pipeline, loaded.pipeline)
    return text


def keep(home: Home, run: str, text: str) -> Path:
    """Write the candidate into the home."""
    file = candidate_file(home, run)
    try:
        file.parent.mkdir(mode=0o700, exist_ok=True)
        write_atomically(file, text.encode())
    except OSError as error:
        raise storage_error(error, file) from error
    return file


def check_contained(candidate: Pipeline, original: Pipeline) -> None:
    """Refuse a document with more tools, programs, paths or money than the one it came from: PolicyError."""
    for what, mine, theirs in (
        ("tools", _tools(candidate), _tools(original)),
        ("programs", _programs(candidate), _programs(original)),
        ("environment variables", set(candidate.env), set(original.env)),
    ):
        if mine - theirs:
            raise _more(what, ", ".join(sorted(mine - theirs)))
    if (candidate.inputs, candidate.workspace) != (original.inputs, original.workspace):
        raise _more("paths", "its inputs or its workspace differ")
    if candidate.budget != original.budget or _budgets(candidate) != _budgets(original):
        raise _more("money", "its budgets differ")


def _more(what: str, found: str) -> PolicyError:
    message = f"the derived document has other {what} than the pipeline it came from: {found}"
    return PolicyError(message, cause="tool_denied", mend="Recover the run with a document that was derived here.")


def _tools(pipeline: Pipeline) -> set[str]:
    steps = [step for step in every_step(pipeline.steps) if isinstance(step, LlmStep)]
    return {f"{step.name}: {tool}" for step in steps for tool in step.tool_names()}


def _programs(pipeline: Pipeline) -> set[str]:
    granted = {
        f"{step.name}: {program}"
        for step in every_step(pipeline.steps)
        if isinstance(step, LlmStep)
        for program in step.programs()
    }
    commands = {f"{step.name}: {step.run}" for step in every_step(pipeline.steps) if isinstance(step, CommandStep)}
    return granted | commands


def _budgets(pipeline: Pipeline) -> list[tuple[str, object]]:
    return [(step.name, step.budget) for step in every_step(pipeline.steps)]


def verified(home: Home, run: str, past: Past, find: Find) -> tuple[Loaded, Change]:
    """The pipeline that a kept document was derived from, and what it changes of that. Raises ElexirionError.

    The document must be, word for word, what the recorded decision about a known failed run makes of the pipeline.
    """
    line = past.decided.get(run)
    if line is None or line["action"] != "derive":
        raise InputError(f"{run} is no failed run that a document was derived for", mend="`elexirion recoveries list`")
    loaded = find(line["pipeline"])
    if past.hashes.get(run) not in (None, pipeline_hash(loaded.pipeline, loaded.pipelines)):
        raise InputError(f"{loaded.pipeline.name} was changed since {run}", mend="Start a new run.")
    try:
        text = candidate_file(home, run).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"the document derived for {run} cannot be read: {error}", mend="Start a new run.") from error
    change = Change.model_validate(line["change"])
    expected = document(loaded.pipeline, change, candidate_name(loaded.pipeline.name, run))
    if text != expected or document_hash(text) != line["document"]:
        raise PolicyError(
            f"the document of {run} is not what was derived from {loaded.pipeline.name}",
            cause="tool_denied",
            mend="Adopt a document to run it with changes of your own: `elexirion recoveries adopt`.",
        )
    return loaded, change
