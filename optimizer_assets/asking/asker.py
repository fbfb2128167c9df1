"""Candidates put to rows: asked as a run would ask, answered from what was paid for or through the channel. No dspy."""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from types import MappingProxyType
from typing import Self, TypeVar

from elexirion_dagster.errors import ElexirionError, InputError
from elexirion_dagster.prompting.parse import MalformedOutput, parse
from elexirion_dagster.prompting.render import request_hash
from elexirion_dagster.prompting.shown import redacted_request
from elexirion_dagster.providers.base import Capabilities, Provider, ProviderError
from elexirion_dagster.records import Json, Reply, Request, TextBlock, Usage
from elexirion_dagster.redact import Redactor
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.slots import unlearnable
from elexirion_dagster.store.learned.learning import Logged, Row
from optimizer_assets.asking.breaker import ABOUT_THE_ROW, MOST_FAILURES
from optimizer_assets.asking.channel import Channel
from optimizer_assets.asking.digest import root_run_of
from optimizer_assets.asking.rendering import Turns, slot_request
from optimizer_assets.scoring.metrics import Metric, Scored
from optimizer_assets.task import Candidate, Task, Tried

T = TypeVar("T")
S = TypeVar("S")
_NOTHING_LOGGED: Mapping[str, Logged] = MappingProxyType({})
_NO_PROVIDERS: Mapping[str, Provider] = MappingProxyType({})
_LOST_SHARE, _LOST_LEAST = 0.1, 3
"""More answers than this share, and than this number, lost to a provider: the measurement is worth nothing."""


class Asker:
    """Puts candidates to rows for as long as it is entered. Thread-safe; the same question is paid once.

    `rows` are all that the optimisation will use, holdout included: with the task and the seed they name it, and what
    an earlier process of the same name paid for is not paid again. `logged` are replies of runs by request hash, which
    cost nothing; `kept` are calls that the search leaves for what comes after it.
    """

    def __init__(
        self,
        task: Task,
        settings: Settings,
        rows: Sequence[Row],
        *,
        redactor: Redactor,
        logged: Mapping[str, Logged] = _NOTHING_LOGGED,
        opened: Mapping[str, Provider] = _NO_PROVIDERS,
        cancelled: threading.Event | None = None,
        kept: int = 0,
        seed: int = 0,
    ) -> None:
        _refuse(task)
        self.task = task
        self.seed = seed
        self.kept = kept
        self.model = task.models[0]
        self.turns = Turns(task.spec)
        self.schema = task.spec.output_schema()
        self.channel = Channel(
            root_run_of(task, rows, seed),
            settings,
            task.settings.budget,
            subject=task.address,
            redactor=redactor,
            retry=task.spec.retry,
            opened=opened,
            cancelled=cancelled,
        )
        self._logged = logged
        # the embedded model answers one call at a time, and to wait for that would count as its latency
        self._threads = 1 if self.model.provider == "embedded" else min(settings.max_threads, MOST_FAILURES)
        self._scored: dict[tuple[str, str], Scored] = {}
        self._used = set[str]()
        self._asked = self._lost = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self.channel.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.channel.__exit__(*error)

    @property
    def calls(self) -> int:
        """Model calls of this optimisation, failed attempts and those of an earlier process included."""
        return self.channel.spent.calls

    @property
    def replayed(self) -> int:
        """Answers that cost nothing now: the journal had them, or a run had paid for them."""
        return self.channel.spent.replayed + len(self._used)

    @property
    def usd(self) -> float | None:
        """Dollars that the calls have cost; None where a price is not known."""
        return self.channel.spent.usd

    @property
    def capabilities(self) -> Capabilities:
        """What the model that answers takes natively."""
        return self.channel.capabilities(self.model)

    def room(self, calls: int) -> bool:
        """Whether the search may ask so many questions more."""
        return self.channel.room(calls, kept=self.kept)

    def request(self, candidate: Candidate, row: Row) -> Request:
        """Exactly what a run with this candidate would send. Raises ExpressionError or InputError."""
        whole = slot_request(self.task.spec, candidate, self.turns.of(row), self.model, self.capabilities)
        return self.redacted(whole)

    def redacted(self, request: Request) -> Request:
        """A request as it is sent and looked up."""
        return redacted_request(request, self.channel.redactor)

    def ask(self, candidate: Candidate, row: Row) -> Tried:
        """One row answered with a candidate. Raises ElexirionError where going on is of no use."""
        try:
            reply = self.reply(self.request(candidate, row))
        except ElexirionError as error:
            return self.failed(row, error)
        return self.judged(row, reply)

    def try_all(self, candidate: Candidate, rows: Sequence[Row]) -> tuple[Tried, ...]:
        """The rows answered with a candidate, several at once, in the order of the rows."""
        return self.each(lambda row: self.ask(candidate, row), rows)

    def each(self, work: Callable[[T], S], things: Sequence[T]) -> tuple[S, ...]:
        """The results of `work` in order, several at once; the first failure ends it."""
        if not things:
            return ()
        with ThreadPoolExecutor(min(self._threads, len(things))) as pool:
            futures = [pool.submit(copy_context().run, work, thing) for thing in things]
            try:
                return tuple(future.result() for future in futures)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def reply(self, request: Request) -> Reply:
        """The reply to a request: a logged one, else the channel's. Raises as the channel does."""
        key = request_hash(request)
        logged = self._logged.get(key)
        if logged is not None and logged.model == str(self.model):
            with self._lock:
                self._used.add(key)
            return _as_reply(logged, request, self.model.provider)
        return self.channel.ask("answer", (self.model,), lambda *_: request)

    def scored(self, row: Row, answer: Json) -> Scored:
        """What the metric says of an answer, asked once. Raises ElexirionError when it says nothing usable."""
        key = (row.key, json.dumps(answer, sort_keys=True))
        known = self._scored.get(key)
        return known or self._scored.setdefault(key, scored_by(self.task.metric, row, answer))

    def judged(self, row: Row, reply: Reply) -> Tried:
        """What a reply to a row is worth. Raises ElexirionError when the metric says nothing usable."""
        self._count(lost=False)
        bare = Tried(row, 0.0, "", None, reply.cost_usd, reply.latency_s, reply.usage.total_tokens, None)
        try:
            answer = self._answer(reply)
        except ElexirionError as error:
            return replace(bare, feedback=f"The answer could not be used: {error.message}", error=error.message)
        scored = self.scored(row, answer)
        return replace(bare, score=scored.score, feedback=scored.feedback, answer=answer)

    def failed(self, row: Row, error: ElexirionError) -> Tried:
        """A row that got no answer is worth nothing; any error that is not about this row is raised again."""
        if not isinstance(error, ProviderError):
            raise error
        message = self.channel.redactor.text(error.message)
        self._count(lost=error.cause not in ABOUT_THE_ROW, message=message)
        return Tried(row, 0.0, f"There was no answer ({error.cause}).", None, None, None, 0, message)

    def _answer(self, reply: Reply) -> Json:
        """The answer as a run would have it, without a second question. Raises ElexirionError."""
        match reply.stop_reason:
            case "end_turn" | "stop_sequence":
                return reply.text if self.schema is None else parse(reply.text, self.schema)
            case "max_tokens":
                raise MalformedOutput([f"it was cut at max_tokens ({self.task.spec.max_tokens})"])
            case other:
                raise MalformedOutput([f"the model stopped with {other}"])

    def _count(self, *, lost: bool, message: str = "") -> None:
        """Give up where so many answers were lost that the scores would say more of the provider than of the prompt."""
        with self._lock:
            self._asked += 1
            self._lost += lost
            asked, gone = self._asked, self._lost
        if lost and gone > max(_LOST_LEAST, _LOST_SHARE * asked):
            raise ElexirionError(
                f"{gone} of {asked} questions to {self.model} were lost to failures, the last one: {message}",
                cause="connection",
                mend="Start again when the model answers; what was paid for is not paid again.",
            )


