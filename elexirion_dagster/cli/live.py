"""Progress on the terminal while a run works, read from its journal."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Task as Bar
from rich.progress import TimeRemainingColumn as TimeLeftColumn
from rich.text import Text

from elexirion_dagster.operations.following import Following, State, Step
from elexirion_dagster.records import counted

_LOOK_EVERY_S = 0.25
_LINE_EVERY_S = 5.0
"""Where there is no terminal: a log wants a line now and then, not an animation."""


@contextmanager
def shown(journal: Path, *, steps: int) -> Iterator[None]:
    """Show the progress of the run whose journal folder this is, until the block ends.

    It writes to a copy of standard error, because a run redirects the real one to keep what its ops print.
    """
    with os.fdopen(os.dup(sys.stderr.fileno()), "w", errors="backslashreplace") as stream:
        console = Console(file=stream)
        display = _Bars(console, steps) if console.is_terminal else _Lines(console, steps)
        watcher = _Watcher(Following(journal), display)
        thread = threading.Thread(target=watcher.run, name="elexirion-progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            watcher.stop.set()
            thread.join()
            display.close()


class _Watcher:
    """Looks at the journal a few times a second and hands on what it says."""

    def __init__(self, following: Following, display: "_Bars | _Lines") -> None:
        self.stop = threading.Event()
        self._following = following
        self._state = State()
        self._display = display

    def run(self) -> None:
        """Look until told to stop, and once more after that."""
        while not self.stop.wait(_LOOK_EVERY_S):
            self._look()
        self._look()

    def _look(self) -> None:
        for line in self._following.lines():
            self._state.take(line)
        while self._state.notices:
            self._display.say(self._state.notices.pop(0))
        self._display.show(self._state)


class _Lines:
    """A plain line every few seconds while there is news."""

    def __init__(self, console: Console, steps: int) -> None:
        self._console = console
        self._steps = steps
        self.due = time.monotonic() + _LINE_EVERY_S
        self._last = ""

    def say(self, notice: str) -> None:
        """Print a line that stays."""
        self._console.print(notice, markup=False, highlight=False, soft_wrap=True)

    def show(self, state: State) -> None:
        """Print where the run stands, if it is time and something changed."""
        steps = [f"{path} {step.done} of {step.total}" for path, step in state.running.items()]
        line = "; ".join([f"{state.steps_done} of {self._steps} steps done", *steps, *figures(state)])
        if time.monotonic() >= self.due and line != self._last:
            self.due, self._last = time.monotonic() + _LINE_EVERY_S, line
            self.say(line)

    def close(self) -> None:
        """Nothing is left to wipe away."""


class _Bars:
    """A bar for the run and one for each step that is under way; gone when the run has ended."""

    def __init__(self, console: Console, steps: int) -> None:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            _TimeLeft(),
            TextColumn("{task.fields[figures]}"),
        )
        self._progress = Progress(*columns, console=console, transient=True)
        self._run = self._progress.add_task("[bold]steps", total=steps, figures="", whole=True)
        self._bars: dict[str, TaskID] = {}
        self._progress.start()

    def say(self, notice: str) -> None:
        """Print a line that stays, above the bars."""
        self._progress.console.print(notice, markup=False, highlight=False)

    def show(self, state: State) -> None:
        """Move the bars."""
        self._progress.update(self._run, completed=state.steps_done, figures=", ".join(figures(state)))
        for path in set(self._bars) - set(state.running):
            self._progress.remove_task(self._bars.pop(path))
        for path, step in state.running.items():
            if path not in self._bars:
                self._bars[path] = self._progress.add_task(path, total=step.total, figures="", whole=False)
            self._progress.update(self._bars[path], completed=step.done, total=step.total, figures=_of_step(step))

    def close(self) -> None:
        """Wipe the bars away."""
        self._progress.stop()


class _TimeLeft(TimeLeftColumn):
    """Time left for a step's items; for the whole run, whose steps are not alike, the time that has passed."""

    def __init__(self) -> None:
        super().__init__(compact=True)
        self._elapsed = TimeElapsedColumn()

    def render(self, task: Bar) -> Text:
        """The time of one bar, and which it is."""
        if task.fields["whole"]:
            return Text.assemble(self._elapsed.render(task), (" so far", "dim"))
        return Text.assemble(super().render(task), (" left", "dim"))


def _of_step(step: Step) -> str:
    failed = f"{step.failed} failed" if step.failed else ""
    return ", ".join(part for part in (step.note, failed) if part)


def figures(state: State) -> list[str]:
    """Findings, calls and cost so far, as far as there are any, and the calls that take long."""
    parts = [counted(state.findings, "finding")] if state.findings else []
    if state.calls or state.failed_calls:
        cost = "cost unknown" if state.cost_usd is None else f"${state.cost_usd:.4f}"
        parts += [counted(state.calls, "call"), cost]
    if state.failed_calls:
        parts.append(counted(state.failed_calls, "failed call"))
    if state.asking:
        parts.append(state.asking)
    return parts
