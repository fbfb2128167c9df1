"""What the steps that ask a model have in common: model, system, tools, retry, fallback, time."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from elexirion_dagster.dialects.pipeline_ex.book import Place
from elexirion_dagster.dialects.pipeline_ex.presets import merged, preset_of
from elexirion_dagster.dialects.pipeline_ex.reader import Reader
from elexirion_dagster.dialects.pipeline_ex.said import BUDGET, OPTIONS, RETRY
from elexirion_dagster.records import Json

_CLAUDE: Mapping[str, str] = MappingProxyType(
    {
        "haiku": "anthropic/claude-haiku-5-5",
        "sonnet": "anthropic/claude-sonnet-5-5",
        "opus": "anthropic/claude-opus-5-5",
    }
)
"""Their short names; each means the newest model of its kind."""
_PROVIDERS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("claude", "anthropic"), "anthropic"),
        **dict.fromkeys(("gemini", "google"), "gemini"),
        **dict.fromkeys(("local", "ollama", "openai", "vllm"), "local"),
        **dict.fromkeys(("mock", "fake"), "fake"),
    }
)
_TOOLS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("read", "notebookread"), "read"),
        "write": "write",
        **dict.fromkeys(("edit", "multiedit", "notebookedit"), "edit"),
        **dict.fromkeys(("glob", "ls"), "glob"),
        **dict.fromkeys(("grep", "search"), "grep"),
    }
)
_COMMANDS = frozenset({"bash", "run"})
_CONDITIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "timeout": ("timeout",),
        **dict.fromkeys(("rate_limit", "rate_limited", "rate_limit_exceeded"), ("rate_limited",)),
        **dict.fromkeys(("api_error", "temporary_error", "server_error"), ("overloaded", "connection")),
        **dict.fromkeys(("overloaded", "overloaded_error"), ("overloaded",)),
        **dict.fromkeys(("connection", "connection_error", "network_error"), ("connection",)),
        "max_turns": ("max_turns",),
        **dict.fromkeys(("validation_error", "parse_error", "json_error"), ("malformed_output",)),
    }
)
_ALWAYS = ("overloaded", "rate_limited", "timeout", "connection")
_MOST_ATTEMPTS, _LONGEST_S, DAY_S, _LONGEST_WAIT_S = 20, 30.0, 86_400, 3600
_MS = 1000


def claude(step: Reader, kind: str, place: Place) -> dict[str, Any]:
    """The keys of an llm step that a Claude step's preset and options come to."""
    aware = step.flag("environment_aware")
    named = step.text("preset")
    defaults = place.book.defaults
    own = step.map("claude_options", "options")
    at = step.path("claude_options", "options")
    preset = preset_of(kind, named, defaults, aware=aware is not False)
    options = Reader(merged(preset, defaults, own, step.path("preset"), place.notes), at, place.notes, OPTIONS)
    fields = {
        "model": _claude_model(options, step),
        "system": _system(options),
        **_tools(options, step),
        "temperature": options.number("temperature"),
        "max_tokens": options.whole("max_tokens", "max_output_tokens"),
        "retry": retry(options.inside("retry_config", said=RETRY), first_counts=True),
        "timeout_s": seconds(options),
    }
    options.close()
    return fields


def gemini(step: Reader, place: Place) -> dict[str, Any]:
    """The keys of an llm step that a Gemini step comes to."""
    defaults = place.book.defaults
    budget = step.map("token_budget", "generation_config") or dict(defaults.gemini_budget)
    reader = Reader(budget, step.path("token_budget", "generation_config"), place.notes, BUDGET)
    fields = {
        "model": model_name(step.text("model") or defaults.gemini_model, "gemini"),
        "system": step.text("system_prompt", "system"),
        "max_tokens": reader.whole("max_output_tokens", "max_tokens"),
        "temperature": reader.number("temperature"),
    }
    reader.close()
    return fields


def named(step: Reader, place: Place) -> dict[str, Any]:
    """The keys of an llm step of a `prompt` or `llm` step, which names its provider."""
    provider = step.text("provider")
    name = step.text("model")
    known = _PROVIDERS.get((provider or "").lower())
    if provider and known is None:
        step.notes.add(step.path("provider"), f"the provider {provider!r} is not known here; the model is `auto`")
    if known is None and name:
        known = "gemini" if "gemini" in name else "anthropic" if name in _CLAUDE or "claude" in name else None
    model = model_name(name, known) if known else None
    if name and known is None:
        step.notes.add(step.path("model"), f"{name!r} belongs to no provider known here; the model is `auto`")
    options = Reader(step.map("claude_options", "options"), step.path("options"), place.notes, OPTIONS)
    fields = {
        "model": model,
        "system": step.text("system_prompt", "system") or _system(options),
        **_tools(options, step),
        "max_tokens": step.whole("max_tokens", "max_output_tokens"),
        "temperature": step.number("temperature"),
        "timeout_s": seconds(options),
    }
    options.close()
    return fields


