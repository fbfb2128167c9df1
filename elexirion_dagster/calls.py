"""ONE model call: pin, look up, reserve, send, redact, journal, settle; tried again by cause."""

import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import chain, count

from elexirion_dagster.errors import Cancelled, ElexirionError
from elexirion_dagster.prompting.render import request_hash
from elexirion_dagster.prompting.shown import redacted_reply, redacted_request, shown_prompt
from elexirion_dagster.providers.base import Capabilities, Provider, ProviderError
from elexirion_dagster.providers.catalog import ModelRef, Providers
from elexirion_dagster.providers.failover import moves_on
from elexirion_dagster.providers.pricing import Bound, ModelPrice, cost_usd
from elexirion_dagster.records import (
    Json,
    Reply,
    Request,
    Usage,
)
from elexirion_dagster.redact import Redactor
from elexirion_dagster.reservations import Allowance, Reservation, Reservations
from elexirion_dagster.spec.base import CALL_CAUSES, Retry
from elexirion_dagster.store.accounts.turns import ClosedToCalls, NoTurn, Patience, Turn, Turns
from elexirion_dagster.store.journal import JournalWriter
from elexirion_dagster.store.replay import Replay, reply_to_json

_ATTEMPT_S = 600.0
_COUNT_S = 10.0
"""So long may the provider take to count the tokens of a call whose upper bound does not fit."""


@dataclass(frozen=True, slots=True)
class Call:
    """What to ask, on behalf of which step path.

    `build` makes the request for one model; `allowance` holds the budgets of its step and run; `inputs` are the
    structured values the template referred to and `prompt_version` the version of the slot, both recorded for
    learning; `hearing`, entered per attempt, hears text. `slot` is the address of the prompt in the `pipeline` whose
    it is.
    """

    path: str
    models: tuple[ModelRef, ...]
    build: Callable[[ModelRef, Capabilities], Request]
    retry: Retry
    allowance: Allowance
    inputs: Mapping[str, Json] = field(default_factory=dict)
    prompt_version: str | None = None
    pipeline: str | None = None
    slot: str | None = None
    hearing: Callable[[], AbstractContextManager[Callable[[str], None] | None]] = nullcontext


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply, the request it answers, and the model that gave it.

    `replayed` says that the journal had it and nothing was sent.
    """

    reply: Reply
    request: Request
    model: ModelRef
    replayed: bool


@dataclass(slots=True)
class Tally:
    """What attempts have cost so far, failed ones included; `cost_usd` turns None once a price is not known."""

    attempts: int = 0
    cost_usd: float | None = 0.0
    usage: Usage = field(default_factory=Usage)

    def add(self, cost: float | None, usage: Usage) -> None:
        """Count one attempt."""
        self.attempts += 1
        self.cost_usd = None if cost is None or self.cost_usd is None else self.cost_usd + cost
        self.usage = self.usage + usage


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A call as one model gets it; `occurrence` counts equal calls on the same path, from 1."""

    model: ModelRef
    provider: Provider
    request: Request
    request_hash: str
    occurrence: int


@dataclass(frozen=True, slots=True)
class _Asking:
    """One call put to one model."""

    call: Call
    prepared: _Prepared
    tally: Tally
    patience: Patience

    def where(self, attempt: int, call_id: str) -> dict[str, Json]:
        """What names one attempt in the journal."""
        return {
            "call_id": call_id,
            "attempt": attempt,
            "path": self.call.path,
            "pipeline": self.call.pipeline,
            "slot": self.call.slot,
            "request_hash": self.prepared.request_hash,
            "occurrence": self.prepared.occurrence,
            "provider": self.prepared.model.provider,
            "model": self.prepared.model.model,
        }

    def time_left_s(self) -> float:
        """Seconds that one attempt may take: until the deadline, and what the budgets allow a call."""
        left = min(_ATTEMPT_S, self.patience.left_s())
        if left <= 0:
            raise ProviderError("no time was left for a model call", cause="timeout")
        return self.call.allowance.attempt_s(left)


