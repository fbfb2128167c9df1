"""What calls cost: a dated table of list prices, and ceilings known before a call is sent."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from math import ceil, isfinite
from pathlib import Path
from types import MappingProxyType
from typing import Self

from elexirion_dagster.errors import InputError
from elexirion_dagster.records import (
    Block,
    Json,
    Request,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    Usage,
)

_FREE = frozenset({"embedded", "fake", "local"})
_PER_TURN_TOKENS = 16
_HIDDEN_TOKENS = 2_000
"""More than the text providers add unseen for tools and structured output (Anthropic documents up to 804 tokens)."""
_COUNT_MARGIN = 1.05
"""Counts are estimates: Anthropic documents that the tokens used "may differ by a small amount"."""
_SNAPSHOT = re.compile(r"-(?:[0-9]{8}|[0-9]{3})$")
_LISTED_AS: Mapping[str, str] = MappingProxyType({"gemini-legacy": "gemini"})
_MEND = (
    'Write it like this, in dollars per million tokens: {"models": {"local/my-model": {"input": 1, "output": 2, '
    '"cache_read": 0.1, "cache_write": 1, "context_window": 128000, "max_output": 8192}}}.'
)


@dataclass(frozen=True, slots=True)
class Rates:
    """Dollars per million tokens in the four buckets."""

    input: float
    output: float
    cache_read: float
    cache_write: float

    @classmethod
    def from_json(cls, row: Json) -> Self:
        """Read the four buckets of a table row. Raises KeyError, TypeError or ValueError."""
        return cls(*(_amount(row[name]) for name in ("input", "output", "cache_read", "cache_write")))

    def cost_usd(self, usage: Usage) -> float:
        """Add up the four buckets."""
        return (
            self.input * usage.input_tokens
            + self.output * usage.output_tokens
            + self.cache_read * usage.cache_read_tokens
            + self.cache_write * usage.cache_write_tokens
        ) / 1_000_000


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """A model's rates and limits in tokens; `long_rates` hold once the input is above `long_above`."""

    rates: Rates
    context_window: int
    max_output: int
    long_above: int | None = None
    long_rates: Rates | None = None

    def rates_for(self, input_tokens: int) -> Rates:
        """Pick the rates of a request by its whole input, cached tokens included."""
        if self.long_rates is not None and self.long_above is not None and input_tokens > self.long_above:
            return self.long_rates
        return self.rates


@dataclass(frozen=True, slots=True)
class Bound:
    """What a call can come to at most; dollars are None where the price is not known."""

    usd: float | None
    tokens: int


OwnPrices = Mapping[str, ModelPrice]
_NONE: OwnPrices = MappingProxyType({})


def own_prices(file: Path | None) -> OwnPrices:
    """Read the user's own table, which is written like prices.json. Raises InputError."""
    if file is None:
        return _NONE
    try:
        rows = json.loads(file.expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"the file of prices {file} cannot be read: {error.strerror}", mend=_MEND) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"the file of prices {file} is not JSON: {error}", mend=_MEND) from error
    models = rows.get("models") if isinstance(rows, dict) else None
    if not isinstance(models, dict):
        raise InputError(f"the file of prices {file} has no object 'models'", mend=_MEND)
    return {name: _own_price(file, name, row) for name, row in models.items()}


def _own_price(file: Path, name: str, row: Json) -> ModelPrice:
    """A row of the user's own table. Raises InputError that names file and model."""
    try:
        if "/" in name:
            return _price(row)
        fault = "the name of a model is provider/model"
    except KeyError as error:
        fault = f"{error.args[0]!r} is missing"
    except (AttributeError, TypeError):
        fault = "each value is an object of numbers"
    except ValueError as error:
        fault = str(error)
    raise InputError(f"the price of {name!r} in {file} cannot be used: {fault}", mend=_MEND)


