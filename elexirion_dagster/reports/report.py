"""What a report says, before it has a form."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

from elexirion_dagster.records import FindingState, Severity

SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""From the worst to the mildest."""

STATES: tuple[FindingState, ...] = get_args(FindingState)

_RANK = {severity: rank for rank, severity in enumerate(SEVERITIES)}

Record = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """One run over a code base. Every text is redacted by whoever fills it in.

    `findings` are `Finding.to_json()` records; `unparsed` is `{"path", "tool", "reason"}`, `skipped` `{"path",
    "reason"}`; `tools` as `Analysis.tools`. `reviews` are a model's verdicts on findings: `{"path", "line", "rule",
    "verdict" (confirmed, false_positive, unsure), "explanation", "fix"}`; `review_note` says why there are none.
    `cost_usd` is None where it is not known.

    Where findings are followed from scan to scan (`reports.living`), each has its `state`; `suppressed` and `fixed`
    (tonight) stand apart, `nights` are the scans in numbers, oldest first, `place` is what was scanned last:
    `{"repo", "commit", "branch"}`.
    """

    title: str
    pipeline: str
    run_id: str
    root: str
    started_at: str
    duration_s: float | None
    status: str
    source: str | None
    note: str | None
    files: int
    findings: Sequence[Record]
    unparsed: Sequence[Record]
    skipped: Sequence[Record]
    tools: Sequence[Record]
    reviews: Sequence[Record]
    review_note: str | None
    model: str | None
    calls: int
    cost_usd: float | None
    suppressed: Sequence[Record] = ()
    fixed: Sequence[Record] = ()
    nights: Sequence[Record] = ()
    place: Record | None = None

    @classmethod
    def from_outputs(cls, outputs: Mapping[str, Any], run: Mapping[str, Any]) -> "Report":
        """Gather a report from a pipeline's outputs and what is known of its run.

        A field is looked up by name in the outputs, then inside outputs that are maps (a `files` or `analyze` step's
        data as it is), then in the run. What is missing stays empty.
        """
        found = _Lookup(outputs, run)
        files = found("files")
        return cls(
            title=found("title") or f"Report of {found('pipeline') or 'a run'}",
            pipeline=found("pipeline") or "",
            run_id=found("run_id") or "",
            root=found("root") or "",
            started_at=str(found("started_at") or ""),
            duration_s=found("duration_s"),
            status=found("status") or "unknown",
            source=found("source"),
            note=found("note"),
            files=files if isinstance(files, int) else len(files or ()),
            findings=tuple(sorted(found("findings") or (), key=order)),
            unparsed=tuple(found("unparsed") or ()),
            skipped=tuple(found("skipped") or ()),
            tools=tuple(found("tools") or ()),
            reviews=tuple(review for review in found("reviews") or () if review),
            review_note=found("review_note"),
            model=found("model"),
            calls=found("calls") or 0,
            cost_usd=found("cost_usd"),
        )

    @cached_property
    def by_severity(self) -> dict[Severity, int]:
        """How many findings each severity has, all of them named."""
        counts = Counter(finding["severity"] for finding in self.findings)
        return {severity: counts[severity] for severity in SEVERITIES}

    @cached_property
    def by_state(self) -> dict[str, int]:
        """How many findings each state has; empty where they are not followed."""
        if self.place is None:
            return {}
        counts = Counter(finding["state"] for finding in (*self.findings, *self.suppressed, *self.fixed))
        return {state: counts[state] for state in STATES}

    @cached_property
    def by_file(self) -> list[tuple[str, int]]:
        """Files by their number of findings, most first."""
        return _counted(finding["path"] for finding in self.findings)

    @cached_property
    def by_rule(self) -> list[tuple[tuple[str, str], int]]:
        """Pairs of tool and rule by their number of findings, most first."""
        return _counted((finding["tool"], finding["rule"]) for finding in self.findings)

    @cached_property
    def verdicts(self) -> dict[tuple[str, int, str], Record]:
        """Reviews by the path, line and rule they speak of."""
        return {(review["path"], review["line"], review["rule"]): review for review in self.reviews}

    def verdict(self, finding: Mapping[str, Any]) -> Record | None:
        """Find what the model said of a finding, if it was asked."""
        return self.verdicts.get((finding["path"], finding["line"], finding["rule"]))

    @property
    def cost(self) -> str:
        """The cost as a reader wants it."""
        if self.calls == 0:
            return "no model calls"
        return "unknown" if self.cost_usd is None else f"${self.cost_usd:.4f}"


class _Lookup:
    def __init__(self, outputs: Mapping[str, Any], run: Mapping[str, Any]) -> None:
        self._places = [outputs, *(value for value in outputs.values() if isinstance(value, Mapping)), run]

    def __call__(self, name: str) -> Any:
        """Look the field up; a map is no field's value but a place to look in."""
        values = (place[name] for place in self._places if name in place)
        return next((value for value in values if value is not None and not isinstance(value, Mapping)), None)


def visible(text: object) -> str:
    """Show control and direction characters as escapes, so that a hostile name or line cannot act on its reader."""
    return "".join(character if _harmless(character) else _escape(character) for character in str(text))


def in_line(text: object) -> str:
    """The same in one line, also of a name that has several."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def _harmless(character: str) -> bool:
    return character == "\n" or character.isprintable() or character == "\t"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def order(finding: Mapping[str, Any]) -> tuple[Any, ...]:
    """From the worst to the mildest, then in the order of the code."""
    return (_RANK[finding["severity"]], finding["path"], finding["line"], finding["column"], finding["rule"])


def _counted(values: Iterator[Any]) -> list[tuple[Any, int]]:
    return sorted(Counter(values).items(), key=lambda pair: (-pair[1], pair[0]))
