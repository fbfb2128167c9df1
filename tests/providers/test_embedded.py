"""A real model in this process: needs the extra `embedded` and a GGUF file, says so where they are missing."""

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jsonschema
import psutil
import pytest
from real_model import ENDLESS, GGUF, needs_extra, needs_model

from elexirion_dagster.errors import Cancelled
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.catalog import Providers
from elexirion_dagster.records import Message, Request, TextBlock, Tool
from elexirion_dagster.settings import Settings

SCHEMA = {
    "type": "object",
    "properties": {
        "n": {"type": "integer"},
        "note": {"type": ["string", "null"]},
        "level": {"enum": ["low", "high"]},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
    },
    "required": ["n", "note", "level", "tags"],
    "additionalProperties": False,
}
STORY = "Write a very long story."


def request(text="Say hello.", **fields):
    given = {"model": str(GGUF), "messages": (Message("user", (TextBlock(text),)),), "max_tokens": 16}
    return Request(**(given | fields))


def opened(folder=Path("/nowhere")):
    from elexirion_dagster.providers.embedded import EmbeddedProvider

    return EmbeddedProvider(folder)


@pytest.fixture(scope="module")
def provider():
    """One provider with its model loaded."""
    embedded = opened()
    embedded.send(request(max_tokens=1), timeout_s=60)
    yield embedded
    embedded.close()


@needs_model
@pytest.mark.parametrize("stream", [False, True])
def test_text_usage_and_stop_reason_arrive(provider, stream):
    reply = provider.send(request("What is 2+2?", max_tokens=60, stream=stream), timeout_s=60)
    assert "4" in reply.text
    assert (reply.stop_reason, reply.provider, reply.model, reply.cost_usd) == (
        "end_turn",
        "embedded",
        str(GGUF),
        0.0,
    )
    assert reply.usage.input_tokens > 5
    assert 0 < reply.usage.output_tokens < 60
    assert reply.usage.cache_read_tokens == 0
    assert reply.latency_s > 0


@needs_model
@pytest.mark.parametrize("stream", [False, True])
def test_a_schema_is_answered_with_data_that_fits(provider, stream):
    asked = request("Describe a tree.", output_schema=SCHEMA, stream=stream, max_tokens=400)
    jsonschema.validate(json.loads(provider.send(asked, timeout_s=60).text), SCHEMA)


@needs_model
def test_a_schema_leaves_no_choice_where_there_is_none(provider):
    schema = {"type": "object", "properties": {"a": {"const": "zebra"}}, "required": ["a"]}
    assert json.loads(provider.send(request(output_schema=schema), timeout_s=60).text) == {"a": "zebra"}


@needs_model
def test_without_a_temperature_the_answer_is_always_the_same(provider):
    asked = request(STORY, max_tokens=24)
    first = provider.send(asked, timeout_s=60)
    provider.send(request("Write a very long poem."), timeout_s=60)
    again = provider.send(asked, timeout_s=60)
    explicit = opened().send(request(STORY, max_tokens=24, temperature=0.0), timeout_s=60)
    assert first.text == again.text == explicit.text
    assert first.usage == again.usage == explicit.usage


@needs_model
def test_a_high_temperature_gives_other_answers(provider):
    asked = request(STORY, max_tokens=24, temperature=1.5)
    assert len({provider.send(asked, timeout_s=60).text for _ in range(3)}) > 1


@needs_model
def test_a_stop_sequence_ends_the_answer(provider):
    asked = request(ENDLESS, max_tokens=60)
    whole = provider.send(asked, timeout_s=60).text
    word = "three"
    cut = provider.send(request(ENDLESS, max_tokens=60, stop_sequences=(word,)), timeout_s=60)
    assert (cut.text, cut.stop_reason) == (whole.partition(word)[0], "end_turn")


@needs_model
def test_system_text_and_earlier_turns_reach_the_model(provider):
    turns = (
        Message("user", (TextBlock("My name is Zebulon."),)),
        Message("assistant", (TextBlock("Hello, Zebulon."),)),
        Message("user", (TextBlock("What is my name?"),)),
    )
    short, long = request(), request(messages=turns, system="You remember names.", max_tokens=40)
    reply = provider.send(long, timeout_s=60)
    assert "Zebulon" in reply.text
    assert reply.usage.input_tokens > provider.send(short, timeout_s=60).usage.input_tokens


