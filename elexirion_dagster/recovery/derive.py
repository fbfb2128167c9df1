"""A plan made from the failure itself: the failed pipeline with typed edits, never with more than it had."""

import hashlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from elexirion_dagster.errors import Cause, ElexirionError
from elexirion_dagster.providers.catalog import configured, resolve
from elexirion_dagster.providers.pricing import cost_usd, own_prices
from elexirion_dagster.records import Usage
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.changes import Change, changed_steps
from elexirion_dagster.spec.children import every_step
from elexirion_dagster.spec.llm import LlmStep
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.spec.steps import ForEachStep
from elexirion_dagster.tags import NO_MODEL
from elexirion_dagster.yamlio import dump

_READING = ("read", "glob", "grep")
_MOST_TURNS, _MOST_TOKENS = 1000, 200_000
_OUTSIDE, _INSIDE = ("anthropic", "gemini", "gemini-legacy"), ("local",)
_MODELS = ("anthropic", "gemini", "local")
"""Providers that may stand in; `embedded` never unasked."""
_PRICED = Usage(1_000_000, 1_000_000)


class _Wish(NamedTuple):
    """What edits are made from: the pipeline, what was changed of it already, what is configured."""

    pipeline: Pipeline
    before: Change | None
    settings: Settings
    chosen: str | None

    def llms(self) -> list[LlmStep]:
        return [step for step in every_step(self.pipeline.steps) if isinstance(step, LlmStep)]

    def tried(self, name: str) -> bool:
        return self.before is not None and name in self.before.model_fields_set

    def bounded(self) -> bool:
        """Whether a budget holds, so that more of something is not more money."""
        return self.pipeline.budget.usd is not None or self.pipeline.budget.tokens is not None


def _other_model(wish: _Wish) -> Change | None:
    """A configured model of another provider; without a budget in dollars only one that costs no more.

    What was kept on this machine stays there: a pipeline that asks local models only gets no other one.
    """
    if not wish.llms() or wish.tried("model") or wish.chosen == NO_MODEL:
        return None
    words = [wish.pipeline.model, *(step.model for step in wish.llms() if step.model is not None)]
    used = {ref for word in ([wish.chosen] if wish.chosen else words) for ref in resolve(word, wish.settings)}
    outside = any(ref.provider in _OUTSIDE for ref in used)
    for name, is_ready, _ in configured(wish.settings):
        if is_ready and name in (_MODELS if outside else _INSIDE) and name not in {ref.provider for ref in used}:
            (ref,) = resolve(name, wish.settings)
            price = _price(ref.provider, ref.model, wish.settings)
            known = [_price(one.provider, one.model, wish.settings) for one in used]
            cheaper = price is not None and all(one is not None and price <= one for one in known)
            if cheaper or (wish.pipeline.budget.usd is not None and price is not None):
                return Change(model=str(ref))
    return None


def _price(provider: str, model: str, settings: Settings) -> float | None:
    return cost_usd(provider, model, _PRICED, own_prices(settings.prices))


def _plain(wish: _Wish) -> Change | None:
    wordy = any(step.examples or step.samples > 1 for step in wish.llms())
    return Change(plain=True) if wordy and not wish.tried("plain") else None


def _fewer_tools(wish: _Wish) -> Change | None:
    writing = any(set(step.tool_names()) - set(_READING) for step in wish.llms())
    return Change(tools=("read", "glob", "grep")) if writing and not wish.tried("tools") else None


def _more_turns(wish: _Wish) -> Change | None:
    turns = max((step.max_turns for step in wish.llms() if step.tools), default=_MOST_TURNS)
    if turns >= _MOST_TURNS or not wish.bounded() or wish.tried("max_turns"):
        return None
    return Change(max_turns=min(2 * turns, _MOST_TURNS))


def _longer_answer(wish: _Wish) -> Change | None:
    tokens = max((step.max_tokens for step in wish.llms()), default=_MOST_TOKENS)
    if tokens >= _MOST_TOKENS or not wish.bounded() or wish.tried("max_tokens"):
        return None
    return Change(max_tokens=min(2 * tokens, _MOST_TOKENS))


def _smaller_waves(wish: _Wish) -> Change | None:
    widest = max(
        (step.max_parallel for step in every_step(wish.pipeline.steps) if isinstance(step, ForEachStep)), default=1
    )
    was = wish.before.max_parallel if wish.before and wish.before.max_parallel else widest
    half = min(was, widest) // 2
    return Change(max_parallel=half, batch_size=half) if half else None


_EDITS: dict[Cause, tuple[Callable[[_Wish], Change | None], ...]] = {
    "overloaded": (_other_model, _smaller_waves),
    "rate_limited": (_smaller_waves, _other_model),
    "timeout": (_smaller_waves, _other_model),
    "connection": (_other_model,),
    "worker_lost": (_smaller_waves,),
    "auth": (_other_model,),
    "billing": (_other_model,),
    "model_not_found": (_other_model,),
    "refused": (_other_model,),
    "truncated": (_longer_answer, _other_model),
    "context_exceeded": (_plain, _other_model),
    "malformed_output": (_plain, _other_model),
    "max_turns": (_more_turns, _fewer_tools, _other_model),
    "tool_denied": (_fewer_tools,),
}


def derived(
    pipeline: Pipeline, cause: Cause, before: Change | None, settings: Settings, *, chosen: str | None
) -> Change | None:
    """The first edit that fits the cause and was not tried; None when there is none.

    `chosen` is the model that a user chose for the run in place of the pipeline's.
    """
    wish = _Wish(pipeline, before, settings, chosen)
    return next(_fitting(wish, cause), None)


def _fitting(wish: _Wish, cause: Cause) -> Iterator[Change]:
    for edit in _EDITS.get(cause, ()):
        try:
            change = edit(wish)
        except ElexirionError:  # a model word that leads nowhere says nothing about the other edits
            continue
        if change is not None:
            yield change


def document(pipeline: Pipeline, change: Change, name: str) -> str:
    """The pipeline with the edits as a document of its own, which nothing starts by itself."""
    root: dict[str, object] = {"name": name, "steps": changed_steps(pipeline.steps, change), "fallback": ()}
    if change.model is not None:
        root["model"] = change.model
    edited = pipeline.model_copy(update=root)
    left_out = {"schedule", "partitions", "repos", "on", "asset"}
    return dump(edited.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude=left_out))


def document_hash(text: str) -> str:
    """SHA-256 of a document."""
    return hashlib.sha256(text.encode()).hexdigest()


def candidate_name(pipeline: str, run: str) -> str:
    """The name of the document derived from a pipeline after this run failed."""
    return f"{pipeline[:60]}_{''.join(char for char in run if char.isalnum())[:8].lower()}"