class Calls:
    """The gate through which every model call of one run goes. Thread-safe."""

    def __init__(
        self,
        *,
        journal: JournalWriter,
        replay: Replay,
        reservations: Reservations,
        turns: Turns,
        prices: Mapping[str, ModelPrice],
        providers: Providers,
        redactor: Redactor,
        cancelled: threading.Event,
    ) -> None:
        self._journal = journal
        self._replay = replay
        self._reservations = reservations
        self._turns = turns
        self._prices = prices
        self._providers = providers
        self._redactor = redactor
        self._cancelled = cancelled
        self._occurrences: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self._id = secrets.token_hex(12)  # drawn once: asking the system each time would let other threads in
        self._sent_so_far = count()
        self.total = Tally()
        """What this run has sent and spent."""
        self.models: set[str] = set()
        """The models that answered, as `provider/model`."""

    def capabilities(self, model: ModelRef) -> Capabilities:
        """What a model takes natively. Raises InputError when its provider is not configured."""
        return self._providers.open(model.provider).capabilities(model.model)

    def send(self, call: Call, *, deadline: float | None, tally: Tally) -> Answer:
        """The answer to a call, from the journal if it is there, else from the first model that gives one.

        `deadline` is a time.monotonic() value. `tally` counts what is sent, also when this raises: ProviderError,
        NoTurn (not sent: the model is ill, or time was up), PolicyError (budget), Cancelled or StorageError.
        """
        if not call.models:
            raise ElexirionError("a model call needs at least one model", cause="model_not_found")
        first = self._prepared(call, call.models[0], None)
        if known := self._known(call, first):
            return known
        for index, model in enumerate(call.models):
            prepared = first if index == 0 else self._prepared(call, model, first.occurrence)
            last = index == len(call.models) - 1
            patience = Patience(call.retry.max_s, not last, deadline, self._cancelled)
            try:
                return self._attempts(_Asking(call, prepared, tally, patience))
            except (ProviderError, NoTurn) as error:
                if last or not moves_on(error.cause):
                    self._give_up(call, error)
                    raise
        raise AssertionError("the last model answers or raises")

    def _give_up(self, call: Call, error: ProviderError | NoTurn) -> None:
        """Record that none of the models answered, for a cause that passes: recovery may wait for them."""
        if error.cause in CALL_CAUSES:
            models, refused = [str(model) for model in call.models], isinstance(error, ClosedToCalls)
            self._journal.append("given_up", path=call.path, models=models, cause=error.cause, refused=refused)

    def _known(self, call: Call, first: _Prepared) -> Answer | None:
        """The reply that an earlier run of the same root paid for, whichever model of the failover order gave it."""
        others = call.models[1:] if self._replay.pins else ()
        prepared = chain([first], (self._prepared(call, model, first.occurrence) for model in others))
        for one in prepared:
            reply = self._replay.reply(call.path, one.request_hash, one.occurrence)
            if reply is not None:
                return Answer(reply, one.request, one.model, replayed=True)
        return None

    def _prepared(self, call: Call, model: ModelRef, occurrence: int | None) -> _Prepared:
        """The request as this model gets it. All models of one call share the occurrence that the first one has."""
        provider = self._providers.open(model.provider)
        request = redacted_request(call.build(model, provider.capabilities(model.model)), self._redactor)
        key = request_hash(request)
        return _Prepared(model, provider, request, key, occurrence or self._occurrence(call.path, key))

    def _occurrence(self, path: str, key: str) -> int:
        with self._lock:
            self._occurrences[path, key] += 1
            return self._occurrences[path, key]

    def _attempts(self, asking: _Asking) -> Answer:
        """Send until there is a reply or no further attempt is worth it."""
        retry, prepared = asking.call.retry, asking.prepared
        for attempt in range(1, retry.max_attempts + 1):
            try:
                reply = self._once(asking, attempt)
            except ProviderError as error:
                wait_s = _wait_s(retry, error, attempt, asking.patience.deadline)
                if wait_s is None:
                    raise
                if self._cancelled.wait(wait_s):
                    raise Cancelled from error
            else:
                return Answer(reply, prepared.request, prepared.model, replayed=False)
        raise AssertionError("the last attempt returns or raises")

    def _once(self, asking: _Asking, attempt: int) -> Reply:
        """One attempt, sent when its turn has come; waiting for that is none."""
        prepared = asking.prepared
        bound = self._reservations.bound(prepared.provider.name, prepared.request)
        with (
            self._turns.turn(str(prepared.model), bound.tokens, asking.patience) as turn,
            self._held(asking, bound) as held,
        ):
            return self._sent(asking, attempt, turn, held)

    def _held(self, asking: _Asking, bound: Bound) -> Reservation:
        """The call's upper bound, held in every budget around it."""
        provider, request = asking.prepared.provider, asking.prepared.request

        def count() -> int | None:
            timeout_s = min(_COUNT_S, asking.time_left_s())
            return provider.count_tokens(request, timeout_s=timeout_s, cancelled=self._cancelled)

        return self._reservations.hold(
            asking.call.allowance, provider.name, request, bound=bound, count=count, patience=asking.patience
        )

    def _sent(self, asking: _Asking, attempt: int, turn: Turn, held: Reservation) -> Reply:
        """Journal the intent, then send; journal the reply before anything of it is used, then settle.

        What is raised in between and is no error of ours leaves the intent open and the upper bound standing.
        """
        request, provider = asking.prepared.request, asking.prepared.provider
        where = asking.where(attempt, f"{self._id}{next(self._sent_so_far):08x}")
        try:
            timeout_s = asking.time_left_s()
            self._journal.append("intent", durable=True, max_usd=held.bound.usd, max_tokens=held.bound.tokens, **where)
        except ElexirionError:
            held.settle(usd=0.0, tokens=0)
            raise
        try:
            with asking.call.hearing() as on_text:
                raw = provider.send(request, timeout_s=timeout_s, cancelled=self._cancelled, on_text=on_text)
        except ElexirionError as error:
            self._failed(error, asking, where, held)
            raise
        turn.used_tokens = raw.usage.total_tokens
        cost = cost_usd(provider.name, request.model, raw.usage, self._prices)
        reply = redacted_reply(raw, cost, self._redactor)
        self._replied(reply, asking, where, held)
        return reply

    def _replied(self, reply: Reply, asking: _Asking, where: Mapping[str, Json], held: Reservation) -> None:
        """Record a reply before anybody uses it."""
        self._journal.append(
            "reply",
            durable=True,
            reply=reply_to_json(reply),
            prompt=shown_prompt(asking.prepared.request),
            inputs=self._redactor.tree(dict(asking.call.inputs)),
            prompt_version=asking.call.prompt_version,
            cost_usd=reply.cost_usd,
            **where,
        )
        held.settle(usd=reply.cost_usd, tokens=reply.usage.total_tokens)
        self._count(reply.cost_usd, reply.usage, asking.tally)
        self.models.add(str(asking.prepared.model))

    def _failed(self, error: ElexirionError, asking: _Asking, where: Mapping[str, Json], held: Reservation) -> None:
        """Record a failed attempt; one that may have been billed without a known usage counts at its upper bound."""
        usage = error.usage if isinstance(error, ProviderError) else None
        billed = not isinstance(error, ProviderError) or error.billed
        request, name = asking.prepared.request, asking.prepared.provider.name
        cost = cost_usd(name, request.model, usage, self._prices) if usage else (None if billed else 0.0)
        self._journal.append(
            "call_failed",
            durable=True,
            cause=error.cause,
            message=self._redactor.text(error.message),
            prompt_version=asking.call.prompt_version,
            status=getattr(error, "status", None),
            usage=usage.to_json() if usage else None,
            cost_usd=cost,
            billed=billed,
            retry_after_s=getattr(error, "retry_after_s", None),
            **where,
        )
        self._count(cost, usage or Usage(), asking.tally)
        if usage or not billed:
            held.settle(usd=cost, tokens=usage.total_tokens if usage else 0)

    def _count(self, cost: float | None, usage: Usage, tally: Tally) -> None:
        tally.add(cost, usage)
        with self._lock:
            self.total.add(cost, usage)


def _wait_s(retry: Retry, error: ProviderError, attempt: int, deadline: float | None) -> float | None:
    """Seconds to wait before the next attempt, or None when there is to be none.

    A server that asks for a longer wait than `retry.max_s`, or than there is time, is not waited for. Other causes than
    CALL_CAUSES are left to the step around the call, so that no cause is retried twice over.
    """
    if error.cause not in CALL_CAUSES or error.cause not in retry.on or attempt >= retry.max_attempts:
        return None
    wait_s = max(retry.wait_s(attempt), error.retry_after_s or 0.0)
    if wait_s > max(retry.max_s, retry.wait_s(attempt)) or (
        deadline is not None and time.monotonic() + wait_s >= deadline
    ):
        return None
    return wait_s
