"""Every model call of one optimisation: through the journal, within its budgets, paid once. No dspy."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, closing
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, Self

from elexirion_dagster.calls import Answer, Call, Calls, Tally
from elexirion_dagster.errors import ElexirionError, PolicyError
from elexirion_dagster.prompting.render import request_hash
from elexirion_dagster.prompting.shown import redacted_request
from elexirion_dagster.providers.base import Capabilities, Provider, ProviderError
from elexirion_dagster.providers.catalog import ModelRef, Providers
from elexirion_dagster.providers.pricing import own_prices
from elexirion_dagster.records import Reply, Request
from elexirion_dagster.redact import Redactor
from elexirion_dagster.reservations import Allowance, Reservations
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.base import CALL_CAUSES, Amounts, Budget, Retry
from elexirion_dagster.spec.learning import OptimizeBudget
from elexirion_dagster.store.accounts.ledger import Ledger
from elexirion_dagster.store.accounts.turns import NoTurn, Turns
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.journal import JournalWriter
from elexirion_dagster.store.replay import Replay
from optimizer_assets.asking.breaker import Breaker

Role = Literal["answer", "instruct", "judge"]
"""What a call is for; the path under which the journal has it."""
Build = Callable[[ModelRef, Capabilities], Request]
_USABLE = 0.9
_NO_PROVIDERS: Mapping[str, Provider] = MappingProxyType({})


@dataclass(slots=True)
class Spent:
    """What the calls have come to, those included that an earlier process of the same optimisation paid for.

    `calls` counts them, failed attempts too; `usd` turns None once a price is not known. `replayed` counts answers
    that the journal had.
    """

    calls: int = 0
    usd: float | None = 0.0
    replayed: int = 0

    def add(self, calls: int, usd: float | None) -> None:
        """Count what one question came to."""
        self.calls += calls
        self.usd = None if usd is None or self.usd is None else self.usd + usd


class Channel:
    """The way to the models, for as long as it is entered. Thread-safe.

    `root_run` names the optimisation: what its journal has is not paid again. `subject` says what is optimised. The
    same request is asked once.
    """

    def __init__(
        self,
        root_run: str,
        settings: Settings,
        budget: OptimizeBudget,
        *,
        subject: str,
        redactor: Redactor,
        retry: Retry | None = None,
        opened: Mapping[str, Provider] = _NO_PROVIDERS,
        cancelled: threading.Event | None = None,
    ) -> None:
        self.root_run = root_run
        self.subject = subject
        self.redactor = redactor
        self.spent = Spent()
        self._settings = settings
        self._budget = budget
        self._retry = _of_calls(retry or Retry())
        self._opened = opened
        self._cancelled = cancelled or threading.Event()
        self._allowance = Allowance().under(f"optimize:{root_run}:{subject}", Budget(usd=budget.usd))
        self._answers: dict[tuple[Role, str], Future[Answer]] = {}
        self._breakers: dict[tuple[Role, str], Breaker] = {}
        self._under_way = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        home = open_home(self._settings.home)
        prices = own_prices(self._settings.prices)
        day = Amounts(usd=self._settings.budget_usd_per_day, tokens=self._settings.budget_tokens_per_day)
        with ExitStack() as opening:
            journal = opening.enter_context(JournalWriter(home, root_run=self.root_run, run=self.root_run))
            ledger = opening.enter_context(closing(Ledger(home)))
            providers = opening.enter_context(closing(Providers(self._settings, self._opened)))
            replay = Replay.load(home, self.root_run)
            if not replay.pins:  # also lets a later process find answers that a further model of the order gave
                journal.append("pin", durable=True, name="optimize", value=self.subject)
            self._calls = Calls(
                journal=journal,
                replay=replay,
                reservations=Reservations(ledger, prices, day),
                turns=Turns(ledger.file, self._settings.rates),
                prices=prices,
                providers=providers,
                redactor=self.redactor,
                cancelled=self._cancelled,
            )
            self._closing = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def capabilities(self, model: ModelRef) -> Capabilities:
        """What a model takes natively. Raises InputError when its provider is not configured."""
        return self._calls.capabilities(model)

    def ask(self, role: Role, models: tuple[ModelRef, ...], build: Build) -> Reply:
        """The answer of the first of the models that gives one; equal questions are asked once.

        Raises ProviderError where the answer cannot be had for what was asked, and ElexirionError where going on is of
        no use: the model is dead, a budget is spent (PolicyError), the disk is full.
        """
        if not models:
            raise ElexirionError("a question needs a model, and none is configured", cause="model_not_found")
        request = redacted_request(build(models[0], self.capabilities(models[0])), self.redactor)
        key = (role, f"{models[0]} {request_hash(request)}")
        with self._lock:
            known = self._answers.get(key)
            answer = self._answers.setdefault(key, Future())
        if known is None:
            self._settle(key, models, build)
        return answer.result().reply

    def room(self, calls: int, *, kept: int = 0) -> bool:
        """Whether so many calls more fit the budgets, with `kept` left after them, at what calls have cost so far.

        A tenth of the dollars is left aside: a call is sent only where its upper bound fits, which is above the mean.
        """
        left = self._budget.calls - self.spent.calls
        if calls + kept > left:
            return False
        each = (self.spent.usd or 0.0) / self.spent.calls if self.spent.calls else 0.0
        return (self.spent.usd or 0.0) + each * (calls + kept) <= _USABLE * self._budget.usd

    def _settle(self, key: tuple[Role, str], models: tuple[ModelRef, ...], build: Build) -> None:
        """Have the answer; a failure is told to all who wait for it, and forgotten."""
        answer = self._answers[key]
        try:
            answer.set_result(self._sent(key[0], models, build))
        except BaseException as error:
            with self._lock:
                del self._answers[key]
            answer.set_exception(error)
            raise

    def _sent(self, role: Role, models: tuple[ModelRef, ...], build: Build) -> Answer:
        breaker = self._breaker(role, models)
        breaker.check(str(models[0]))
        self._begin()
        tally = Tally()
        call = Call(role, models, build, self._retry, self._allowance, hearing=breaker.attempt)
        answer = None
        try:
            answer = self._calls.send(call, deadline=None, tally=tally)
        except (ProviderError, NoTurn) as error:
            breaker.check(str(models[0]))
            if isinstance(error, NoTurn):  # the home knows that the model is ill, through us or through others
                breaker.give_up(str(models[0]))
                raise ElexirionError(error.message, cause=error.cause, mend=error.mend) from error
            raise
        finally:
            self._end(tally, answer)
        return answer

    def _breaker(self, role: Role, models: tuple[ModelRef, ...]) -> Breaker:
        with self._lock:
            return self._breakers.setdefault((role, str(models[0])), Breaker())

    def _begin(self) -> None:
        """Take one call out of the budget. Raises PolicyError when there is none left."""
        with self._lock:
            if self.spent.calls + self._under_way >= self._budget.calls:
                raise PolicyError(
                    f"the optimisation may make {self._budget.calls} model calls, and has made them",
                    cause="budget_exceeded",
                    mend="Raise `optimize.budget.calls`; what was paid for is not paid again.",
                )
            self._under_way += 1

    def _end(self, tally: Tally, answer: Answer | None) -> None:
        with self._lock:
            self._under_way -= 1
            if answer is not None and answer.replayed:
                self.spent.replayed += 1
                self.spent.add(1, answer.reply.cost_usd)
            else:
                self.spent.add(tally.attempts, tally.cost_usd)


def _of_calls(retry: Retry) -> Retry:
    """The retries of a single call; other causes repeat whole steps, which an optimisation has none of."""
    return retry.model_copy(update={"on": tuple(cause for cause in retry.on if cause in CALL_CAUSES)})
