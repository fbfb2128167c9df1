"""A canary key goes through everything that can fail; it must turn up nowhere but on the wire."""

import logging
import pickle
import traceback

import pytest
from pydantic import SecretStr

from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.providers.anthropic import AnthropicProvider
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.catalog import Providers
from elexirion_dagster.providers.gemini import GeminiProvider
from elexirion_dagster.providers.local import LocalProvider
from elexirion_dagster.providers.local_errors import answered
from elexirion_dagster.records import Message, Request, TextBlock
from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer
from elexirion_dagster.settings import Settings

CANARY = "sk-ant-canary-0123456789abcdef"
FAULTS = [
    *(
        {"kind": "status", "status": status, "message": f"refused the key {CANARY}"}
        for status in (400, 401, 429, 500, 529)
    ),
    {"kind": "status", "status": 418, "type": CANARY, "message": "x"},
    {"kind": "cut"},
    {"kind": "reset"},
    {"kind": "malformed"},
    {"kind": "html"},
    {"kind": "refusal", "category": CANARY},
    {"kind": "error_event", "type": CANARY},
    {"kind": "stall", "seconds": 60},
    {"kind": "wrong_content_type"},
    {"kind": "status", "status": 429, "error_code": CANARY, "message": "x"},
]


def legacy(server):
    pytest.importorskip("google.generativeai", reason="the extra gemini-legacy is not installed")
    from elexirion_dagster.providers.gemini_legacy import GeminiLegacyProvider

    return GeminiLegacyProvider(SecretStr(CANARY), server.base_url)


OPENERS = {
    "anthropic": lambda server: AnthropicProvider(SecretStr(CANARY), server.base_url),
    "gemini": lambda server: GeminiProvider(SecretStr(CANARY), server.base_url),
    "gemini-legacy": legacy,
    "local": lambda server: LocalProvider(f"{server.base_url}/v1", SecretStr(CANARY)),
}


@pytest.fixture(params=OPENERS)
def opened(request):
    return OPENERS[request.param]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault['kind']}-{fault.get('status', '')}")
def test_no_failure_shows_the_key(opened, caplog, fault, stream):
    caplog.set_level(logging.DEBUG)
    ask = Request("claude-opus-4-5", (Message("user", (TextBlock("hello"),)),), stream=stream)
    with RehearsalServer(Script.model_validate({"answers": [{"text": "x" * 400}], "faults": [fault]})) as server:
        provider = opened(server)
        with pytest.raises(ElexirionError) as caught:
            provider.send(ask, timeout_s=0.5 if fault["kind"] == "stall" else 30)
        shown = (
            "".join(traceback.format_exception(caught.value))
            + f"{caught.value!r} {vars(caught.value)} {vars(provider)}"
        )
        provider.close()
    assert caught.value.cause != "cancelled"
    assert CANARY not in shown
    assert CANARY not in caplog.text
    assert not [record for record in caplog.records if CANARY in str(vars(record))]
    assert CANARY not in repr(server.requests)


def test_no_name_that_is_shown_holds_the_key(opened):
    with RehearsalServer() as server:
        provider = opened(server)
        provider.close()
    key = SecretStr(CANARY)
    settings = Settings(anthropic_api_key=key, gemini_api_key=key, local_api_key=key)
    providers = Providers(settings)
    providers.open("anthropic")
    providers.open("gemini")
    assert CANARY not in f"{provider!r} {provider} {settings!r} {providers!r} {vars(provider)}"
    providers.close()


def test_an_unknown_stop_reason_does_not_echo_the_key(opened):
    ask = Request("claude-opus-4-5", (Message("user", (TextBlock("hello"),)),))
    with RehearsalServer(Script.model_validate({"answers": [{"text": "t", "stop_reason": CANARY}]})) as server:
        provider = opened(server)
        with pytest.raises(ProviderError) as caught:
            provider.send(ask, timeout_s=30)
        provider.close()
    assert caught.value.cause == "malformed_output"
    assert CANARY not in str(caught.value)
    assert CANARY.encode() not in pickle.dumps(caught.value)


@pytest.mark.parametrize("padding", range(440, 620, 20))
def test_a_key_at_the_end_of_what_is_shown_of_an_error_is_not_cut_in_two(padding):
    error = answered({"error": {"message": "p" * padding + f" {CANARY} is no valid key"}}, 400).without(CANARY)
    assert CANARY[:8] not in error.message
    assert len(error.message) <= 600