def price(provider: str, model: str, own: OwnPrices = _NONE) -> ModelPrice | None:
    """Look a model up, dated snapshots under their plain name too; None when neither table knows it."""
    table = _table()
    name = f"{_LISTED_AS.get(provider, provider)}/{model}"
    plain = _SNAPSHOT.sub("", name)
    return own.get(name) or table.get(name) or own.get(plain) or table.get(plain)


def cost_usd(provider: str, model: str, usage: Usage, own: OwnPrices = _NONE) -> float | None:
    """Cost of one call's usage: 0.0 for models that run here and have no price of their own, None for unknown ones."""
    known = price(provider, model, own)
    if known is None:
        return 0.0 if provider in _FREE else None
    return known.rates_for(usage.total_tokens - usage.output_tokens).cost_usd(usage)


def upper_bound(provider: str, request: Request, own: OwnPrices = _NONE, counted: int | None = None) -> Bound:
    """Bound what a call can come to before it is sent: every byte of input as one token, plus `max_tokens`.

    Byte-level tokenizers make at most one token of one byte, so no text, however strange, can exceed this; any ratio
    of characters to tokens is an average and can. Turn markers and the providers' unseen text come on top. `counted`
    is the provider's own count of the input, if it was asked for: with a margin it goes before the bytes where it is
    less. In dollars the input is capped at the context window, because a longer one is refused unbilled, and taken at
    its dearest bucket: a cached prompt is written at more than the plain input price.
    """
    input_tokens = _input_ceiling(request, counted)
    known = price(provider, request.model, own)
    if known is None:
        return Bound(0.0 if provider in _FREE else None, input_tokens + request.max_tokens)
    billed = min(input_tokens, known.context_window)
    rates = known.rates_for(billed)
    usd = (billed * max(rates.input, rates.cache_write) + request.max_tokens * rates.output) / 1_000_000
    return Bound(usd, input_tokens + request.max_tokens)


def _input_ceiling(request: Request, counted: int | None) -> int:
    texts = [request.system or "", *(_text(block) for turn in request.messages for block in turn.content)]
    texts += [f"{tool.name}{tool.description}{_json(tool.input_schema)}" for tool in request.tools]
    hidden = _PER_TURN_TOKENS * (len(request.messages) + 1)
    if request.output_schema is not None:
        texts.append(_json(request.output_schema))
    if request.output_schema is not None or request.tools:
        hidden += _HIDDEN_TOKENS
    ceiling = hidden + sum(len(text.encode(errors="replace")) for text in texts)
    return ceiling if counted is None else min(ceiling, hidden + ceil(counted * _COUNT_MARGIN))


def _text(block: Block) -> str:
    match block:
        case TextBlock(text):
            return text
        case ThinkingBlock(raw):
            return _json(raw)
        case ToolUseBlock(id=use, name=name, input=given):
            return f"{use}{name}{_json(given)}"
        case ToolResultBlock(tool_use_id=use, text=text):
            return f"{use}{text}"


def _json(value: Json) -> str:
    return json.dumps(value, default=dict)


@lru_cache(maxsize=1)
def _table() -> dict[str, ModelPrice]:
    text = files("elexirion_dagster.providers").joinpath("prices.json").read_text(encoding="utf-8")
    return _read(text)


def _read(text: str) -> dict[str, ModelPrice]:
    return {name: _price(row) for name, row in json.loads(text)["models"].items()}


def _count(value: Json) -> int:
    if not isinstance(value, int) or value <= 0:
        raise ValueError(f"expected a number of tokens, came {value!r}")
    return value


def _amount(value: Json) -> float:
    number = float(value)
    if not isfinite(number) or number < 0:
        raise ValueError(f"expected an amount of at least 0, came {value!r}")
    return number


def _price(row: Json) -> ModelPrice:
    long = row.get("long")
    return ModelPrice(
        rates=Rates.from_json(row),
        context_window=_count(row["context_window"]),
        max_output=_count(row["max_output"]),
        long_above=_count(long["above_tokens"]) if long else None,
        long_rates=Rates.from_json(long) if long else None,
    )
