"""What waiting costs: CPU and memory of `elexirion up` with 50 pipelines, and the load time of 200 beside plain jobs.

`python -m benchmarks.idle [PIPELINES] [SECONDS] [LOADED]`
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.served import REPOSITORY, served

PIPELINE = """\
name: {name}
inputs: {{repo: {{type: path, default: "."}}, limit: {{type: integer, default: 3}}}}
steps:
  - {{name: listed, type: files, list: {{root: "{{{{ inputs.repo }}}}"}}}}
  - {{name: counted, type: set, vars: {{n: "{{{{ [steps.listed.data.files | length, '{name}'] }}}}"}}}}
  - {{name: asked, type: llm, prompt: "{{{{ vars.n }}}} files of {name}", output: {{ok: boolean}}}}
outputs: {{n: "{{{{ {{'{name}': vars.n}} }}}}"}}
"""
BY_HAND = """
import dagster as dg

RUN = {"required_resource_keys": {"run"}}

def job(number):
    class Inputs(dg.Config):
        repo: str = "."
        limit: int = 3

    @dg.op(name=f"listed_{number}", description="Lists files.", tags={"dagster/kind/files": ""}, **RUN)
    def listed(context) -> dict: return {}
    @dg.op(name=f"counted_{number}", description="Counts them.", tags={"dagster/kind/set": ""}, **RUN)
    def counted(context, listed: dict) -> dict: return {}
    @dg.op(name=f"asked_{number}", description="Asks a model.", tags={"dagster/kind/llm": ""}, **RUN)
    def asked(context, counted: dict) -> dict: return {}
    @dg.op(name=f"outputs_{number}", **RUN)
    def outputs(context, counted: dict, asked: dict) -> dict: return {}

    @dg.resource(config_schema={"inputs": dict})
    def run(context): return None

    @dg.config_mapping
    def inputs(config: Inputs): return {"resources": {"run": {"config": {"inputs": config.model_dump()}}}}

    @dg.graph(name=f"p{number}")
    def graph():
        files = counted(listed())
        outputs(files, asked(files))

    return graph.to_job(resource_defs={"run": run}, config=inputs)

@dg.definitions
def defs():
    return dg.Definitions(jobs=[job(number) for number in range(COUNT)])
"""
LOAD = """
import json, sys, time
import elexirion_dagster.definitions
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.remote_representation.external_data import RepositorySnap
repository = (
    ReconstructableRepository.for_file(sys.argv[2], "defs") if sys.argv[1] == "file"
    else ReconstructableRepository.for_module(sys.argv[2], "defs")
)
begun = time.process_time()
found = repository.get_definition()
RepositorySnap.from_def(found)
print(json.dumps({"s": time.process_time() - begun, "jobs": len(found.get_all_jobs())}))
"""


def load_s(kind: str, target: str, folder: Path) -> tuple[float, int]:
    """CPU seconds to load definitions and to describe them to Dagster, as a code server does; the best of three."""
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY), "ELEXIRION_HOME": str(folder / "home")}
    command = [sys.executable, "-c", LOAD, kind, target]
    said = [json.loads(subprocess.check_output(command, cwd=folder, env=environ)) for _ in range(3)]
    return min(one["s"] for one in said), said[0]["jobs"]


def loading(count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pipelines_yaml").mkdir()
        for number in range(count):
            text = PIPELINE.format(name=f"p{number}")
            (folder / "pipelines_yaml" / f"p{number}.yaml").write_text(text, encoding="utf-8")
        (folder / "by_hand.py").write_text(BY_HAND.replace("COUNT", str(count)), encoding="utf-8")
        ours, jobs = load_s("module", "elexirion_dagster.definitions", folder)
        peer, peers = load_s("file", str(folder / "by_hand.py"), folder)
    print(f"load: {jobs} pipelines {ours:.2f} s CPU, {peers} jobs by hand {peer:.2f} s, ratio {ours / peer:.2f}")


def idling(count: int, seconds: int) -> None:
    with served({f"p{number}": PIPELINE.format(name=f"p{number}") for number in range(count)}) as one:
        time.sleep(30)  # the first ticks of the sensors, and what Dagster does once
        before, begun = one.cpu_s(), time.monotonic()
        time.sleep(seconds)
        spent = (one.cpu_s() - before) / (time.monotonic() - begun)
        print(f"idle, {count} pipelines: {100 * spent:.1f} % of one core over {seconds} s, {one.pss_mb():.0f} MB (PSS)")
        for process in sorted(one.processes(), key=lambda process: process.pid):
            words = " ".join(process.cmdline()[1:6])
            print(f"  {process.memory_full_info().pss / 1e6:6.0f} MB  {words[:100]}")


def main(pipelines: int, seconds: int, loaded: int) -> None:
    print(machine())
    loading(loaded)
    idling(pipelines, seconds)


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    main(*(numbers + [50, 180, 200][len(numbers) :]))
