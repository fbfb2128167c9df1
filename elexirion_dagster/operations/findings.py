"""Findings as they live: list them, and say what a person thinks of one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal

from elexirion_dagster.errors import InputError
from elexirion_dagster.records import FindingState, Json
from elexirion_dagster.redact import Redactor
from elexirion_dagster.reports.report import in_line
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.database import ingest
from elexirion_dagster.store.home import Home, open_home
from elexirion_dagster.store.journal import JournalWriter
from elexirion_dagster.store.learned.naming import named_by
from elexirion_dagster.store.nights.scans import with_fingerprint, with_states

LIVING: tuple[FindingState, ...] = ("new", "reopened", "open")
_SHORTEST = 4
_MAX_CHARS = 1000

Verdict = Literal["suppressed", "accepted", "rejected"]
Record = dict[str, Json]


@dataclass(frozen=True, slots=True)
class Word:
    """What a person says of a finding; `until` is the last day of a suppression."""

    verdict: Verdict
    reason: str | None = None
    owner: str | None = None
    until: date | None = None
    comment: str | None = None


def listed(settings: Settings, *, states: Sequence[FindingState] = LIVING) -> list[Record]:
    """The findings in these states, the worst first; the journal's news are loaded before."""
    home = open_home(settings.home)
    ingest(home)
    return with_states(home, states or LIVING)


def judge(settings: Settings, fingerprint: str, word: Word, *, path: str | None = None) -> list[Record]:
    """Record a person's word on the finding with this fingerprint (or the beginning of one); returns what it is now.

    Every pipeline that has the finding gets it. InputError for an unknown one, and where several have the fingerprint
    and `path` does not say which.
    """
    home = open_home(settings.home)
    ingest(home)
    meant = _meant(home, fingerprint, path)
    _check(word)
    _journal(home, meant, word, Redactor(secrets=settings.secrets()))
    ingest(home)
    ids = {finding["finding"] for finding in meant}
    return [finding for finding in with_fingerprint(home, fingerprint) if finding["finding"] in ids]


def _meant(home: Home, fingerprint: str, path: str | None) -> list[Record]:
    if len(fingerprint) < _SHORTEST:
        message = f"the beginning of a fingerprint has at least {_SHORTEST} characters, {fingerprint!r} came"
        raise InputError(message, mend="`elexirion findings` lists them.")
    found = [one for one in with_fingerprint(home, fingerprint) if path is None or one["path"] == path]
    found = [one for one in found if one["state"] != "fixed"] or found
    where = "" if path is None else f" in {path!r}"
    if not found:
        message = f"no finding has a fingerprint that begins with {fingerprint!r}{where}"
        raise InputError(message, mend="`elexirion findings` lists them.")
    if all(one["state"] == "fixed" for one in found):
        message = f"{found[0]['fingerprint']} is fixed since {found[0]['fixed_at']:%Y-%m-%d}"
        raise InputError(message, mend="Nothing needs to be said of it.")
    if len({(one["repo"], one["path"], one["fingerprint"]) for one in found}) > 1:
        some = "\n".join(
            in_line(f"  {one['fingerprint']} {one['path']}:{one['line']} {one['repo']}") for one in found[:10]
        )
        message = f"{len(found)} findings have a fingerprint that begins with {fingerprint!r}:\n{some}"
        raise InputError(message, mend="Give the whole fingerprint, and --path where that is the same.")
    return found


def _check(word: Word) -> None:
    if word.until is not None and word.until < datetime.now(UTC).date():
        raise InputError(f"the day {word.until} is past", mend="Give today or a later day as YYYY-MM-DD.")
    if word.verdict == "suppressed" and not (word.reason or "").strip():
        raise InputError("a suppression needs a reason", mend="Say with --reason why it may stay.")
    for text in (word.reason, word.owner, word.comment):
        if text is not None and len(text) > _MAX_CHARS:
            raise InputError(
                f"a text of {len(text)} characters came, at most {_MAX_CHARS} are kept", mend="Shorten it."
            )


def _journal(home: Home, findings: Sequence[Mapping[str, Json]], word: Word, redactor: Redactor) -> None:
    """Write the word into the day's root run of its own; it scores the answers that named the finding."""
    score = {"accepted": 1.0, "rejected": 0.0}.get(word.verdict)
    answers = [] if score is None else [(one, answer) for one in findings for answer in named_by(home, one)]
    said = redactor.tree({"reason": word.reason, "owner": word.owner, "comment": word.comment})
    said |= {"verdict": word.verdict, "expires": word.until and word.until.isoformat()}
    run = f"findings-{datetime.now(UTC):%Y-%m-%d}"
    with JournalWriter(home, root_run=run, run=run) as journal:
        for one in findings:
            place = {name: one[name] for name in ("finding", "pipeline", "repo", "fingerprint", "path", "tool", "rule")}
            journal.append("feedback", durable=True, tenant=one["tenant"], **place, **said)
        for one, answer in answers:
            given: Record = {"name": f"finding {one['finding']}", "source": "finding", "value": score, "error": None}
            about = {"comment": said["comment"], "tenant": one["tenant"]}
            journal.append("score", durable=True, **answer, **given, **about)
