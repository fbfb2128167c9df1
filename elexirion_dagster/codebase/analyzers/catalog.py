"""Every analyzer by its name, and the way to run them."""

import threading
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from elexirion_dagster.codebase.analysis import Analysis, Progress, analyze_with
from elexirion_dagster.codebase.analyzers.ast_grep import AST_GREP
from elexirion_dagster.codebase.analyzers.bandit import BANDIT
from elexirion_dagster.codebase.analyzers.base import Analyzer
from elexirion_dagster.codebase.analyzers.ruff import RUFF
from elexirion_dagster.codebase.analyzers.vulture import VULTURE
from elexirion_dagster.errors import InputError
from elexirion_dagster.redact import Redactor
from elexirion_dagster.sandbox.policy import PROGRAMS_ONLY, Sandbox

ANALYZERS: Mapping[str, Analyzer] = {
    "ruff": RUFF,
    "bandit": BANDIT,
    "vulture": VULTURE,
    "ast-grep": AST_GREP,
}

PACKAGES: Mapping[str, str] = {"ruff": "ruff", "bandit": "bandit", "vulture": "vulture", "ast-grep": "ast-grep-cli"}
"""What to install for each, by its name on the package index."""

DEFAULT: tuple[str, ...] = tuple(ANALYZERS)
"""All of them: each looks only at the languages it reads."""


def analyze(
    files: Sequence[Mapping[str, Any]],
    *,
    root: Path,
    tools: Sequence[str] = DEFAULT,
    workers: int,
    timeout_s: float,
    redactor: Redactor,
    sandbox: Sandbox = PROGRAMS_ONLY,
    cancelled: threading.Event | None = None,
    on_progress: Progress | None = None,
) -> Analysis:
    """Run `tools` over `files` (records of `list_files`) with `workers` processes at a time, `timeout_s` in all.

    `on_progress(files done by all their tools, findings so far)` is called from the calling thread. Raises InputError
    for an unknown tool, PolicyError for a path that leaves `root`, Cancelled. A tool that is missing, crashes or
    times out is told in `tools`, the files it did not see in `unparsed`.
    """
    return analyze_with(
        [_known(name) for name in dict.fromkeys(tools)],
        files,
        root=root,
        workers=workers,
        timeout_s=timeout_s,
        redactor=redactor,
        sandbox=sandbox,
        cancelled=cancelled,
        on_progress=on_progress,
    )


def _known(name: str) -> Analyzer:
    if name in ANALYZERS:
        return ANALYZERS[name]
    near = get_close_matches(name, ANALYZERS, n=1)
    meant = f"Did you mean {near[0]}? " if near else ""
    raise InputError(f"there is no analyzer {name!r}", mend=f"{meant}Known are: {', '.join(ANALYZERS)}.")
