"""Scans over time as shapes: what is open as a line, what came and went as bars, the cost below."""

from collections.abc import Sequence
from typing import Any

from elexirion_dagster.reports.report import Record

_WIDTH, _HEIGHT, _COST_HEIGHT, _GAP = 1000, 150, 34, 18
_MOST = 120
_WIDEST = 60


def trend(nights: Sequence[Record]) -> dict[str, Any] | None:
    """Coordinates for the newest 120 scans, the oldest on the left; None where there are fewer than two."""
    shown = list(nights[-_MOST:])
    if len(shown) < 2:  # noqa: PLR2004  one scan is no trend
        return None
    most = max(1, *(max(night["findings"], night["new"], night["fixed"]) for night in shown))
    most_cost = max(night["cost_usd"] or 0.0 for night in shown)
    step = min(_WIDTH / len(shown), _WIDEST)
    bars = [_bar(night, at * step, step, most=most, most_cost=most_cost) for at, night in enumerate(shown)]
    points = [
        f"{at * step + step / 2:.1f},{_HEIGHT - _scaled(night['findings'], most, _HEIGHT - 14):.1f}"
        for at, night in enumerate(shown)
    ]
    return {
        "width": _WIDTH,
        "height": _HEIGHT + _GAP + _COST_HEIGHT,
        "cost_top": _HEIGHT + _GAP - 4,
        "most": most,
        "most_cost": f"${most_cost:.4f}",
        "bars": bars,
        "line": " ".join(points),
    }


def _bar(night: Record, x: float, step: float, *, most: int, most_cost: float) -> dict[str, Any]:
    width = step / 4
    heights = {
        "new": (x + width * 0.9, _HEIGHT, _scaled(night["new"] + night["reopened"], most, _HEIGHT - 14)),
        "fixed": (x + width * 2.1, _HEIGHT, _scaled(night["fixed"], most, _HEIGHT - 14)),
        "cost": (x + width * 1.5, _HEIGHT + _GAP + _COST_HEIGHT, _scaled(night["cost_usd"], most_cost, _COST_HEIGHT)),
    }
    parts = [
        {"kind": kind, "x": f"{at:.1f}", "y": f"{low - high:.1f}", "width": f"{width:.1f}", "height": f"{high:.1f}"}
        for kind, (at, low, high) in heights.items()
        if high
    ]
    cost = "" if night["cost_usd"] is None else f", ${night['cost_usd']:.4f}"
    came = f"{night['findings']} open, {night['new']} new, {night['reopened']} reopened, {night['fixed']} fixed"
    title = f"{night['number']}: {night['finished_at']} {(night['commit'] or '')[:12]}: {came}{cost}"
    return {"x": f"{x:.1f}", "step": f"{step:.1f}", "title": title, "parts": parts}


def _scaled(value: float | None, most: float, height: float) -> float:
    return min((value or 0) / most, 1.0) * height if most else 0.0
