"""An optimisation as the Dagster UI shows it: figures that are plotted, tables, diffs."""

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import dagster as dg

from elexirion_dagster.records import Json

if TYPE_CHECKING:
    from optimizer_assets.gate import Check
    from optimizer_assets.task import Iteration, Measured
    from optimizer_assets.told import Put, Study

Metadata = dict[str, dg.MetadataValue | str | int | float | bool]
_MOST_ROWS = 20
_SHOWN_CHARS = 200
_DIGITS = 4


def iteration_metadata(one: "Iteration") -> Metadata:
    """One round; `score` and `best` are what the plot draws."""
    return {
        "score": _figure(one.validation or 0.0),
        "best": _figure(one.best),
        "iteration": one.number,
        "how": one.how,
        "examples": len(one.candidate.examples),
        "calls": one.calls,
        **_known("cost_usd", one.usd),
    }


def candidate_metadata(study: "Study", diff: str) -> Metadata:
    """What was found, at what cost, and which answers change."""
    proof = study.proof
    rows = study.began.parts
    found: Metadata = {
        "score": _figure(study.chosen.quality if study.chosen else study.measured[0].quality),
        "best": _figure(max(one.quality for one in study.measured)),
        "calls": study.calls,
        "replayed": study.replayed,
        "seconds": round(study.seconds, 1),
        **_known("cost_usd", study.usd),
        **{f"rows_{part}": count for part, count in rows.items()},
        "front": _table(_measured(one) for one in study.front),
        "candidates": _table(_measured(one) for one in study.measured),
        "rounds": _table(_round(one) for one in study.iterations),
        "notes": dg.MetadataValue.md("\n".join(f"- {note}" for note in study.notes) or "none"),
    }
    if proof is not None:
        found |= {
            "outcome": proof.verdict.outcome,
            "holdout_before": _figure(proof.base.quality),
            "holdout_after": _figure(proof.new.quality),
            "instruction_diff": _fenced(diff, "diff"),
        }
        changed = [
            {
                "inputs": _short(one.inputs),
                "expected": _short(one.expected),
                "before": _short(one.before),
                "after": _short(one.after),
                "score": f"{one.score_before:g} to {one.score_after:g}",
            }
            for one in proof.changed
        ]
        found |= {"changed": len(changed), **({"changed_answers": _table(changed)} if changed else {})}
    return found


def check_metadata(check: "Check") -> Metadata:
    """The figures of a check of the gate."""
    return {name: value if isinstance(value, int | float | str) else _short(value) for name, value in _some(check)}


def prompt_metadata(put: "Put") -> Metadata:
    """What became of a version, what it says, and how the slot came to where it is."""
    version = put.version
    changes = [
        {"at": one.at[:19], "what": one.what, "version": one.hash or "the YAML's own", "by": one.by, "why": one.why}
        for one in reversed(put.history)
    ]
    after: Json = version.scores.get("candidate") or {}
    return {
        "outcome": put.outcome,
        "why": put.why,
        "version": version.hash,
        "system": _fenced(version.system or "", "text"),
        "examples": len(version.examples),
        **_known("holdout", after.get("quality")),
        **({"history": _table(changes)} if changes else {}),
    }


def _some(check: "Check") -> list[tuple[str, Json]]:
    return [(name, value) for name, value in check.figures.items() if value is not None]


def _round(one: "Iteration") -> Mapping[str, Json]:
    return {
        "round": one.number,
        "how": one.how,
        "score": None if one.validation is None else _figure(one.validation),
        "best": _figure(one.best),
        "accepted": one.accepted,
        "calls": one.calls,
        "cost_usd": one.usd,
    }


def _measured(one: "Measured") -> Mapping[str, Json]:
    return {
        "how": one.how,
        "quality": _figure(one.quality),
        "cost_usd": one.cost_usd,
        "latency_s": None if one.latency_s is None else _figure(one.latency_s),
        "examples": len(one.candidate.examples),
        "system": _short(one.candidate.system or ""),
    }


def _table(records: Iterable[Mapping[str, Json]]) -> dg.MetadataValue:
    return dg.MetadataValue.table([dg.TableRecord(dict(record)) for record in list(records)[:_MOST_ROWS]])


def _fenced(text: str, language: str) -> dg.MetadataValue:
    """Text that was written by models and taken from rows, so that nothing of it becomes markup."""
    fence = "`" * (3 + max((len(run) for run in _runs(text)), default=0))
    return dg.MetadataValue.md(f"{fence}{language}\n{text}\n{fence}")


def _runs(text: str) -> list[str]:
    return [run for run in "".join(sign if sign == "`" else " " for sign in text).split() if run]


def _figure(value: float) -> float:
    """A figure with as many digits as people read; always a float, which is what the UI plots."""
    return round(float(value), _DIGITS)


def _known(name: str, value: float | None) -> Metadata:
    return {} if value is None else {name: float(value)}


def _short(value: Json) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=dict)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
