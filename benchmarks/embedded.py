"""The embedded provider beside plain xllamacpp on the same file: load, a typed answer, tokens per second, memory."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs
import psutil

from benchmarks.machine import machine

ROUNDS, STORY_TOKENS = 3, 60
Schema = dict[str, Any] | None
Ask = Callable[[str, int, Schema], str]
CACHED = platformdirs.user_cache_path("elexirion") / "tests" / "cache" / "models" / "smollm2-135m.gguf"
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"type": "string", "maxLength": 12}, "n": {"type": "integer"}},
    "required": ["colour", "n"],
    "additionalProperties": False,
}
TYPED, STORY = "Name a colour and a number.", "Write a very long story."


def main() -> None:
    print(machine(), f"load {os.getloadavg()[0]:.1f}")
    file = os.environ.get("ELEXIRION_TEST_GGUF") or str(CACHED)
    for name in ("elexirion embedded", "xllamacpp, same settings", "xllamacpp, its defaults"):
        run = subprocess.run(
            [sys.executable, "-m", "benchmarks.embedded", name, file], capture_output=True, text=True, check=True
        )
        figures = json.loads(run.stdout.splitlines()[-1])
        print(
            f"{name:26} load {figures['load_s']:5.2f} s  typed answer {figures['typed_s']:5.2f} s"
            f"  {figures['tokens_s']:4.0f} tokens/s  memory {figures['memory_mb']:+5.0f} MB"
            f", closed {figures['closed_mb']:+4.0f} MB"
        )


def measure(name: str, file: str) -> None:
    ask, close = ours(file) if name == "elexirion embedded" else plain(file, tuned="same" in name)
    process = psutil.Process()
    before, started = process.memory_info().rss, time.perf_counter()
    ask("hi", 1, None)
    load_s = time.perf_counter() - started
    typed_s = statistics.median(seconds(ask, TYPED, 60, SCHEMA) for _ in range(ROUNDS))
    story_s = statistics.median(
        seconds(ask, STORY, STORY_TOKENS, None) - seconds(ask, STORY, 1, None) for _ in range(ROUNDS)
    )
    loaded = process.memory_info().rss
    close()
    figures = {
        "load_s": load_s,
        "typed_s": typed_s,
        "tokens_s": (STORY_TOKENS - 1) / story_s,
        "memory_mb": (loaded - before) / 1e6,
        "closed_mb": (process.memory_info().rss - before) / 1e6,
    }
    print(json.dumps(figures))


def seconds(ask: Ask, text: str, max_tokens: int, schema: Schema) -> float:
    started = time.perf_counter()
    answer = ask(text, max_tokens, schema)
    took = time.perf_counter() - started
    if schema is not None:
        assert set(json.loads(answer)) == {"colour", "n"}
    return took


def ours(file: str) -> tuple[Ask, Callable[[], None]]:
    from elexirion_dagster.providers.embedded import EmbeddedProvider  # noqa: PLC0415 - each side loads only its own
    from elexirion_dagster.records import Message, Request, TextBlock  # noqa: PLC0415 - each side loads only its own

    provider = EmbeddedProvider(Path("/"))

    def ask(text: str, max_tokens: int, schema: Schema) -> str:
        turn = (Message("user", (TextBlock(text),)),)
        return provider.send(Request(file, turn, max_tokens=max_tokens, output_schema=schema), timeout_s=600).text

    return ask, provider.close


def plain(file: str, *, tuned: bool) -> tuple[Ask, Callable[[], None]]:
    import xllamacpp  # noqa: PLC0415 - each side loads only its own

    parameters = xllamacpp.CommonParams()
    parameters.model.path, parameters.verbosity, parameters.n_ctx, parameters.n_parallel = file, -1, 8192, 1
    if tuned:
        parameters.fit_params = parameters.warmup = parameters.cache_prompt = False
        parameters.cache_ram_mib = 0
        parameters.n_batch = parameters.n_ubatch = 128
        half = max(1, (os.cpu_count() or 1) // 2)
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = half
    servers = []

    def ask(text: str, max_tokens: int, schema: Schema) -> str:
        if not servers:
            with tempfile.TemporaryDirectory() as folder:
                parameters.hostnames = [f"{folder}/peer.sock"]
                servers.append(xllamacpp.Server(parameters))
        body = {"messages": [{"role": "user", "content": text}], "max_tokens": max_tokens, "temperature": 0}
        if schema is not None:
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        return servers[0].handle_chat_completions(body)["choices"][0]["message"]["content"]

    return ask, servers.clear


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(*sys.argv[1:])
    else:
        main()
