"""What becomes of a version after the gate: put to use, tried out on some items, or kept aside."""

from collections.abc import Mapping

from elexirion_dagster.errors import StorageError
from elexirion_dagster.records import Json
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.registry.promotions import promote, try_out
from elexirion_dagster.store.registry.prompts import Pointer, PromptVersion, pointer
from optimizer_assets.subject import Subject
from optimizer_assets.told import Outcome


def settle(subject: Subject, version: PromptVersion, home: Home) -> tuple[Outcome, str]:
    """Do what the gate said of a version and say why, unless the prompt has changed since or this was taken back.

    Raises PolicyError where the slot is pinned, InputError where somebody moved the pointer in this moment.
    """
    slot = (home, version.pipeline, version.step)
    now = pointer(*slot)
    outcome = _said(version)
    if outcome == "keep":
        return "keep", _refused(version.scores)
    if why := _passed_over(subject, version, now):
        return "keep", why
    why = reason(version.scores)
    if outcome == "canary":
        try_out(*slot, version.hash, subject.optimize.canary, why=why, by="optimizer")
    else:
        promote(*slot, version.hash, why=why, by="optimizer", seen=now)
    return outcome, why


def reason(scores: Mapping[str, Json]) -> str:
    """The figures that a decision rests on, in one line for the history."""
    before, after = scores["baseline"]["quality"], scores["candidate"]["quality"]
    said = f"{before:.1%} to {after:.1%} on {scores['n']} unseen rows"
    if scores["interval"] is not None:
        low, high = scores["interval"]
        said += f", change between {low:+.1%} and {high:+.1%}"
    p_value = scores["p_value"]
    return said if p_value is None else f"{said}, p {p_value:.2g} at alpha {scores['alpha']:.2g}"


def _said(version: PromptVersion) -> Outcome:
    """What the gate wrote into the version; a version of another make says nothing."""
    match version.scores.get("outcome"):
        case "promote":
            return "promote"
        case "canary":
            return "canary"
        case "keep":
            return "keep"
        case other:
            raise StorageError(
                f"{version.pipeline}/{version.step} {version.hash} should say what the gate decided, not {other!r}",
                mend="Optimise again, or put it to use by hand: `elexirion prompts promote`.",
            )


def _refused(scores: Mapping[str, Json]) -> str:
    failed = [f"{check['name']}: {check['why']}" for check in scores["checks"] if not check["passed"]]
    return "; ".join(failed) or f"no gain was proven: {reason(scores)}"


def _passed_over(subject: Subject, version: PromptVersion, now: Pointer) -> str | None:
    """Why a version that passed the gate is not for what stands there now."""
    if version.hash == now.hash:
        return f"{version.hash} is in use already"
    if any(change.hash == version.hash and change.what in ("promote", "canary") for change in now.history):
        return f"{version.hash} was in use or on trial before and was taken back; only a person puts it to use again"
    if (subject.base_hash, subject.parent) != (version.base_hash, version.parent):
        return f"the prompt in use has changed since {version.hash} was derived from it"
    return None
