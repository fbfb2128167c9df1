"""Which isolation this machine can do, and a command under it."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from elexirion_dagster.errors import PolicyError
from elexirion_dagster.sandbox import bubblewrap, landlock_rules
from elexirion_dagster.sandbox.landlock import rules
from elexirion_dagster.sandbox.places import installed
from elexirion_dagster.sandbox.policy import Mode, Sandbox

Kind = Literal["bubblewrap", "landlock", "none"]

INSTALL = "Install bubblewrap (apt install bubblewrap, or pip install 'elexirion[sandbox]')"
_PROBE_S = 20.0


@dataclass(frozen=True, slots=True)
class Isolation:
    """What is in force: `detail` is its version, or why there is none; `program` is bubblewrap's path."""

    kind: Kind
    detail: str
    program: str = ""


@dataclass(frozen=True, slots=True)
class Confined:
    """A command as it is started: words for the supervisor, the program, its environment."""

    kind: Kind
    options: tuple[str, ...]
    program: tuple[str, ...]
    environment: dict[str, str]


@cache
def available() -> Isolation:
    """Try what there is, once per process: bubblewrap, else Landlock, else nothing."""
    if sys.platform != "linux":
        return Isolation("none", f"there is no isolation for {sys.platform}")
    why = "bubblewrap is not installed"
    for program in bubblewrap.candidates():
        failed = _probe(program)
        if failed is None:
            return Isolation("bubblewrap", program, program)
        why = f"bubblewrap cannot be used: {failed}"
    if version := landlock_rules.version():
        return Isolation("landlock", f"version {version} ({why})")
    return Isolation("none", f"{why}, and this kernel has no Landlock")


def warning(modes: Collection[Mode | None], setting: Mode) -> str | None:
    """What to say where programs with these modes run without the sandbox that nobody switched off."""
    wanted = any((mode or setting) != "off" for mode in modes)
    if not wanted or (found := available()).kind != "none":
        return None
    return (
        f"NOT ISOLATED: its programs see and can change all that you can ({found.detail}). "
        f"{INSTALL}, or accept it with ELEXIRION_SANDBOX=off."
    )


def confine(
    sandbox: Sandbox | None, args: Sequence[str], *, cwd: Path, env: Mapping[str, str], scratch_bytes: int
) -> Confined:
    """`args` under what the sandbox asks for and the machine can do. Raises PolicyError where it is required."""
    found = Isolation("none", "off") if sandbox is None or sandbox.mode == "off" else available()
    if sandbox is not None and sandbox.mode == "required" and found.kind == "none":
        raise PolicyError(
            f"'{args[0]}' requires a sandbox, and this machine has none: {found.detail}",
            cause="tool_denied",
            mend=f"{INSTALL}, or set `sandbox: auto` (ELEXIRION_SANDBOX=auto).",
        )
    if sandbox is None or found.kind == "none":
        return Confined("none", (), tuple(args), dict(env))
    places = installed(args[0], cwd, env)
    if found.kind == "landlock":
        scratch = tempfile.mkdtemp(prefix="elexirion-")
        options = rules(sandbox, places, scratch=Path(scratch))
        return Confined("landlock", options, tuple(args), {**env, "TMPDIR": scratch})
    before = bubblewrap.arguments(sandbox, cwd, places, scratch_bytes=scratch_bytes)
    files = bubblewrap.passwd(env.get("HOME", str(cwd))).items()
    options = ("bubblewrap", *(f"data={path}={text}" for path, text in files))
    return Confined("bubblewrap", options, (found.program, *before, *args), {**env, "TMPDIR": "/tmp"})  # noqa: S108


def _probe(program: str) -> str | None:
    """Why bubblewrap cannot isolate here: kernels and containers may refuse it. None where it can."""
    before = bubblewrap.arguments(Sandbox(), Path("/"), (), scratch_bytes=1024 * 1024)
    try:
        done = subprocess.run(
            [program, *before, "true"],
            env={"PATH": os.defpath},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_PROBE_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None
    return done.stderr.decode(errors="replace").strip()[:300] or f"exit code {done.returncode}"