def _refuse(task: Task) -> None:
    """Refuse what cannot be optimised, before anything is paid."""
    why = unlearnable(task.spec)
    if why is not None:
        raise InputError(f"{task.address} cannot be optimised: {why}")
    if not task.models:
        raise ElexirionError(
            f"{task.address} cannot be optimised: no model is configured",
            cause="model_not_found",
            mend="Set ANTHROPIC_API_KEY or ELEXIRION_LOCAL_URL, or name a model; `elexirion doctor` says more.",
        )


def _as_reply(logged: Logged, request: Request, provider: str) -> Reply:
    """A logged reply as if it had just come, at no cost to us; what it cost then is what such an answer costs."""
    return Reply(
        blocks=(TextBlock(logged.text),),
        stop_reason="end_turn",
        usage=Usage(logged.input_tokens, logged.output_tokens),
        model=request.model,
        provider=provider,
        latency_s=logged.latency_s,
        cost_usd=logged.cost_usd,
    )


def scored_by(metric: Metric, row: Row, answer: Json) -> Scored:
    """What a metric says of an answer. Raises ElexirionError when that is no number from 0 to 1."""
    try:
        scored: object = metric(row, answer)
    except ElexirionError:
        raise
    except Exception as error:
        raise _bad_metric(row, f"it raised {type(error).__name__}: {error}") from error
    score = getattr(scored, "score", None)
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:  # NaN is not within
        raise _bad_metric(row, f"came {score!r}")
    return Scored(float(score), str(getattr(scored, "feedback", None) or ""))


def _bad_metric(row: Row, came: str) -> InputError:
    return InputError(
        f"the metric should give a number from 0 to 1 for the row {row.key}, and {came}",
        mend="Correct `optimize.metric`; an answer that is wrong is worth 0.",
    )