@needs_model
def test_a_prompt_beyond_the_window_is_refused_before_anything_is_generated(provider):
    pieces = []
    with pytest.raises(ProviderError, match="8192") as caught:
        provider.send(request("word " * 9000, stream=True), timeout_s=60, on_text=pieces.append)
    assert (caught.value.cause, caught.value.usage, caught.value.billed, pieces) == (
        "context_exceeded",
        None,
        False,
        [],
    )


@needs_model
def test_an_answer_that_fills_the_window_says_so(monkeypatch):
    monkeypatch.setattr("elexirion_dagster.providers.embedded_engine._CONTEXT_TOKENS", 256)
    schema = {"type": "array", "items": {"type": "integer"}, "minItems": 150}
    reply = opened().send(request(output_schema=schema, max_tokens=4096), timeout_s=60)
    assert reply.stop_reason == "context_exceeded"
    assert reply.usage.total_tokens in range(250, 258)


@needs_model
@pytest.mark.parametrize("stream", [False, True])
def test_the_timeout_ends_the_generation_and_tells_what_was_used(provider, stream):
    with pytest.raises(ProviderError, match="generating") as caught:
        provider.send(request(ENDLESS, max_tokens=4000, stream=stream), timeout_s=3)
    assert caught.value.cause == "timeout"
    assert caught.value.billed
    assert caught.value.usage.input_tokens > 10
    assert provider.send(request(), timeout_s=60).text


@needs_model
def test_a_timeout_after_text_was_handed_out_says_so(provider):
    pieces = []
    with pytest.raises(ProviderError) as caught:
        provider.send(request(ENDLESS, max_tokens=4000, stream=True), timeout_s=3, on_text=pieces.append)
    assert pieces
    assert caught.value.partial


@needs_model
@pytest.mark.parametrize("text", [ENDLESS, "word " * 7000], ids=["generating", "reading a long prompt"])
def test_cancelling_ends_the_call_and_the_model_serves_the_next(provider, text):
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    with pytest.raises(Cancelled):
        provider.send(request(text, max_tokens=4000), timeout_s=120, cancelled=stop)
    assert provider.send(request(), timeout_s=60).text


@needs_model
def test_deadline_and_cancellation_hold_while_another_call_is_served(provider):
    begun, stop, waiting = threading.Event(), threading.Event(), threading.Event()

    def long():
        with pytest.raises(Cancelled):
            provider.send(
                request(ENDLESS, max_tokens=4000, stream=True),
                timeout_s=120,
                cancelled=stop,
                on_text=lambda _text: begun.set(),
            )

    with ThreadPoolExecutor(1) as pool:
        served = pool.submit(long)
        begun.wait()
        with pytest.raises(ProviderError, match="waiting for its turn") as caught:
            provider.send(request(), timeout_s=0.1)
        threading.Timer(0.1, waiting.set).start()
        with pytest.raises(Cancelled):
            provider.send(request(), timeout_s=120, cancelled=waiting)
        assert not served.done()
        stop.set()
        served.result()
    assert (caught.value.cause, caught.value.billed) == ("timeout", False)


@needs_model
def test_nothing_is_asked_once_cancelled(provider):
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        provider.send(request(model="/there/is/none.gguf"), timeout_s=5, cancelled=stop)


@needs_model
def test_threads_share_one_instance_of_a_file():
    embedded = opened()
    embedded.send(request(max_tokens=1), timeout_s=60)
    before = psutil.Process().memory_info().rss
    with ThreadPoolExecutor(8) as pool:
        texts = set(pool.map(lambda _: embedded.send(request(max_tokens=8), timeout_s=120).text, range(8)))
    assert len(texts) == 1
    assert psutil.Process().memory_info().rss - before < GGUF.stat().st_size


@needs_model
def test_a_schema_that_llama_cpp_cannot_take_is_bad_input(provider):
    with pytest.raises(ProviderError, match="zork") as caught:
        provider.send(request(output_schema={"type": "zork"}), timeout_s=60)
    assert (caught.value.cause, caught.value.billed) == ("bad_input", False)


