"""What the tests of the Gemini clients send and get."""

import pytest

from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.gemini_reply import read_answer
from elexirion_dagster.records import (
    Message,
    Request,
    TextBlock,
    Tool,
)

THOUGHT = {"text": "step by step " * 10, "thought": True, "thoughtSignature": "c2ln/+bmVk"}
SIGNED_CALL = {"functionCall": {"name": "read", "args": {"path": "a"}}, "thoughtSignature": "c2lnbmVk"}
UNKNOWN = {"hologram": {"depth": 3}}
TOOL = Tool("read", "Read a file.", {"type": "object", "properties": {"path": {"type": "string"}}})


def request(text="hello", **fields):
    return Request(**{"model": "gemini-2.5-flash", "messages": (Message("user", (TextBlock(text),)),), **fields})


def body(finish="STOP", parts=({"text": "t"},), **more):
    return {"candidates": [{"content": {"parts": list(parts), "role": "model"}, "finishReason": finish}], **more}


def read(given, **fields):
    return read_answer(given, request(**fields), "gemini", 0.0)


def legacy():
    pytest.importorskip("google.generativeai", reason="the extra gemini-legacy is not installed")
    from elexirion_dagster.providers.gemini_legacy import GeminiLegacyProvider

    return GeminiLegacyProvider


def failure(provider, **fields):
    with pytest.raises(ProviderError) as caught:
        provider.send(request(**fields), timeout_s=30)
    return caught.value
