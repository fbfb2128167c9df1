"""Every provider at its rehearsal, as the contract suite sees it."""

import pytest
from pydantic import SecretStr
from real_model import ENDLESS, GGUF

from elexirion_dagster.providers.anthropic import AnthropicProvider
from elexirion_dagster.providers.gemini import GeminiProvider
from elexirion_dagster.providers.local import LocalProvider
from elexirion_dagster.records import Message, Request, TextBlock, Tool

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "note": {"type": ["string", "null"]}},
    "required": ["n", "note"],
    "additionalProperties": False,
}


TOOL = Tool("read", "Read a file.", {"type": "object", "properties": {"path": {"type": "string"}}})


def request(text="hello", **fields):
    return Request(**{"model": "claude-opus-4-5", "messages": (Message("user", (TextBlock(text),)),), **fields})


WIRES = {
    "anthropic": ("claude-opus-4-5", lambda url: AnthropicProvider(SecretStr("sk-test"), url)),
    "gemini": ("gemini-2.5-flash", lambda url: GeminiProvider(SecretStr("sk-test"), url)),
    "gemini-legacy": ("gemini-2.5-flash", lambda url: legacy_provider()(SecretStr("sk-test"), url)),
    "local": ("any", lambda url: LocalProvider(f"{url}/v1", SecretStr("sk-test"))),
}


MODELS = {"fake": "fake", "embedded": str(GGUF), **{name: model for name, (model, _) in WIRES.items()}}


def legacy_provider():
    pytest.importorskip("google.generativeai", reason="the extra gemini-legacy is not installed")
    from elexirion_dagster.providers.gemini_legacy import GeminiLegacyProvider

    return GeminiLegacyProvider


def asked(provider, **fields):
    """A request that every provider takes; the real model would answer it for as long as it may."""
    return request(ENDLESS, **{"model": MODELS[provider.name], "max_tokens": 40, **fields})
