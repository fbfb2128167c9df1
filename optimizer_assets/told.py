"""What an optimisation tells while it works and when it has ended, as values and as JSON. No dspy."""

import difflib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from elexirion_dagster.records import Json
from elexirion_dagster.store.registry.prompts import Change, PromptVersion
from optimizer_assets.proving.gate import Verdict
from optimizer_assets.subject import Subject
from optimizer_assets.task import Candidate, Iteration, Measured

Outcome = Literal["promote", "canary", "keep"]
_SHOWN_CHARS = 300
_ROLES = ("user", "assistant")


@dataclass(frozen=True, slots=True)
class Began:
    """What an optimisation begins with: the rows of each part, those left out by reason, models, the most it spends."""

    address: str
    parts: Mapping[str, int]
    dropped: Mapping[str, int]
    models: tuple[str, ...]
    teachers: tuple[str, ...]
    usd: float
    calls: int
    iterations: int


@dataclass(frozen=True, slots=True)
class Proving:
    """A candidate was chosen, and goes to the rows that the search never saw."""

    how: str
    validation: float
    holdout: int


@dataclass(frozen=True, slots=True)
class Changed:
    """A holdout row whose answer is another one than before."""

    inputs: Mapping[str, Json]
    expected: Json
    before: Json
    after: Json
    score_before: float
    score_after: float


@dataclass(frozen=True, slots=True)
class Proof:
    """What is in use and the candidate on the holdout, what the gate says, the version as saved, changed answers."""

    base: Measured
    new: Measured
    verdict: Verdict
    version: PromptVersion
    changed: tuple[Changed, ...]


@dataclass(frozen=True, slots=True)
class Study:
    """What an optimisation found and proved; nothing of it is in use yet.

    `front` are the candidates that no other beats in all objectives; `chosen` and `proof` are None where none of them
    is worth proving.
    """

    subject: Subject
    began: Began
    iterations: tuple[Iteration, ...]
    measured: tuple[Measured, ...]
    front: tuple[Measured, ...]
    chosen: Measured | None
    proof: Proof | None
    notes: tuple[str, ...]
    calls: int
    replayed: int
    usd: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Learned:
    """How an optimisation ended: what was done with the version, and why."""

    study: Study
    outcome: Outcome
    why: str


@dataclass(frozen=True, slots=True)
class Put:
    """What became of a version that was saved before, and all changes of its slot, oldest first."""

    version: PromptVersion
    outcome: Outcome
    why: str
    history: tuple[Change, ...]


Event = Began | Iteration | Proving | Learned
Listen = Callable[[Event], None]


def as_json(event: Event) -> dict[str, Json]:
    """An event as one JSON object; `event` says which."""
    match event:
        case Began():
            fields = {name: getattr(event, name) for name in Began.__slots__}
            return {"event": "began", **fields, "parts": dict(event.parts), "dropped": dict(event.dropped)}
        case Iteration():
            return {"event": "iteration", **iteration_json(event)}
        case Proving():
            return {"event": "proving", "how": event.how, "validation": event.validation, "holdout": event.holdout}
        case Learned():
            return {"event": "ended", **_ended(event)}


def iteration_json(one: Iteration) -> dict[str, Json]:
    """One round, with its text in short."""
    return {
        "number": one.number,
        "how": one.how,
        "validation": one.validation,
        "best": one.best,
        "accepted": one.accepted,
        "examples": len(one.candidate.examples),
        "system": short(one.candidate.system or ""),
        "calls": one.calls,
        "usd": one.usd,
        "latency_s": one.latency_s,
    }


def measured_json(one: Measured) -> dict[str, Json]:
    """A candidate's figures."""
    return {
        "how": one.how,
        "quality": one.quality,
        "cost_usd": one.cost_usd,
        "latency_s": one.latency_s,
        "n": one.n,
        "examples": len(one.candidate.examples),
    }


def verdict_json(verdict: Verdict) -> dict[str, Json]:
    """What the gate says, check by check."""
    checks = [
        {"name": one.name, "passed": one.passed, "why": one.why, "figures": dict(one.figures)} for one in verdict.checks
    ]
    return {
        "outcome": verdict.outcome,
        "checks": checks,
        "n": verdict.n,
        "interval": list(verdict.interval) if verdict.interval else None,
        "p_value": verdict.p_value,
        "alpha": verdict.alpha,
    }


def diff(old: Candidate, new: Candidate) -> str:
    """What changes in a slot, as a unified diff."""
    lines = difflib.unified_diff(_lines(old), _lines(new), "in use", "candidate", lineterm="")
    return "\n".join(lines)


def short(value: Json) -> str:
    """A value in one line of bounded length."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_CHARS else f"{line[:_SHOWN_CHARS]}…"


def _lines(candidate: Candidate) -> list[str]:
    shown = [f"[{role}] {short(text)}" for pair in candidate.examples for role, text in zip(_ROLES, pair, strict=True)]
    return [*(candidate.system or "").splitlines(), *shown]


def _ended(learned: Learned) -> dict[str, Json]:
    study, proof = learned.study, learned.study.proof
    return {
        "address": study.subject.address,
        "outcome": learned.outcome,
        "why": learned.why,
        "version": proof and proof.version.hash,
        "base": proof and measured_json(proof.base),
        "new": proof and measured_json(proof.new),
        "gate": proof and verdict_json(proof.verdict),
        "front": [measured_json(one) for one in study.front],
        "diff": diff(study.subject.base, study.chosen.candidate) if study.chosen else "",
        "changed": len(proof.changed) if proof else 0,
        "notes": list(study.notes),
        "calls": study.calls,
        "replayed": study.replayed,
        "usd": study.usd,
        "seconds": study.seconds,
    }
