"""The proof of a candidate: both prompts on the rows that no search saw, then the gate, then the version's file."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from elexirion_dagster.records import Json
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.registry.attempts import Attempt, add_attempt, attempts
from elexirion_dagster.store.registry.prompts import PromptVersion, read, save
from optimizer_assets.asking.asker import Asker
from optimizer_assets.material import Material
from optimizer_assets.proving.gate import Verdict, judge_candidate
from optimizer_assets.searching.search import measured_of
from optimizer_assets.subject import stored, version_text
from optimizer_assets.task import Candidate, Measured, Tried
from optimizer_assets.told import Changed, Listen, Proof, Proving, measured_json, verdict_json

TRIES = 2
"""How often the holdout is asked: what is in use, and the candidate; read back from its file, that asks the same."""


def prove(material: Material, asker: Asker, chosen: Measured, home: Home, listen: Listen) -> Proof:
    """Measure a candidate on the holdout, let the gate decide, save it; the attempt is on disk when this returns."""
    holdout, task = material.parts.holdout, material.task
    listen(Proving(chosen.how, chosen.quality, len(holdout)))
    base = asker.try_all(task.base, holdout)
    new = asker.try_all(chosen.candidate, holdout)
    again = asker.try_all(_reloaded(material, chosen.candidate), holdout)
    known = attempts(home, task.pipeline, task.step)

    def verdict(earlier: Sequence[Attempt]) -> Verdict:
        return judge_candidate(
            task,
            chosen.candidate,
            base,
            new,
            again=again,
            train=material.parts.train,
            earlier=earlier,
            redactor=material.redactor,
        )

    decided = verdict(known)
    written = bool(known) and _is(known[-1], decided, task.base_hash)
    if written:  # it was killed after this had been written down: the same try is not counted twice
        decided = verdict(known[:-1])
    figures = (measured_of(task.base, base, "base"), measured_of(chosen.candidate, new, chosen.how))
    version = _saved(material, chosen.candidate, home, _scores(*figures, decided))
    if not written:
        _write_down(home, material, decided)
    return Proof(*figures, decided, version, _changed(base, new))


def _reloaded(material: Material, candidate: Candidate) -> Candidate:
    """The candidate written as a version and read back; not where versions are, as nothing is decided yet."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        return _text(read(home, *_slot(material), _saved(material, candidate, home, {}).hash))


def _saved(material: Material, candidate: Candidate, home: Home, scores: Mapping[str, Json]) -> PromptVersion:
    return save(
        home,
        *_slot(material),
        base_hash=material.task.base_hash,
        system=candidate.system,
        examples=stored(candidate),
        parent=material.subject.parent,
        model=str(material.task.models[0]),
        scores=scores,
    )


def _slot(material: Material) -> tuple[str, str]:
    return material.task.pipeline, material.task.step


def _text(version: PromptVersion) -> Candidate:
    return version_text(version.system, version.examples)


def _scores(base: Measured, new: Measured, verdict: Verdict) -> Mapping[str, Json]:
    """What a version says of itself: both measured on the holdout, and what the gate made of it."""
    said = verdict_json(verdict)
    checks = [{"name": one.name, "passed": one.passed, "why": one.why} for one in verdict.checks]
    return {"baseline": measured_json(base), "candidate": measured_json(new), **said, "checks": checks}


def _is(attempt: Attempt, verdict: Verdict, base_hash: str) -> bool:
    """Whether an attempt is this very one; p-values of different tries of one slot are not equal to the last digit."""
    mine = (base_hash, verdict.holdout, verdict.n, verdict.p_value)
    return mine == (attempt.base_hash, attempt.holdout, attempt.n, attempt.p_value)


def _write_down(home: Home, material: Material, verdict: Verdict) -> None:
    add_attempt(
        home,
        *_slot(material),
        base_hash=material.task.base_hash,
        holdout=verdict.holdout,
        n=verdict.n,
        p_value=verdict.p_value,
        alpha=verdict.alpha,
        passed=verdict.outcome == "promote",
    )


def _changed(base: Sequence[Tried], new: Sequence[Tried]) -> tuple[Changed, ...]:
    """The rows with another answer than before, those first whose score changed most."""
    pairs = [(old, now) for old, now in zip(base, new, strict=True) if old.answer != now.answer]
    pairs.sort(key=lambda pair: -abs(pair[1].score - pair[0].score))
    return tuple(
        Changed(old.row.inputs, old.row.expected, old.answer, now.answer, old.score, now.score) for old, now in pairs
    )
