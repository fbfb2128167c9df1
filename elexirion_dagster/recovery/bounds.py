"""How often a root run may be recovered: by what its recoveries achieved, and by the workers that it lost."""

from collections.abc import Mapping

from elexirion_dagster.recovery.plan import KEY_TAG, Failed
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.store.failures.recoveries import Line, Past
from elexirion_dagster.tags import RECOVERY_TAG

MOST_LOSSES = 10
"""So many workers lost in a row, without anything new in the journal, and the run is left to a person."""
_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 60.0


def most_recoveries(past: Past, pipeline: Pipeline) -> int:
    """The bound of the root run: that of the pipeline which failed first."""
    known = [line["max_recoveries"] for line in past.decided.values() if line.get("max_recoveries") is not None]
    return int(known[0]) if known else pipeline.limits.max_recoveries


def counted(failed: Failed, past: Past) -> int:
    """The recoveries so far that count against `max_recoveries`.

    Each run that was started after a failure is one, except after a wait for a provider, and except where its worker
    was lost before it journaled anything new. A run that failed by itself has found something out, and so counts.
    """
    lost = {line.get("launch") for run, line in past.decided.items() if _achieved_nothing(run, line["cause"], past)}
    if _achieved_nothing(failed.run, failed.cause, past):
        lost.add(failed.tags.get(KEY_TAG))
    started = {launch["key"] for line in past.decided.values() if not line.get("awaits") for launch in line["launches"]}
    return len(started - lost)


def losses_in_row(failed: Failed, past: Past) -> int:
    """How many runs in a row, the failed one last, lost their workers before they journaled anything new."""
    losses = set[str]()
    run, cause, before = failed.run, str(failed.cause), failed.tags.get(RECOVERY_TAG)
    while run not in losses and _achieved_nothing(run, cause, past):  # tags that somebody wrote may lead in circles
        losses.add(run)
        line: Line | Mapping[str, None] = past.decided.get(before or "", {})
        run, cause, before = before or "", str(line.get("cause")), line.get("recovery_of")
    return len(losses)


def _achieved_nothing(run: str, cause: str, past: Past) -> bool:
    return cause == "worker_lost" and run not in past.progressed


def loss_pause_s(losses: int) -> float:
    """How long to wait after so many losses in a row: not at all after one, then longer each time."""
    return 0.0 if losses < 2 else min(_PAUSE_S * 2 ** (losses - 2), _LONGEST_PAUSE_S)  # noqa: PLR2004 - the second one
