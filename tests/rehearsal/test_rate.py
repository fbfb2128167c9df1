import time

import httpx

from elexirion_dagster.rehearsal.script import Rate, Script
from elexirion_dagster.rehearsal.server import RehearsalServer

ASK = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}


def test_calls_above_the_rate_are_refused_with_the_time_when_there_is_room_again():
    with RehearsalServer(Script(rate=Rate(requests_per_s=2, burst=3))) as server, httpx.Client() as client:

        def ask():
            return client.post(f"{server.base_url}/v1/messages", json=ASK)

        answers = [ask() for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200] * 3 + [429] * 2
        assert answers[-1].json()["error"]["type"] == "rate_limit_error"
        wait_ms = float(answers[-1].headers["retry-after-ms"])
        assert 0 < wait_ms <= 500
        time.sleep(wait_ms / 1000)
        assert ask().status_code == 200
        assert (server.count, server.refused) == (6, 2)
