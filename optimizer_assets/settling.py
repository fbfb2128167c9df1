"""What becomes of a version after the gate: put to use, tried out on some items, or kept aside."""

from elexirion_dagster.store.home import Home
from elexirion_dagster.store.promotions import promote, try_out
from elexirion_dagster.store.prompts import Pointer, pointer
from optimizer_assets.told import Learned, Outcome, Proof, Study

NOTHING_BETTER = "no candidate was better on the validation rows, or as good and cheaper"


def settle(study: Study, home: Home) -> Learned:
    """Do what the gate said, unless somebody moved the prompt meanwhile or took this version back before."""
    if study.proof is None:
        return Learned(study, "keep", NOTHING_BETTER)
    outcome, why = _decided(study, study.proof, home)
    return Learned(study, outcome, why)


def _decided(study: Study, proof: Proof, home: Home) -> tuple[Outcome, str]:
    verdict, version = proof.verdict, proof.version
    slot = (home, study.subject.slot.pipeline, study.subject.slot.step)
    now = pointer(*slot)
    failed = [check for check in verdict.checks if not check.passed]
    if verdict.outcome == "keep":
        return "keep", "; ".join(f"{check.name}: {check.why}" for check in failed) or "the gate saw no gain"
    if _was_used(now, version.hash):
        return "keep", f"{version.hash} was in use before and was taken back; only a person puts it to use again"
    why = _why(proof)
    if verdict.outcome == "canary":
        share = study.subject.optimize.canary
        try_out(*slot, version.hash, share, why=why, by="optimizer")
        return "canary", why
    promote(*slot, version.hash, why=why, by="optimizer", seen=now)
    return "promote", why


def _was_used(now: Pointer, version: str) -> bool:
    """Whether a version was in use or on trial before. It has the same parent, so somebody came back to that."""
    return any(change.hash == version and change.what in ("promote", "canary") for change in now.history)


def _why(proof: Proof) -> str:
    """The figures that a decision rests on, in one line for the history."""
    verdict = proof.verdict
    said = f"{proof.base.quality:.1%} to {proof.new.quality:.1%} on {verdict.n} unseen rows"
    if verdict.interval is not None:
        low, high = verdict.interval
        said += f", change between {low:+.1%} and {high:+.1%}"
    return said if verdict.p_value is None else f"{said}, p {verdict.p_value:.2g} at α {verdict.alpha:.2g}"
