"""The options behind a preset's name, and which options win: preset, then defaults, then the step's own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from elexirion_dagster.dialects.pipeline_ex.notes import Notes, Path
from elexirion_dagster.records import Json

Options = Mapping[str, Json]

PRESETS: Mapping[str, Options] = MappingProxyType(
    {
        "development": {
            "model": "sonnet",
            "max_turns": 20,
            "allowed_tools": ["Write", "Edit", "Read", "Bash", "Search", "Glob", "Grep"],
            "timeout_ms": 300_000,
            "retry_config": {"max_retries": 3, "backoff_strategy": "exponential", "retry_on": ["timeout", "api_error"]},
            "system_prompt": "You assist a developer. Write clean, maintainable code and explain what you do.",
        },
        "production": {
            "model": "opus",
            "fallback_model": "sonnet",
            "max_turns": 10,
            "allowed_tools": ["Read"],
            "timeout_ms": 120_000,
            "retry_config": {"max_retries": 2, "backoff_strategy": "linear", "retry_on": ["timeout"]},
            "system_prompt": "You work in production. Safety, security and reliability come first; use few resources.",
        },
        "analysis": {
            "model": "opus",
            "max_turns": 5,
            "allowed_tools": ["Read", "Glob", "Grep"],
            "timeout_ms": 180_000,
            "retry_config": {"max_retries": 2, "backoff_strategy": "exponential", "retry_on": ["timeout", "api_error"]},
            "system_prompt": "You analyse code thoroughly and give structured, specific, actionable recommendations.",
        },
        "chat": {
            "max_turns": 15,
            "allowed_tools": [],
            "timeout_ms": 60_000,
            "retry_config": {"max_retries": 1, "backoff_strategy": "linear", "retry_on": ["timeout"]},
            "system_prompt": "You are a helpful assistant. Answer clearly and briefly, as in a conversation.",
        },
        "test": {
            "max_turns": 3,
            "allowed_tools": ["Read"],
            "timeout_ms": 30_000,
            "retry_config": {"max_retries": 1, "backoff_strategy": "linear", "retry_on": []},
            "system_prompt": "You are being tested. Answer predictably and in a fixed structure.",
        },
    }
)
"""The presets' options; the system prompts say in our words what theirs are for."""

_BY_TYPE = MappingProxyType(
    {
        "claude_smart": "development",
        "claude_batch": "development",
        "claude_robust": "production",
        "claude_session": "analysis",
        "claude_extract": "analysis",
    }
)
"""The preset of a step type where neither step nor defaults name one; other types have none."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the root says for all steps: `defaults:` and the environment's mode."""

    options: Options
    preset: str | None = None
    gemini_model: str | None = None
    gemini_budget: Options = field(default_factory=dict)
    output_dir: str | None = None
    claude_model: str | None = None
    fallback_model: str | None = None
    timeout_s: float | None = None
    continue_on_error: bool = False
    mode: str | None = None


def preset_of(kind: str, named: str | None, defaults: Defaults, *, aware: bool) -> str | None:
    """The preset of a step: its own, the defaults', the environment's, or that of its type."""
    if kind not in _BY_TYPE and named is None:
        return None
    mode = defaults.mode if aware else None
    return named or defaults.preset or mode or _BY_TYPE.get(kind)


def merged(preset: str | None, defaults: Defaults, own: Options, path: Path, notes: Notes) -> dict[str, Any]:
    """The options of a Claude step. An unknown preset is refused."""
    if preset is not None and preset not in PRESETS:
        notes.refuse(path, f"unknown preset {preset!r}", f"Presets: {', '.join(PRESETS)}.")
    base = PRESETS.get(preset or "", {})
    from_root = {"model": defaults.claude_model, "fallback_model": defaults.fallback_model}
    given = {key: value for key, value in from_root.items() if value is not None}
    return _deep(_deep(_deep(base, given), defaults.options), own)


def _deep(below: Options, above: Options) -> dict[str, Any]:
    """Two maps as one; where both have a map the maps are merged, else the upper value stands."""
    together = dict(below)
    for key, value in above.items():
        under = together.get(key)
        together[key] = _deep(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return together
