"""llmock, which is not ours, breaks our calls in every way it knows and judges from its side how they took it.

The calls go the whole way (step, `Calls`, provider, socket), so that our retries are what is judged.

Streams are paced, because llmock counts a further attempt as a retry only where the one before had not been sent to
its end when the client hung up. Unpaced, it has sent all before we can close: it then reports `malformed_chunk_ignored`
over "2 call(s), 2 attempt(s)" with the same fingerprint, which is the retry that it says did not happen (llmock 0.2.2,
verdict.py: group_calls, _failed).
"""

import pytest
from llmock.chaos import StreamChaos
from llmock.scenarios import Fail, SlowFirstToken, StreamFault
from llmock.testing import LLMockServer
from llmock.verdict import judge

from elexirion_dagster.tags import STREAM_TAG

pytestmark = pytest.mark.slow

PIPELINE = """
model: {model}
retry: {{max_attempts: 3, initial_s: 0.3, max_s: 5}}
steps: [{{name: ask, type: llm, prompt: "Why is the sky blue?", timeout_s: {timeout_s}}}]
"""
MODELS = ("anthropic/claude-sonnet-5-5", "local/some-model")
PACE_MS = 20


@pytest.fixture(scope="module")
def llmock_running():
    with LLMockServer() as running:
        running.state.stream_chaos = StreamChaos(chunk_delay_ms=PACE_MS)
        yield running


@pytest.fixture(params=MODELS, ids=lambda model: model.partition("/")[0])
def ask(request, llmock_running, start):
    """Ask once under some faults; gives the step's result, llmock's verdict and its records."""

    def go(*faults, stream=False, timeout_s=30):
        llmock_running.state.reset()
        llmock_running.state.scenarios.add(*faults)
        settings = {
            "model": None,
            "anthropic_api_key": "not-a-key",
            "anthropic_base_url": llmock_running.base_url("anthropic"),
            "local_base_url": llmock_running.base_url("openai"),
        }
        text = PIPELINE.format(model=request.param, timeout_s=timeout_s)
        result = start(text, tags={STREAM_TAG: "yes"} if stream else {}, settings=settings).all()["ask"]
        records = llmock_running.state.journal.records(wait=5)
        return result, judge(records), records

    return go


def faultless(verdict):
    """Nothing found, warnings included; the report is the message."""
    assert not verdict.findings, verdict.render()
    return True


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_without_faults_there_is_one_attempt(ask, stream):
    result, verdict, records = ask(stream=stream)
    assert result.status == "succeeded"
    assert faultless(verdict)
    assert [record.stream for record in records] == [stream]


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_a_passing_failure_is_tried_again(ask, status):
    result, verdict, records = ask(Fail(status))
    assert result.status == "succeeded"
    assert faultless(verdict)
    assert [record.status for record in records] == [status, 200]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_failure_that_stays_is_not_tried_again(ask, status):
    result, verdict, records = ask(Fail(status, times=None))
    assert result.status == "failed"
    assert faultless(verdict)
    assert len(records) == 1


def test_the_wait_that_a_server_asks_for_is_kept(ask):
    result, verdict, records = ask(Fail(429, retry_after=1, times=2))
    assert result.status == "succeeded"
    assert faultless(verdict)
    assert [record.retry_after for record in records] == [1, 1, None]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_an_outage_ends_after_a_few_attempts_further_and_further_apart(ask, stream):
    result, verdict, records = ask(Fail(503, times=None), stream=stream)
    assert (result.status, result.error.cause) == ("failed", "overloaded")
    assert faultless(verdict)
    assert len(records) == 3


@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize("kind", ["disconnect", "truncate", "malformed"])
def test_a_broken_stream_is_no_answer_and_is_tried_again(ask, kind, after):
    whole = ask(stream=True)[0].text
    result, verdict, records = ask(StreamFault(kind, after_chunks=after), stream=True)
    assert (result.status, result.text) == ("succeeded", whole)
    assert faultless(verdict)
    assert [record.fault for record in records] == [f"stream:{kind}@{after}", None]


def test_a_stream_that_breaks_every_time_is_a_failure(ask):
    result, verdict, records = ask(StreamFault("disconnect", times=None), stream=True)
    assert (result.status, result.error.cause) == ("failed", "connection")
    assert faultless(verdict)
    assert len(records) == 3


def test_a_stream_that_hangs_is_ended_when_its_time_is_up(ask):
    """llmock takes any second of silence for a hang; models that think are silent for longer, so the time is ours."""
    result, verdict, records = ask(StreamFault("stall", stall_seconds=60), stream=True, timeout_s=1)
    assert (result.status, result.error.cause) == ("failed", "timeout")
    assert faultless(verdict)
    assert not records[0].completed


def test_a_slow_first_word_is_waited_for(ask):
    result, verdict, _ = ask(SlowFirstToken(1), stream=True)
    assert result.status == "succeeded"
    assert faultless(verdict)


def test_the_one_finding_is_a_wait_that_the_pipeline_forbids(ask):
    """`gave_up` is right and meant: the server asks for 30 s, and `retry.max_s` says how long is waited at most."""
    result, verdict, _ = ask(Fail(429, retry_after=30))
    assert (result.status, result.error.cause) == ("failed", "rate_limited")
    assert [finding.code for finding in verdict.findings] == ["gave_up"]
