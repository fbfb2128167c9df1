"""Progress on the terminal while a run works, read from its journal."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from elexirion_dagster.operations.following import Following, State

_LOOK_EVERY_S = 0.25


@contextmanager
def shown(journal: Path, *, steps: int) -> Iterator[None]:
    """Show the progress of the run whose journal folder this is, until the block ends.

    It writes to a copy of standard error, because a run redirects the real one to keep what its ops print.
    """
    with os.fdopen(os.dup(sys.stderr.fileno()), "w") as stream:
        console = Console(file=stream)
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            watcher = _Watcher(progress, journal, steps, plain=not console.is_terminal, console=console)
            thread = threading.Thread(target=watcher.run, name="elexirion-progress", daemon=True)
            thread.start()
            try:
                yield
            finally:
                watcher.stop.set()
                thread.join()


class _Watcher:
    """Looks at the journal a few times a second and moves the bars."""

    def __init__(self, progress: Progress, journal: Path, steps: int, *, plain: bool, console: Console) -> None:
        self.stop = threading.Event()
        self._progress = progress
        self._following = Following(journal)
        self._state = State()
        self._overall = progress.add_task("steps", total=steps, figures="")
        self._bars: dict[str, TaskID] = {}
        self._plain = plain
        self._console = console
        self._said = 0.0

    def run(self) -> None:
        while not self.stop.wait(_LOOK_EVERY_S):
            self._look()
        self._look()

    def _look(self) -> None:
        for line in self._following.lines():
            self._state.take(line)
        state = self._state
        self._progress.update(self._overall, completed=state.steps_done, figures=figures(state))
        for path, (done, total, note) in state.running.items():
            if path not in self._bars:
                self._bars[path] = self._progress.add_task(path, total=total, figures="")
            self._progress.update(self._bars[path], completed=done, total=total, figures=note or "")
        if self._plain and time.monotonic() - self._said > 5:  # noqa: PLR2004 - a log wants a line, not an animation
            self._said = time.monotonic()
            self._console.print(
                f"{state.steps_done} steps done{', ' if figures(state) else ''}{figures(state)}", highlight=False
            )


def figures(state: State) -> str:
    """Findings, calls and cost so far, as far as there are any."""
    parts = [f"{state.findings} findings"] if state.findings else []
    if state.calls or state.failed_calls:
        cost = "cost unknown" if state.cost_usd is None else f"${state.cost_usd:.4f}"
        parts += [f"{state.calls} calls", cost]
    if state.failed_calls:
        parts.append(f"{state.failed_calls} failed calls")
    return ", ".join(parts)
