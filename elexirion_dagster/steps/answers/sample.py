"""Several independent answers to one question, and the one that most of them agree on."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from elexirion_dagster.records import Json, StepResult
from elexirion_dagster.steps.answers.asking import Asking
from elexirion_dagster.steps.answers.question import Question
from elexirion_dagster.steps.context import StepContext
from elexirion_dagster.steps.sequence import add_costs, add_usage

_SHOWN_CHARS = 200


def sampled(question: Question, ctx: StepContext, samples: int) -> StepResult:
    """The most common answer (ties: the first) of those that came; failed when none did. `results` has all."""
    asked: dict[int, StepResult] = {}

    def ask(number: int) -> None:
        asked[number] = Asking(question.sample(number), ctx).result()

    ctx.shared.threads.each(ask, range(1, samples + 1), max_parallel=samples)
    answers = [asked[number] for number in sorted(asked)]
    chosen = answers[_most_common(answers)]
    votes = Counter(map(_vote, answers))
    shown = [
        {"sample": number, "status": one.status, "votes": votes[_vote(one)], "text": (one.text or "")[:_SHOWN_CHARS]}
        for number, one in enumerate(answers, 1)
    ]
    return replace(
        chosen,
        cost_usd=add_costs(answers),
        usage=add_usage(answers),
        results=[_record(number, one) for number, one in enumerate(answers, 1)],
        metadata={**chosen.metadata, "samples": shown},
    )


def _most_common(answers: Sequence[StepResult]) -> int:
    """The position of the first answer with the most votes among those that succeeded, else of the first failure."""
    usable = [index for index, answer in enumerate(answers) if answer.status == "succeeded"]
    if not usable:
        return 0
    votes = Counter(_vote(answers[index]) for index in usable)
    return max(usable, key=lambda index: votes[_vote(answers[index])])


def _vote(answer: StepResult) -> str:
    """What counts as the same answer: equal data, else equal text but for white space around it."""
    if answer.status != "succeeded":
        return ""
    return json.dumps(answer.data, sort_keys=True) if answer.data is not None else f"={(answer.text or '').strip()}"


def _record(number: int, answer: StepResult) -> dict[str, Json]:
    fields = answer.to_json()
    return {"key": str(number), **{name: fields[name] for name in ("status", "text", "data", "error")}}
