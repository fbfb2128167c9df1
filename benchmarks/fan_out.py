"""500 model calls, 50 at once, 200 ms each: our for_each beside a thread pool over the same SDK, and dspy.Parallel."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.machine import machine
from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.run import Run, RunInfo
from elexirion_dagster.settings import Settings

CALLS, PARALLEL, LATENCY_MS, ROUNDS = 500, 50, 200, 3
IDEAL_S = CALLS / PARALLEL * LATENCY_MS / 1000
MAX_TOKENS = 64
PIPELINE = """\
name: fan_out
inputs: {numbers: {type: list}}
model: anthropic/rehearsal-script
steps:
  - name: each
    type: for_each
    items: "{{ inputs.numbers }}"
    as: number
    max_parallel: PARALLEL
    steps:
      - {name: ask, type: llm, prompt: "Number {{ number }}", max_tokens: MAX_TOKENS}
""".replace("PARALLEL", str(PARALLEL)).replace("MAX_TOKENS", str(MAX_TOKENS))


def main() -> None:
    print(machine())
    print(f"{CALLS} calls, {PARALLEL} at once, {LATENCY_MS} ms each; ideal {IDEAL_S:.2f} s")
    with server() as url:
        os.environ["ANTHROPIC_API_KEY"] = "rehearsal"
        contenders: dict[str, Callable[[str], float]] = {
            "thread pool over the SDK": pool_s,
            "elexirion for_each": ours_s,
        }
        with contextlib.suppress(ImportError):
            import dspy  # noqa: F401, PLC0415 - only where the extra is installed

            contenders["dspy.Parallel over the SDK"] = dspy_s
        best: dict[str, float] = {}
        for _ in range(ROUNDS):
            for name, run in contenders.items():
                best[name] = min(best.get(name, float("inf")), run(url))
    pool = best["thread pool over the SDK"]
    for name, seconds in best.items():
        rate = CALLS / seconds
        figures = f"{IDEAL_S / seconds:5.0%} of ideal  {pool / seconds:5.0%} of the pool"
        print(f"{name:28} {seconds:6.2f} s  {rate:6.0f} calls/s  {figures}")


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The rehearsal server as a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.yaml"
        script.write_text(f"latency_ms: {LATENCY_MS}\nanswers: [{{text: fine}}]\n")
        command = [sys.executable, "-m", "elexirion_dagster.rehearsal.server", str(script), "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1]
            process.terminate()


def ours_s(url: str) -> float:
    """Wall seconds of the for_each step, journal and all."""
    with tempfile.TemporaryDirectory() as home:
        settings = Settings.from_env(
            {"ELEXIRION_HOME": home, "ANTHROPIC_API_KEY": "rehearsal", "ANTHROPIC_BASE_URL": url}
        )
        run_id = str(uuid.uuid4())
        info = RunInfo(run=run_id, root_run=run_id, inputs={"numbers": list(range(CALLS))}, tags={}, trigger="cli")
        pipeline = load_string(PIPELINE).pipeline
        run = Run(pipeline, info, settings)
        started = time.perf_counter()
        result = run.step(pipeline.steps[0], {})
        seconds = time.perf_counter() - started
        run.close()
        assert result.status == "succeeded", result.error
        return seconds


def pool_s(url: str) -> float:
    """Wall seconds of a plain thread pool over one client, not streaming, as ours."""
    import anthropic  # noqa: PLC0415 - only this peer needs it

    client = anthropic.Anthropic(base_url=url, max_retries=0)

    def ask(number: int) -> str:
        message = {"role": "user", "content": f"Number {number}"}
        reply = client.messages.create(model="rehearsal-script", max_tokens=MAX_TOKENS, messages=[message])
        return reply.content[0].text

    started = time.perf_counter()
    with ThreadPoolExecutor(PARALLEL) as pool:
        answers = list(pool.map(ask, range(CALLS)))
    assert len(answers) == CALLS
    return time.perf_counter() - started


def dspy_s(url: str) -> float:
    """Wall seconds of dspy.Parallel over Predict, through an engine on the same SDK."""
    import anthropic  # noqa: PLC0415 - only this peer needs it
    import dspy  # noqa: PLC0415 - only this peer needs it
    from dspy.lm15 import Message, Response, Usage  # noqa: PLC0415 - only this peer needs it

    client = anthropic.Anthropic(base_url=url, max_retries=0)

    class Engine:
        supported_params = ("max_tokens",)
        supports_response_schema = False
        supports_function_calling = False

        def complete(self, request: object) -> Response:
            text = request.messages[-1].text  # type: ignore[attr-defined]
            reply = client.messages.create(
                model="rehearsal-script", max_tokens=MAX_TOKENS, messages=[{"role": "user", "content": text}]
            )
            answer = f"[[ ## answer ## ]]\n{reply.content[0].text}\n\n[[ ## completed ## ]]"
            return Response(
                id=reply.id,
                model=reply.model,
                message=Message.assistant(answer),
                finish_reason="stop",
                usage=Usage(input_tokens=1, output_tokens=1),
            )

        def close(self) -> None:
            client.close()

    lm = dspy.LM("anthropic/rehearsal-script", engine=Engine(), cache=False, num_retries=0)
    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
        ask = dspy.Predict("question -> answer")
        pairs = [(ask, dspy.Example(question=f"Number {number}").with_inputs("question")) for number in range(CALLS)]
        started = time.perf_counter()
        answers = dspy.Parallel(num_threads=PARALLEL, disable_progress_bar=True)(pairs)
        seconds = time.perf_counter() - started
    assert len(answers) == CALLS
    return seconds


if __name__ == "__main__":
    main()
