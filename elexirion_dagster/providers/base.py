"""What every model provider is: one attempt at one request, answered by a Reply or a ProviderError."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from elexirion_dagster.errors import Cause, ElexirionError
from elexirion_dagster.records import Reply, Request, Usage

_LEAST_SECRET = 12
_SHOWN_CHARS = 600


class ProviderError(ElexirionError):
    """One attempt that gave no usable reply.

    `usage` is what the provider reported before or besides failing. `billed` says that it charged for the attempt or
    may have (the request had been sent in full); without `usage` the amount is unknown and the upper bound counts.
    `partial` says that `on_text` was already called, so a silent retry would repeat text. `category` is the
    provider's own word for a refusal. `retry_after_s` is its hint, uncapped: the caller bounds the wait.
    """

    def __init__(
        self,
        message: str,
        *,
        cause: Cause,
        mend: str | None = None,
        retry_after_s: float | None = None,
        status: int | None = None,
        usage: Usage | None = None,
        billed: bool = False,
        partial: bool = False,
        category: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, cause=cause, mend=mend)
        self.retry_after_s = retry_after_s
        self.status = status
        self.usage = usage
        self.billed = billed or usage is not None
        self.partial = partial
        self.category = category
        self.request_id = request_id

    def without(self, secret: str) -> "ProviderError":
        """Return the same error with the secret gone from its texts: servers do echo the keys they refuse.

        What is shorter than any key (local servers take words such as "ollama") is no secret and may be a plain word.
        The message is cut after that: a part of a key would not be recognized as one any more.
        """
        texts = {name: value for name, value in vars(self).items() if isinstance(value, str)}
        if len(secret) >= _LEAST_SECRET:
            texts = {name: value.replace(secret, "[key]") for name, value in texts.items()}
        fields = {**vars(self), **texts, "message": texts["message"][:_SHOWN_CHARS]}
        return ProviderError(fields.pop("message"), **fields)

    def __reduce__(self) -> tuple[Callable[[], "ProviderError"], tuple[()]]:
        fields = {name: value for name, value in vars(self).items() if name != "message"}
        return partial(ProviderError, self.message, **fields), ()


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model takes natively. Without `output_schema` the schema must stand in the system text instead."""

    output_schema: bool
    tools: bool
    streaming: bool


class Provider(ABC):
    """A source of replies. One instance is shared by all threads of a run."""

    name: str

    @abstractmethod
    def send(
        self,
        request: Request,
        *,
        timeout_s: float,
        cancelled: threading.Event | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> Reply:
        """Make one attempt, without retries; `timeout_s` bounds the whole call, not one read of it.

        `on_text` gets the answer's text piece by piece where the request streams, and once otherwise. A reply cut at
        `max_tokens` is a Reply with that stop reason. Raises ProviderError with a cause from the closed list, and
        Cancelled soon after `cancelled` is set.
        """

    @abstractmethod
    def capabilities(self, model: str) -> Capabilities:
        """Say what this model takes natively."""

    def count_tokens(
        self,
        request: Request,  # noqa: ARG002  for those that can count
        *,
        timeout_s: float,  # noqa: ARG002  as above
        cancelled: threading.Event | None = None,  # noqa: ARG002  as above
    ) -> int | None:
        """Ask, free of charge, how many tokens the request's input has; None where the provider cannot tell.

        Raises ProviderError and Cancelled as `send` does.
        """
        return None

    def close(self) -> None:
        """Let go of connections; a provider that holds none has nothing to do."""
        return
