"""Requests of the web server to a code server that is being started again wait for it.

Dagster's own client fails at once, so that a launch in those seconds would end in an HTTP 500.
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import grpc  # type: ignore[import-untyped]
from dagster._grpc import client
from dagster._grpc.utils import max_rx_bytes, max_send_bytes

_SERVICE = "api.DagsterApi"
_AGAIN = {
    "maxAttempts": 5,
    "initialBackoff": "0.5s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
_CONFIG = {
    "methodConfig": [
        {"name": [{"service": _SERVICE}], "waitForReady": True, "retryPolicy": _AGAIN},
        {"name": [{"service": _SERVICE, "method": "StartRun"}], "waitForReady": True},  # must not be done twice
    ]
}
"""As https://github.com/grpc/grpc/blob/master/doc/service_config.md says. Each request keeps its own timeout."""
_RECONNECT_MS = 500


def wait_for_code_servers() -> None:
    """Have all of Dagster's requests to code servers in this process wait until their server answers."""
    client.DagsterGrpcClient._channel = _channel  # type: ignore[method-assign] # noqa: SLF001
    client.DagsterGrpcClient._async_channel = _async_channel  # type: ignore[method-assign] # noqa: SLF001


def _options() -> list[tuple[str, int | str]]:
    return [
        ("grpc.max_receive_message_length", max_rx_bytes()),
        ("grpc.max_send_message_length", max_send_bytes()),
        ("grpc.service_config", json.dumps(_CONFIG)),
        ("grpc.initial_reconnect_backoff_ms", _RECONNECT_MS),
        ("grpc.min_reconnect_backoff_ms", _RECONNECT_MS),
        ("grpc.max_reconnect_backoff_ms", _RECONNECT_MS),
    ]


@contextmanager
def _channel(self: client.DagsterGrpcClient) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(self._server_address, options=_options(), compression=grpc.Compression.Gzip) as channel:
        yield channel


@asynccontextmanager
async def _async_channel(self: client.DagsterGrpcClient) -> AsyncIterator[grpc.aio.Channel]:
    address, compression = self._server_address, grpc.Compression.Gzip
    async with grpc.aio.insecure_channel(address, options=_options(), compression=compression) as channel:
        yield channel
