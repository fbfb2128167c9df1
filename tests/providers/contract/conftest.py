"""Every provider at its rehearsal, as the contract suite sees it."""

import pytest
from contract_wires import WIRES
from real_model import GGUF, HAS_MODEL, MODEL_MISSING

from elexirion_dagster.providers.base import Provider
from elexirion_dagster.providers.fake import FakeProvider, Rule
from elexirion_dagster.records import ToolUseBlock, Usage
from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer


@pytest.fixture(scope="module")
def embedded():
    """The real model, for what needs no script: it says what it says and uses what it uses."""
    if not HAS_MODEL:
        pytest.skip(MODEL_MISSING)
    from elexirion_dagster.providers.embedded import EmbeddedProvider

    provider = EmbeddedProvider(GGUF.parent)
    yield provider
    provider.close()


@pytest.fixture(params=WIRES)
def dial(request):
    """Open a provider of each wire format at a server that plays a script."""
    opened = []

    def start(**script):
        server = RehearsalServer(Script.model_validate(script)).__enter__()
        opened.append(server)
        provider = WIRES[request.param][1](server.base_url)
        opened.append(provider)
        return server, provider

    yield start
    for each in opened:
        each.close() if isinstance(each, Provider) else each.__exit__(None, None, None)


@pytest.fixture(params=["fake", "embedded", *WIRES])
def answering(request):
    """Open each provider so that it answers as told: text, data, tools, usage, stop_reason, delay.

    The real model takes of that what it cannot but do: be slow, and be cut.
    """
    opened = []

    def start(*, tool=None, usage=None, **answer):
        if request.param == "fake":
            tools = (ToolUseBlock("t1", *tool),) if tool else ()
            return FakeProvider([Rule(**answer, tools=tools, usage=usage)])
        if request.param == "embedded":
            if tool or usage:
                pytest.skip("embedded: a real model cannot be told what to call or to use")
            return request.getfixturevalue("embedded")
        told = {**answer, "tools": [{"name": tool[0], "input": tool[1]}] if tool else []}
        if usage:
            told["usage"] = {name: getattr(usage, name) for name in Usage.__slots__}
        if "delay_s" in told:
            told["latency_ms"] = told.pop("delay_s") * 1000
        server = RehearsalServer(Script.model_validate({"answers": [told]})).__enter__()
        opened.append(server)
        provider = WIRES[request.param][1](server.base_url)
        opened.append(provider)
        return provider

    yield start
    for each in opened:
        each.close() if isinstance(each, Provider) else each.__exit__(None, None, None)
