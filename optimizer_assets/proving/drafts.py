"""What can be said of a candidate's text before anybody asks what it is worth."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.prompting.parse import checker
from elexirion_dagster.records import Json, counted
from elexirion_dagster.redact import Redactor
from elexirion_dagster.store.learned.learning import Row
from optimizer_assets.asking.rendering import Turns
from optimizer_assets.rows.texts import normal, runs_of, texts_of, words, written
from optimizer_assets.task import Candidate, Task

SYSTEM_CHARS, EXAMPLES, SLOT_CHARS = 10_000, 16, 60_000
"""The longest system text, the most examples, the longest slot in all; a base that is longer is its own limit."""
RUN_WORDS, WHOLE_WORDS = 8, 4
"""A run of so many words out of a row is a copy; of a shorter text the whole, if it has at least WHOLE_WORDS."""
_EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Check:
    """One thing the gate looked at: whether it holds, why, and the figures behind it."""

    name: str
    passed: bool
    why: str
    figures: Mapping[str, Json] = field(default_factory=dict)


Asked = Mapping[str, str | ElexirionError]
"""What the user's turn says for each row, by its key; or why it does not render."""


def asked_of(task: Task, rows: Sequence[Row]) -> Asked:
    """The user's turns of rows, rendered as a run renders them."""
    turns, asked = Turns(task.spec), dict[str, str | ElexirionError]()
    for row in rows:
        try:
            asked[row.key] = turns.user(row)
        except ElexirionError as error:
            asked[row.key] = error
    return asked


def renders(task: Task, candidate: Candidate, asked: Asked) -> Check:
    """Every variable of the template has a value in every row, and nothing is left that still waits for one."""
    wrong = [*_unresolved(asked), *_left_over(task, candidate), *_bad_answers(task, candidate)]
    if wrong:
        return Check("renders", passed=False, why=_some(wrong), figures={"faults": len(wrong)})
    said = f"{counted(len(asked), 'row')} and {counted(len(candidate.examples), 'example')} render whole"
    return Check("renders", passed=True, why=said)


def lengths(task: Task, candidate: Candidate) -> Check:
    """The slot is no longer than a prompt should be, or than the base is."""
    mine, base = _sizes(candidate), _sizes(task.base)
    limits = {"system_chars": SYSTEM_CHARS, "examples": EXAMPLES, "slot_chars": SLOT_CHARS}
    over = [
        f"expected at most {most} {name}, came {mine[name]}"
        for name, limit in limits.items()
        if mine[name] > (most := max(limit, base[name]))
    ]
    said = _some(over) if over else f"{mine['slot_chars']} characters, {counted(mine['examples'], 'example')}"
    return Check("lengths", passed=not over, why=said, figures=mine)


def leaks(task: Task, candidate: Candidate, train: Sequence[Row], holdout: Sequence[Row], asked: Asked) -> Check:
    """The instructions copy no row, and no example is a holdout row: what is learned by heart proves nothing."""
    known = {run for text in _own_texts(task) for run in _pieces(words(text))}
    said = words(candidate.system or "")
    mine = {run for length in range(WHOLE_WORDS, RUN_WORDS + 1) for run in runs_of(said, length)} - known
    copied = [
        f"the instructions copy “{' '.join(run)}” from {part} row {row.key[:12]}"
        for part, rows in (("training", train), ("holdout", holdout))
        for row in rows
        for run in islice(_copied(row, mine), 1)
    ]
    shown = {normal(user) for user, _ in candidate.examples}
    copied += [
        f"an example is holdout row {key[:12]}"
        for key, text in asked.items()
        if isinstance(text, str) and normal(text) in shown
    ]
    why = _some(copied) if copied else f"no run of {RUN_WORDS} words comes from {len(train) + len(holdout)} rows"
    return Check("leaks", passed=not copied, why=why, figures={"copies": len(copied), "run_words": RUN_WORDS})


def secrets(candidate: Candidate, redactor: Redactor) -> Check:
    """Nothing in the slot looks like a key or matches what the user wants hidden; the secret itself is not named."""
    parts: list[tuple[str, Json]] = [("the system text", candidate.system or "")]
    for number, (user, answer) in enumerate(candidate.examples, 1):
        parts += [(f"example {number}", user), (f"the answer of example {number}", answer)]
    found = [f"{name} holds a secret" for name, value in parts if written(redactor.tree(value)) != written(value)]
    return Check(
        "secrets", passed=not found, why=_some(found) if found else "none found", figures={"found": len(found)}
    )


def _unresolved(asked: Asked) -> Iterator[str]:
    for key, text in asked.items():
        if isinstance(text, ElexirionError):
            yield f"row {key[:12]}: {text.message}"
        elif not text.strip():
            yield f"row {key[:12]} renders to nothing"


def _left_over(task: Task, candidate: Candidate) -> Iterator[str]:
    """Placeholders: a system text is sent as written, an example's user turn is rendered already."""
    own = {mark for text in _own_texts(task, template=False) for mark in _EXPRESSION.findall(text)}
    for mark in sorted({*_EXPRESSION.findall(candidate.system or "")} - own):
        yield f"the system text is sent as written, and holds {mark[:80]}"
    template = {mark for turn in task.spec.turns() for mark in _EXPRESSION.findall(turn.content)}
    for number, (user, _) in enumerate(candidate.examples, 1):
        if not user.strip():
            yield f"the user turn of example {number} is empty"
        for mark in sorted(template & {*_EXPRESSION.findall(user)}):
            yield f"the user turn of example {number} still holds {mark[:80]}"


def _bad_answers(task: Task, candidate: Candidate) -> Iterator[str]:
    schema = task.spec.output_schema()
    problems = checker(schema) if schema is not None else _no_text
    for number, (_, answer) in enumerate(candidate.examples, 1):
        for problem in problems(answer)[:1]:
            yield f"the answer of example {number} is not what the step answers: {problem}"


def _no_text(answer: Json) -> list[str]:
    return [] if isinstance(answer, str) and answer.strip() else ["expected text"]


def _sizes(candidate: Candidate) -> dict[str, int]:
    system = len(candidate.system or "")
    shown = sum(len(user) + len(written(answer)) for user, answer in candidate.examples)
    return {"system_chars": system, "examples": len(candidate.examples), "slot_chars": system + shown}


def _own_texts(task: Task, *, template: bool = True) -> list[str]:
    """What people wrote for this slot: whoever repeats it, copies no row."""
    turns = [turn.content for turn in task.spec.turns()] if template else []
    schema = [written(task.spec.output_schema())] if template else []
    return [task.base.system or "", *task.settings.instructions, *turns, *schema]


def _copied(row: Row, mine: set[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    for text in (*texts_of(row.inputs), *texts_of(row.expected)):
        listed = words(text)
        if len(listed) >= WHOLE_WORDS:
            yield from (run for run in runs_of(listed, min(len(listed), RUN_WORDS)) if run in mine)


def _pieces(listed: list[str]) -> Iterator[tuple[str, ...]]:
    for length in range(WHOLE_WORDS, RUN_WORDS + 1):
        yield from runs_of(listed, length)


def _some(sentences: Sequence[str]) -> str:
    more = f"; and {len(sentences) - _NAMED} more" if len(sentences) > _NAMED else ""
    return "; ".join(sentences[:_NAMED]) + more
