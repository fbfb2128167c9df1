"""What a person thinks of one answer of a run: how good it is, why, and what would have been right."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path

from elexirion_dagster.dialects.load import load_any
from elexirion_dagster.dialects.lookup import find, find_all
from elexirion_dagster.errors import InputError, PipelineError
from elexirion_dagster.operations.pipelines import fits
from elexirion_dagster.records import Json
from elexirion_dagster.redact import Redactor
from elexirion_dagster.reports.report import visible
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.slots import SlotSpec, slots
from elexirion_dagster.store.database import ingest, query
from elexirion_dagster.store.home import Home, open_home
from elexirion_dagster.store.journal import JournalWriter
from elexirion_dagster.store.learned.labels import read_text
from elexirion_dagster.yamlio import load_text

_WORDS: Mapping[str, float] = {"good": 1.0, "bad": 0.0}
_SHORTEST = 4
_SHOWN = 10
_MAX_CHARS = 4_000
_MAX_BYTES = 1_000_000
_RUNS = "SELECT DISTINCT root_run FROM runs WHERE starts_with(run, ?) OR starts_with(root_run, ?) ORDER BY ALL"
_TENANT = "SELECT any_value(tenant) FROM runs WHERE root_run = ?"
_ANSWERS = """
SELECT DISTINCT step_path, slot, pipeline, coalesce(status, 'unfinished') FROM outcomes
WHERE root_run = ? AND call_status = 'replied' AND NOT is_fallback ORDER BY ALL
"""


@dataclass(frozen=True, slots=True)
class Word:
    """What a person says of an answer; `expected` is the file that holds what would have been right.

    `pipeline` is the file or name of the answer's pipeline, where it is not among those that are found.
    """

    mark: str
    comment: str | None = None
    expected: Path | None = None
    pipeline: str | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """The answer that was meant, and its score from 0 to 1."""

    root_run: str
    pipeline: str
    step: str
    path: str
    score: float


def say(settings: Settings, run: str, step: str, word: Word) -> Said:
    """Record a word on an answer: `run` is an id or the beginning of one, `step` a path or the address of a slot.

    InputError for an unknown run or step, a mark that is none, an expected answer that does not fit the step's output.
    """
    score = mark(word.mark)
    home = open_home(settings.home)
    ingest(home)
    root = _root(home, run)
    path, slot, pipeline = _answer(home, root, step)
    if word.comment is not None and len(word.comment) > _MAX_CHARS:
        raise InputError(
            f"a comment of {len(word.comment)} characters came, at most {_MAX_CHARS} are kept", mend="Shorten it."
        )
    expected = (
        None if word.expected is None else _expected(word.expected, _slot(settings, word.pipeline, pipeline, slot))
    )
    said = Redactor(secrets=settings.secrets()).tree({"comment": word.comment, "expected": expected})
    day = f"feedback-{datetime.now(UTC):%Y-%m-%d}"
    ((tenant,),) = query(home, _TENANT, [root]).rows
    with JournalWriter(home, root_run=day, run=day, tenant=tenant) as journal:
        place: dict[str, Json] = {"about": root, "pipeline": pipeline, "step": slot, "step_path": path}
        journal.append("feedback", durable=True, **place, score=score, **said)
    ingest(home)
    return Said(root, pipeline, slot, path, score)


def mark(word: str) -> float:
    """A mark as a score: good, bad or a number from 0 to 1. Raises InputError."""
    if word in _WORDS:
        return _WORDS[word]
    try:
        score = float(word)
    except ValueError:
        score = math.nan
    if not 0 <= score <= 1:
        raise InputError(f"expected good, bad or a number from 0 to 1, came {word!r}", mend="For instance 0.7.")
    return score


def _root(home: Home, run: str) -> str:
    if len(run) < _SHORTEST:
        message = f"the beginning of a run's id has at least {_SHORTEST} characters, {run!r} came"
        raise InputError(message, mend="`elexirion outcomes` lists the runs.")
    match [root for (root,) in query(home, _RUNS, [run, run]).rows]:
        case [root]:
            return str(root)
        case []:
            raise InputError(f"no run begins with {run!r}", mend="`elexirion outcomes` lists the runs.")
        case several:
            raise InputError(f"{len(several)} runs begin with {run!r}", mend="Give more of the id.")


def _answer(home: Home, root: str, step: str) -> tuple[str, str, str]:
    """Path, slot and pipeline of the answer that is meant."""
    answers = query(home, _ANSWERS, [root]).rows
    meant = [one for one in answers if one[0] == step] or [one for one in answers if one[1] == step]
    if not meant:
        paths = [visible(path) for path, *_ in answers]
        close = get_close_matches(step, paths, n=1)
        known = f"Answers: {', '.join(paths[:_SHOWN])}{' …' if len(paths) > _SHOWN else ''}." if paths else None
        raise InputError(
            f"no model answered at {step!r} in run {root}", mend=f"Did you mean {close[0]!r}?" if close else known
        )
    if len(meant) > 1:
        some = ", ".join(visible(path) for path, *_ in meant[:_SHOWN])
        raise InputError(
            f"{step} gave {len(meant)} answers in run {root}",
            mend=f"Name one: {some}{' …' if len(meant) > _SHOWN else ''}",
        )
    path, slot, pipeline, status = meant[0]
    if status != "succeeded":
        message = (
            f"{visible(path)} is {status} in run {root}, and only answers of steps that succeeded are learned from"
        )
        raise InputError(message, mend="Speak of another answer.")
    return path, slot, pipeline


def _slot(settings: Settings, file: str | None, pipeline: str, step: str) -> SlotSpec:
    """The slot as its pipeline's file has it now."""
    try:
        loaded = load_any(find(file or pipeline, settings), find_all(settings))
    except (InputError, PipelineError) as error:
        message = f"the output that the answer must fit is not known, {pipeline} cannot be read: {error.message}"
        raise InputError(message, mend="Name its file with --pipeline.") from error
    if loaded.pipeline.name != pipeline:
        raise InputError(
            f"the answer is one of {pipeline}, {file} is {loaded.pipeline.name}", mend="Name its own file."
        )
    known = {slot.step: slot for slot in slots(loaded.pipeline)}
    if step not in known:
        raise InputError(
            f"{pipeline} has no llm step {step} any more", mend="Name the file it came from with --pipeline."
        )
    return known[step]


def _expected(file: Path, slot: SlotSpec) -> Json:
    """The right answer out of a file: JSON or YAML where the step has an output, else the text. Raises InputError."""
    text = read_text(file, most_bytes=_MAX_BYTES)
    schema = slot.spec.output_schema()
    if schema is None:
        return text.removesuffix("\n")
    try:
        answer = load_text(text).data if file.suffix in (".yaml", ".yml") else json.loads(text)
    except PipelineError as error:
        raise InputError(f"{file}:{error.problems[0]}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{file} is no JSON: {error}", mend="Write the whole answer as JSON, or as YAML in a .yaml file."
        ) from error
    problems = fits(schema)(answer)
    if problems:
        raise InputError(f"{file} does not fit the output of {slot.step}: {'; '.join(problems)}", mend="Mend the file.")
    return answer
