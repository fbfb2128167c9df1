"""Jobs for the tests of the launcher; each says in a file what became of it."""

import ctypes
import json
import os
import resource
import signal
import subprocess
import time
from pathlib import Path

import dagster as dg
import psutil

from elexirion_dagster import shell


def one_op(compute):
    """A job of one op, which gets a folder of its own."""

    @dg.op(name=f"{compute.__name__}_op", config_schema={"folder": str})
    def op(context):
        compute(Path(context.op_config["folder"]))

    @dg.config_mapping(config_schema={"folder": str})
    def folder(config):
        return {"ops": {op.name: {"config": config}}}

    @dg.job(name=compute.__name__, executor_def=dg.in_process_executor, config=folder)
    def job():
        op()

    return job


@one_op
def tells(folder):
    told = {
        "pid": os.getpid(),
        "mark": os.environ.get("MARK"),
        "cwd": str(Path.cwd()),
        "leader": os.getsid(0) == os.getpid(),
        "sockets": [one.laddr for one in psutil.Process().net_connections("unix") if one.laddr],
        "hears_ctrl_c": signal.getsignal(signal.SIGINT) is not signal.SIG_IGN,
    }
    (folder / "told.json").write_text(json.dumps(told))


@one_op
def waits(folder):
    (folder / "pid").write_text(str(os.getpid()))
    while not (folder / "go").exists():
        time.sleep(0.02)


@one_op
def aborts(_folder):
    ctypes.string_at(0)


@one_op
def ignores_signals(folder):
    child = subprocess.Popen(["sleep", "317"], start_new_session=True)
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    (folder / "child").write_text(str(child.pid))
    (folder / "pid").write_text(str(os.getpid()))
    while True:
        time.sleep(1)


@one_op
def runs_a_command(folder):
    (folder / "pid").write_text(str(os.getpid()))
    shell.run(["sh", "-c", "echo $$ > command; sleep 318"], cwd=folder, timeout_s=400)


@one_op
def forks_and_dies(folder):
    child = os.fork()
    if child == 0:
        time.sleep(120)
        os._exit(0)
    (folder / "child").write_text(str(child))
    os._exit(3)


@one_op
def leaks(_folder):
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 200_000_000, used + 200_000_000))
    kept = []
    while True:
        kept.append(bytearray(20_000_000))


@one_op
def tells_of_module(folder):
    import warm_module

    (folder / "told").write_text(warm_module.TEXT)
