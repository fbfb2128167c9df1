"""What Dagster shows of scans: numbers that plot over nights, the top findings, and the three checks of their asset."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from elexirion_dagster.compiler.metadata import clean
from elexirion_dagster.records import Json, Severity, counted
from elexirion_dagster.run import Run
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.store.home import Home, open_home
from elexirion_dagster.store.nights import scans

_ROWS = 20
_CELL_CHARS = 200
_SEVERE: tuple[Severity, ...] = ("critical", "high")
_SEVERITIES: tuple[Severity, ...] = (*_SEVERE, "medium", "low", "info")
_COLUMNS = ("severity", "state", "path", "line", "rule", "message", "fingerprint")


@dataclass(frozen=True, slots=True)
class Standing:
    """What a pipeline's newest scans left: living findings, the newest night of each repository, unscanned files."""

    findings: Sequence[Mapping[str, Json]]
    nights: Sequence[Mapping[str, Json]]
    unscanned: Sequence[Mapping[str, Json]]

    @property
    def cost_usd(self) -> float | None:
        """What the newest scans cost; None where the price of a call is not known."""
        if any(night["unpriced"] for night in self.nights):
            return None
        return sum(night["cost_usd"] or 0.0 for night in self.nights)


def standing(home: Home, pipeline: str, *, tracked: Mapping[str, Collection[str]] = {}) -> Standing:
    """Look at the tables, which get the journal's news first.

    `tracked` are the paths that each repository has now: those that no scan has seen count as unscanned.
    """
    # DuckDB takes 150 ms to import (measured); loading the location need not wait for it.
    from elexirion_dagster.store.database import ingest  # noqa: PLC0415

    ingest(home)
    living = [one for one in scans.with_states(home, ("new", "reopened", "open")) if one["pipeline"] == pipeline]
    unscanned = [*scans.unscanned(home, pipeline), *_unseen(home, pipeline, tracked)]
    return Standing(living, scans.newest(home, pipeline), unscanned)


def _unseen(home: Home, pipeline: str, tracked: Mapping[str, Collection[str]]) -> Iterator[Mapping[str, Json]]:
    for repo, paths in tracked.items():
        for path in sorted(set(paths) - scans.seen_paths(home, pipeline, repo)):
            yield {"repo": repo, "path": path, "status": "never scanned", "reason": None}


def metadata(now: Standing) -> dict[str, Any]:
    """Findings by severity and news, calls, cost and seconds as plain numbers, and a table of the top findings."""
    shown: dict[str, Any] = {
        f"findings_{severity}": sum(one["severity"] == severity for one in now.findings) for severity in _SEVERITIES
    }
    shown |= {f"findings_{name}": _sum(now, name) for name in ("new", "reopened", "fixed")}
    shown |= {"findings": len(now.findings), "files_scanned": _sum(now, "scanned"), "calls": _sum(now, "calls")}
    shown |= {"seconds": round(float(_sum(now, "seconds")), 3), "files_unscanned": len(now.unscanned)}
    shown |= {} if now.cost_usd is None else {"cost_usd": float(now.cost_usd)}
    return shown | ({"top_findings": _table(now.findings, _COLUMNS)} if now.findings else {})


def of_asset(run: Run, shown: Mapping[str, Any]) -> list[dg.AssetMaterialization | dg.AssetCheckEvaluation]:
    """What a run says of its pipeline's asset; a whole scan also how things stand after it, and the three checks.

    One of several batches says nothing: its scan is not over yet.
    """
    if run.pipeline.asset is None or (run.scan is not None and not run.scan.alone):
        return []
    key = dg.AssetKey(run.pipeline.asset.split("/"))
    if run.scan is None:
        return [dg.AssetMaterialization(key, metadata=shown)]
    now = standing(open_home(run.settings.home), run.pipeline.name)
    return [
        dg.AssetMaterialization(key, metadata={**shown, **metadata(now)}),
        *evaluations(key, run.pipeline, now),
    ]


def evaluations(key: dg.AssetKey, pipeline: Pipeline, now: Standing) -> list[dg.AssetCheckEvaluation]:
    """The three checks as events for an op to log (`context.log_event`)."""
    return [
        dg.AssetCheckEvaluation(
            asset_key=key,
            check_name=name,
            passed=result.passed,
            metadata=result.metadata,
            severity=result.severity,
            description=result.description,
        )
        for name, check in _CHECKS.items()
        for result in [check(pipeline, now)]
    ]


def scan_checks(key: dg.AssetKey, pipeline: Pipeline, settings: Settings) -> list[dg.AssetChecksDefinition]:
    """The same checks as definitions, so that the UI names them and can run them by themselves."""
    return [_definition(key, pipeline, settings, name) for name in _CHECKS]


def _definition(key: dg.AssetKey, pipeline: Pipeline, settings: Settings, name: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=key, name=name, description=_CHECKS[name].__doc__)
    def check() -> dg.AssetCheckResult:
        return _CHECKS[name](pipeline, standing(open_home(settings.home), pipeline.name))

    return check


def _no_new_high(_pipeline: Pipeline, now: Standing) -> dg.AssetCheckResult:
    """No finding of high or critical severity is new or came back with the newest scan."""
    severe = [one for one in now.findings if one["severity"] in _SEVERE and one["state"] in ("new", "reopened")]
    said = f"{counted(len(severe), 'new finding')} of high or critical severity"
    table = {"findings": _table(severe, _COLUMNS)} if severe else {}
    return dg.AssetCheckResult(passed=not severe, description=said, metadata={"count": len(severe), **table})


def _budget_respected(pipeline: Pipeline, now: Standing) -> dg.AssetCheckResult:
    """The newest scan cost no more than the pipeline's budget."""
    budget, cost = pipeline.budget.usd, now.cost_usd
    if cost is None:
        said = "the price of some calls is not known, so neither is the cost"
        return dg.AssetCheckResult(passed=budget is None, severity=dg.AssetCheckSeverity.WARN, description=said)
    limit = budget * len(now.nights) if budget is not None else None
    shown: dict[str, float] = {"cost_usd": float(cost)} | ({} if limit is None else {"budget_usd": float(limit)})
    said = f"${cost:.4f} spent, " + ("no budget was set" if limit is None else f"the budget is ${limit:.4f}")
    return dg.AssetCheckResult(passed=limit is None or cost <= limit, description=said, metadata=shown)


def _coverage(_pipeline: Pipeline, now: Standing) -> dg.AssetCheckResult:
    """Every file is scanned, or excluded for a named reason."""
    table = {"unscanned": _table(now.unscanned, ("path", "status", "reason", "repo"))} if now.unscanned else {}
    said = f"{counted(len(now.unscanned), 'file')} neither scanned nor excluded for a reason"
    shown: dict[str, Any] = {"count": len(now.unscanned), **table}
    return dg.AssetCheckResult(passed=not now.unscanned, description=said, metadata=shown)


_CHECKS: Mapping[str, Callable[[Pipeline, Standing], dg.AssetCheckResult]] = {
    "no_new_high": _no_new_high,
    "budget_respected": _budget_respected,
    "coverage": _coverage,
}


def _sum(now: Standing, name: str) -> Any:
    return sum(night[name] or 0 for night in now.nights)


def _table(rows: Sequence[Mapping[str, Json]], columns: Sequence[str]) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        [dg.TableRecord({name: _cell(row[name]) for name in columns}) for row in rows[:_ROWS]]
    )


def _cell(value: Json) -> Any:
    return clean(value)[:_CELL_CHARS] if isinstance(value, str) else value if isinstance(value, int) else str(value)