@needs_model
def test_odd_text_is_asked_and_answered(provider):
    assert provider.send(request('"\u2028 \x00 \U0001f41f </s><|im_end|> Ünïcode'), timeout_s=60).usage.output_tokens


@needs_model
def test_no_port_is_open(provider):
    assert provider.send(request(max_tokens=1), timeout_s=60)
    assert [one for one in psutil.Process().net_connections("inet") if one.status == psutil.CONN_LISTEN] == []


@needs_model
def test_a_model_that_is_let_go_the_moment_it_is_loaded_does_not_hang(environ):
    program = """
import sys
from pathlib import Path
from elexirion_dagster.providers import embedded_engine
for _ in range(4):
    embedded_engine._loaded(Path(sys.argv[1]))
"""
    run = subprocess.run(
        [sys.executable, "-c", program, GGUF], env=environ, capture_output=True, timeout=120, check=False
    )
    assert (run.returncode, run.stderr) == (0, b"")


@needs_model
def test_closing_gives_the_memory_back(environ):
    program = """
import gc, sys, psutil
from pathlib import Path
from elexirion_dagster.providers.embedded import EmbeddedProvider
from elexirion_dagster.records import Message, Request, TextBlock
rss = lambda: psutil.Process().memory_info().rss
provider = EmbeddedProvider(Path("/nowhere"))
before = rss()
provider.send(Request(sys.argv[1], (Message("user", (TextBlock("hi"),)),), max_tokens=4), timeout_s=60)
loaded = rss()
provider.close()
print(before, loaded, rss())
"""
    run = subprocess.run([sys.executable, "-c", program, GGUF], env=environ, capture_output=True, text=True, check=True)
    before, loaded, closed = map(int, run.stdout.split())
    assert run.stderr == ""
    assert loaded - before > 150e6
    assert closed - before < (loaded - before) / 3


@needs_extra
@pytest.mark.parametrize("content", [b"", b"hello" * 100, b"GGUF" + b"\xff" * 1000], ids=["empty", "text", "broken"])
def test_a_file_that_is_no_model_is_told_without_a_crash(tmp_path, content):
    file = tmp_path / "odd.gguf"
    file.write_bytes(content)
    with pytest.raises(ProviderError, match=r"odd\.gguf") as caught:
        opened().send(request(model=str(file)), timeout_s=60)
    assert (caught.value.cause, caught.value.billed) == ("model_not_found", False)


@needs_model
def test_a_truncated_download_is_told_without_a_crash(tmp_path):
    file = tmp_path / "half.gguf"
    with GGUF.open("rb") as whole:
        file.write_bytes(whole.read(GGUF.stat().st_size // 2))
    with pytest.raises(ProviderError, match="cannot load it") as caught:
        opened().send(request(model=str(file)), timeout_s=60)
    assert caught.value.cause == "model_not_found"


@needs_extra
@pytest.mark.parametrize("model", ["smollm2-135m", "/no/such.gguf", "../secret", "a/b.gguf", "x" * 500, ""])
def test_a_missing_model_says_how_to_get_one(tmp_path, model):
    with pytest.raises(ProviderError) as caught:
        opened(tmp_path).send(request(model=model), timeout_s=5)
    assert caught.value.cause == "model_not_found"
    assert "elexirion models pull smollm2-135m" in caught.value.mend


@needs_extra
def test_tools_are_refused_rather_than_dropped():
    with pytest.raises(ProviderError) as caught:
        opened().send(request(tools=(Tool("read", "Read a file.", {"type": "object"}),)), timeout_s=5)
    assert caught.value.cause == "bad_input"
    assert not opened().capabilities("any").tools


@needs_extra
def test_a_temporary_folder_too_deep_for_the_listener_is_told(tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(ProviderError, match="short path") as caught:
        opened().send(request(model=str(tmp_path / "m.gguf")), timeout_s=5)
    assert caught.value.cause == "storage"


@needs_model
def test_a_model_in_the_cache_is_named_without_its_path(home_path):
    (home_path / "cache" / "models").mkdir(parents=True)
    (home_path / "cache" / "models" / "mine.gguf").symlink_to(GGUF)
    providers = Providers(Settings(home=home_path))
    reply = providers.open("embedded").send(request(model="mine"), timeout_s=60)
    providers.close()
    assert (reply.model, reply.usage.output_tokens > 0) == ("mine", True)