def model_name(name: str | None, provider: str) -> str:
    """A model of theirs as `provider/model`; the provider alone takes its own default."""
    if not name:
        return provider
    if name.lower() in _CLAUDE and provider == "anthropic":
        return _CLAUDE[name.lower()]
    return name if name.startswith(f"{provider}/") else f"{provider}/{name}"


def retry(config: Reader, *, first_counts: bool) -> dict[str, Json] | None:
    """A retry map; `first_counts` says whether their number counts the first attempt too."""
    if not config.data:
        return None
    attempts = config.whole("max_attempts")
    retries = config.whole("max_retries")
    if attempts is None and retries is not None:
        attempts = retries if first_counts else retries + 1
    on = _causes(config)
    fields: dict[str, Json] = {"max_attempts": min(max(1, 3 if attempts is None else attempts), _MOST_ATTEMPTS)}
    if on is not None:
        fields["on"] = on
    fields |= _waits(config)
    config.close()
    return fields


def _waits(config: Reader) -> dict[str, Json]:
    growth = config.text("backoff_strategy", "backoff")
    base = config.number("base_delay_ms", "initial_delay_ms")
    fields: dict[str, Json] = {}
    if growth == "fixed":
        fields["backoff"] = "fixed"
    elif growth not in (None, "exponential"):
        config.say("waits grow exponentially here, or stay fixed", "backoff_strategy", "backoff")
    if base is not None:
        fields["initial_s"] = min(base / _MS, _LONGEST_WAIT_S)
        if base / _MS > _LONGEST_S:
            fields["max_s"] = fields["initial_s"]
    return fields


def _causes(config: Reader) -> list[Json] | None:
    names = ("retry_conditions", "retry_on", "on")
    if not config.has(*names):
        return None
    causes: dict[str, None] = {}
    for word in config.items(*names):
        known = _CONDITIONS.get(str(word).lower())
        causes |= dict.fromkeys(known or ())
        if known is None:
            config.notes.add(config.path(*names), f"{word!r} is no cause of failure known here, left out")
    return list(causes)


def seconds(reader: Reader) -> float | None:
    """A time limit in milliseconds or seconds as seconds."""
    milliseconds, whole = reader.number("timeout_ms"), reader.number("timeout_seconds", "timeout_s", "timeout")
    limit = milliseconds / _MS if milliseconds else whole
    return min(limit, DAY_S) if limit else None


def _claude_model(options: Reader, step: Reader) -> Json:
    first = model_name(options.text("model") or step.text("model"), "anthropic")
    second = options.text("fallback_model")
    other = model_name(second, "anthropic") if second else None
    return [first, other] if other and other != first else first


def _system(options: Reader) -> str | None:
    parts = [options.text("system_prompt"), options.text("append_system_prompt")]
    return "\n".join(part for part in parts if part) or None


def _tools(options: Reader, step: Reader) -> dict[str, Json]:
    """`tools` and `max_turns`; turns are counted only where there are tools."""
    refused = {str(tool).lower() for tool in options.items("disallowed_tools")}
    wanted = options.items("allowed_tools") if options.has("allowed_tools") else step.items("tools", "allowed_tools")
    turns = options.whole("max_turns")
    path = options.path("allowed_tools") if options.has("allowed_tools") else step.path("tools", "allowed_tools")
    tools: dict[str, None] = {}
    for tool in wanted:
        word = str(tool).partition("(")[0].lower()
        if word in refused:
            continue
        if word in _TOOLS:
            tools[_TOOLS[word]] = None
        elif word in _COMMANDS:
            said = f"{tool}: no program is granted; name those you trust in `tools: [{{command: [pytest]}}]`"
            step.notes.add(path, said)
        else:
            step.notes.add(path, f"{tool}: no such tool here; there are read, write, edit, glob, grep and command")
    if not tools:
        return {}
    return {"tools": list(tools), "max_turns": turns or None}
