"""The arm that shows examples: sets of rows whose answers are known to be good, tried one after another. No dspy.

What dspy's BootstrapFewShotWithRandomSearch does, without its prints, its sequential teacher, its second attempts at
slow rows and its threshold on the truth of an object: the same questions and answers, balanced over the answers.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest

from elexirion_dagster.prompting.parse import checker
from elexirion_dagster.records import Json
from elexirion_dagster.store.learned.learning import Row
from optimizer_assets.rows.texts import written
from optimizer_assets.searching.search import Search
from optimizer_assets.task import Candidate, How

GOOD = 0.99
"""What an answer must be worth to be shown as an example."""
SIZES = (4, 8, 16)
"""Examples in a set; at least one of each kind of answer where there are few kinds."""
MOST_KINDS = 16
MOST_CHARS, MOST_TOTAL_CHARS = 4_000, 24_000
"""Characters of one example, and of all of a set."""

Example = tuple[str, Json]


def show(search: Search, rounds: int) -> None:
    """Try sets of examples with the best text so far, in at most so many rounds. Raises ElexirionError."""
    pool = good_examples(search)
    if not pool:
        search.notes.append("no row has an answer that is known to be good and fits, so no examples were tried")
        return
    system = search.best.candidate.system
    how: How = "bootstrap" if system == search.task.base.system else "combined"
    for number in range(rounds):
        if search.perfect or not search.room(len(search.validation)):
            return
        search.measure(Candidate(system, drawn(pool, number, search.asker.seed)), how)


def good_examples(search: Search) -> tuple[Example, ...]:
    """A question and its good answer for each row that has one: the expected answer, else what the model answered."""
    fits = _fitting(search.asker.schema)
    known = [(row, _known(search, row, fits)) for row in search.train]
    asked = [row for row, answer in known if answer is None]
    own: dict[str, Json] = {}
    if asked and search.room(len(asked) + len(search.validation)):
        tried = search.asker.try_all(search.task.base, asked)
        own = {one.row.key: one.answer for one in tried if one.error is None and one.score >= GOOD}
    answers = ((row, own.get(row.key) if answer is None else answer) for row, answer in known)
    pairs = ((search.asker.turns.user(row), answer) for row, answer in answers if answer is not None)
    redact = search.asker.channel.redactor
    clean = ((redact.text(user), redact.tree(answer)) for user, answer in pairs)
    return tuple(pair for pair in clean if len(pair[0]) + len(written(pair[1])) <= MOST_CHARS)


def _known(search: Search, row: Row, fits: Callable[[Json], bool]) -> Json | None:
    """The expected answer where it is a whole answer that the metric finds good, else the run's own good one."""
    for answer in (row.expected, row.answer if (row.score or 0.0) >= GOOD else None):
        if answer is not None and fits(answer) and search.asker.scored(row, answer).score >= GOOD:
            return answer
    return None


def _fitting(schema: Mapping[str, Json] | None) -> Callable[[Json], bool]:
    """Whether an answer is one that the step could have given: a label may be only a part of it."""
    if schema is None:
        return lambda answer: isinstance(answer, str)
    problems = checker(schema)
    return lambda answer: not problems(answer)


def drawn(pool: Sequence[Example], number: int, seed: int) -> tuple[Example, ...]:
    """The set of a round: by kind of answer in turns, so that none is shown more than others; in mixed order."""
    chance = random.Random(f"{seed} {number}")  # noqa: S311 - the same every time is what is wanted
    kinds = _kinds(pool)
    size = max(SIZES[number % len(SIZES)], len(kinds))
    for kind in kinds:
        chance.shuffle(kind)
    chosen = [example for turn in zip_longest(*kinds) for example in turn if example is not None][:size]
    chance.shuffle(chosen)
    return _within(chosen)


def _kinds(pool: Sequence[Example]) -> list[list[Example]]:
    """The examples by answer where answers are of few kinds, else all together."""
    kinds = defaultdict[str, list[Example]](list)
    for example in pool:
        kinds[written(example[1])].append(example)
    return list(kinds.values()) if len(kinds) <= MOST_KINDS else [list(pool)]


def _within(chosen: Sequence[Example]) -> tuple[Example, ...]:
    """As many of them as a prompt should hold."""
    kept, left = list[Example](), MOST_TOTAL_CHARS
    for user, answer in chosen:
        left -= len(user) + len(written(answer))
        if left >= 0:
            kept.append((user, answer))
    return tuple(kept)
