"""What analyzers look for, as a hash: their names, versions, options and rules, and how we rate what they find."""

import hashlib
import importlib.metadata
import json
import os
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from elexirion_dagster.codebase.analyzers.ast_grep import RULES
from elexirion_dagster.codebase.analyzers.base import SEVERITIES
from elexirion_dagster.codebase.analyzers.catalog import ANALYZERS, PACKAGES
from elexirion_dagster.codebase.chunks import version
from elexirion_dagster.codebase.executables import find
from elexirion_dagster.sandbox.policy import PROGRAMS_ONLY


def rule_set(tools: Iterable[str]) -> str:
    """The hash (16 hex digits) of what these analyzers would look for now; one that is missing counts as such."""
    names = sorted(set(tools) & set(ANALYZERS))
    with ThreadPoolExecutor(max(1, len(names))) as pool:
        facts = dict(zip(names, pool.map(_facts, names), strict=True))
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _facts(name: str) -> list[object]:
    executable = find(name)
    if executable is None:
        return ["missing"]
    found = os.stat(executable)  # noqa: PTH116 only its times and size
    return [
        _version(name, executable, found.st_mtime_ns, found.st_size),
        _options(name),
        SEVERITIES[name],
        _rules(name),
    ]


def _options(name: str) -> list[str]:
    """The arguments and the configuration of a tool that is given no file, without places of this machine."""
    with tempfile.TemporaryDirectory() as scratch:
        words = ANALYZERS[name].command("", [], Path(scratch))
        written = [file.read_text(encoding="utf-8") for file in sorted(Path(scratch).iterdir())]
    return [word.replace(scratch, "").replace(str(RULES), "") for word in words] + written


@lru_cache(maxsize=32)
def _version(name: str, executable: str, _changed: int, _size: int) -> str | None:
    """A program's version. Those installed beside us are known; others are asked, which takes up to 0.5 s each."""
    if Path(executable).parent in (Path(sysconfig.get_path("scripts")), Path(sys.executable).parent):
        try:
            return importlib.metadata.version(PACKAGES[name])
        except importlib.metadata.PackageNotFoundError:
            pass
    return version(executable, PROGRAMS_ONLY)


def _rules(name: str) -> str:
    """A digest of the rules that are shipped for a tool."""
    if name != "ast-grep":
        return ""
    files = sorted(RULES.rglob("*.yml"))
    return hashlib.sha256(b"".join(file.name.encode() + file.read_bytes() for file in files)).hexdigest()
