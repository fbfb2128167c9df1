"""What is said of the keys that have no counterpart here: the nearest thing there is."""

from collections.abc import Mapping
from types import MappingProxyType

_RECORDED = "not needed: every run records its calls, costs and durations (`elexirion outcomes`)"
_CHECKPOINT = "not needed: every run keeps each finished step and reply, and a recovery goes on from there"
_WORKSPACE = "not used: a run works in a folder of its own; `workspace: {worktree_of: …}` gives it a git worktree"
_LIMITS = "not used; set `budget: {usd, tokens, seconds}` and `limits: {threads}`"
_TOOLS = "not used; tools are `read write edit glob grep command`, given by `tools` of an llm step"
_CONTEXT = "not used; put what the model must know into `system`, or read the file with a `files` step"
_STREAM = "not used; `elexirion run --stream` shows answers while they come in"
_KEYS = "not used; keys come from the environment, `elexirion doctor` says which are there"
_MODELS = "not used; name models in `model`, a list is a failover order"
_CACHE = "not used; a reply in a run's journal is never paid twice"
_REPEAT = "not used; set `retry` and `fallback`"
_PLAIN = "kept as documentation only, with no place in the native document"
_SAFETY = "not used; files, tools and commands are confined to the workspace and to `path` inputs"
_CHILD = "not used; a child pipeline runs in the same workspace and journal, under its parent's budget and limits"

ROOT: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("author", "last_updated", "metadata", "tags", "role"), _PLAIN),
        "workspace_dir": "a run works in a folder of its own; paths below this one mean that folder",
        **dict.fromkeys(("workspace_config", "directories"), _WORKSPACE),
        **dict.fromkeys(("checkpoint_enabled", "checkpoint_dir", "checkpoint_config"), _CHECKPOINT),
        "checkpoint_interval": _CHECKPOINT,
        **dict.fromkeys(("resource_limits", "performance", "token_management", "max_execution_time"), _LIMITS),
        **dict.fromkeys(("safety", "safety_config"), _SAFETY),
        **dict.fromkeys(("hooks", "mcp_servers", "agents", "enable_skills"), _TOOLS),
        **dict.fromkeys(("memory_config", "enable_context_management", "setting_sources"), _CONTEXT),
        "cache_config": _CACHE,
        **dict.fromkeys(("claude_auth", "gemini_auth"), _KEYS),
        **dict.fromkeys(("models", "providers"), _MODELS),
        **dict.fromkeys(("telemetry", "monitoring"), _RECORDED),
        **dict.fromkeys(("retry_on_failure", "retry_attempts"), _REPEAT),
        **dict.fromkeys(("extends", "include"), "not used; a `pipeline` step runs another file"),
        "output_config": "not used; `output_to` names the file of each step's result",
        "input_schema": "not used; declare `inputs` with their types",
        "dspy_config": "not used; `optimize` on an llm step",
        "hybrid_config": "not used; `model` may be a list",
        "config": "not used; declare `inputs` with defaults",
    }
)
"""Keys of the root."""

DEFAULTS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("cache_results", "cache_ttl"), _CACHE),
        "claude_output_format": "not needed: an answer is kept whole as `.text`, and as `.data` where `output` is set",
    }
)
"""Keys of `defaults:`."""

ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        "debug_level": _RECORDED,
        "cost_alerts": "not used; `budget: {usd: …}` stops a run before it spends more",
    }
)
"""Keys of `environment:`."""

STEP: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("role", "metadata", "expected_outputs"), _PLAIN),
        "streaming": _STREAM,
        "cache": _CACHE,
        **dict.fromkeys(("error_handler", "error_output"), "not used; `continue_on_error` and a step `when` it failed"),
        "codebase_context": "not used; a `query` or `files` step before this one looks at the code",
        "output_to_global": "not needed: every later step sees `steps.<name>` and `vars`",
        "clear_vars": "not used; a `set` step gives variables new values",
        "tools": _TOOLS,
        "lazy": "not needed: values are bounded, whole lists are fine",
        "stream_mode": "not needed: values are bounded, whole lists are fine",
        "chunk_size": "not needed: values are bounded, whole lists are fine",
        "memory_limit": _LIMITS,
        "include_workspace": _CHECKPOINT,
        "compress": _CHECKPOINT,
        "checkpoint_name": _CHECKPOINT,
        "checkpoint_enabled": _CHECKPOINT,
        "workspace_dir": _WORKSPACE,
        "validation_mode": "not needed: an answer is always checked against `output`, and asked for once more",
        "dspy_config": "not used; `optimize` on an llm step",
    }
)
"""Keys of any step."""

OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("verbose", "debug_mode", "telemetry_enabled", "cost_tracking"), _RECORDED),
        "output_format": "not needed: an answer is kept whole as `.text`, and as `.data` where `output` is set",
        "cwd": _WORKSPACE,
        "add_dir": "not used; tools may read what a `path` input names",
        **dict.fromkeys(("permission_mode", "permission_prompt_tool"), _TOOLS),
        **dict.fromkeys(("mcp_servers", "mcp_config", "strict_mcp_config", "hooks", "agents", "agent"), _TOOLS),
        "enable_skills": _TOOLS,
        **dict.fromkeys(("session_id", "resume_session", "fork_session"), "not used; `session` names a conversation"),
        "print": "not needed: results are shown when the run ends",
        "preset": "not used here; it is a key of the step",
        **dict.fromkeys(
            (
                *("async_streaming", "stream_handler", "stream_buffer_size", "stream_handler_opts"),
                *("pass_through_streaming", "stream_file_path", "stream_callback", "stream_simple_config"),
            ),
            _STREAM,
        ),
    }
)
"""Keys of `claude_options`."""

BUDGET: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("top_p", "top_k"), "not used; `temperature` is the one sampling setting"),
        "max_input_tokens": "not used; `budget: {tokens: …}` bounds what a run may spend",
    }
)
"""Keys of `token_budget`."""

SESSION: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("checkpoint_frequency", "checkpoint_interval", "checkpoint_dir"), _CHECKPOINT),
        **dict.fromkeys(("max_turns", "max_session_turns"), "not used; `session: {max_tokens: …}` bounds what is sent"),
        "description": _PLAIN,
    }
)
"""Keys of `session_config`."""

EXTRACTION: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            ("use_content_extractor", "format", "output_format", "post_processing", "max_summary_length"),
            "not used; say in `output` what the answer holds, and it comes typed and checked",
        ),
        "include_metadata": _RECORDED,
    }
)
"""Keys of `extraction_config`."""

PART: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                *("extract_with", "summary", "max_length", "max_summary_length", "post_processing", "format"),
                *("transform", "variables", "component", "condition"),
            ),
            "not used; a step between the two can shorten or reshape what is handed on",
        ),
        **dict.fromkeys(("inject_as", "encoding", "include_metadata", "strict"), "not needed"),
        **dict.fromkeys(("include_last_n", "filter"), "not used; `session: {max_tokens: …}` bounds what is sent"),
    }
)
"""Keys of a prompt part."""

RETRY: Mapping[str, str] = MappingProxyType({"jitter": "not needed: waits are spread by the server's own answer"})
"""Keys of a retry map."""

BATCH: Mapping[str, str] = MappingProxyType(
    {"consolidate_results": "not needed: `.results` holds every task's answer, in order and by task id"}
)
"""Keys of `batch_config`."""

LOOP: Mapping[str, str] = MappingProxyType(
    {
        **STEP,
        "ordered_results": "not needed: results always stand in item order",
        **dict.fromkeys(
            ("break_condition", "continue_condition"), "not used; a `while` loop stops by itself, `when` skips a step"
        ),
    }
)
"""Keys of a loop."""

CHILD: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                *("max_total_steps", "memory_limit_mb", "workspace_enabled", "cleanup_on_error", "workspace_dir"),
                *("inherit_providers", "inherit_functions", "checkpoint_enabled", "enable_tracing", "lazy_load"),
                *("cache_enabled", "cache_ttl", "trace_metadata", "warn_at_depth", "memory_check_interval"),
            ),
            _CHILD,
        ),
        **dict.fromkeys(("max_retries", "retry_on", "capture_errors", "fallback_value"), _REPEAT),
    }
)
"""Keys of a nested pipeline's `config`."""

OPERATION: Mapping[str, str] = MappingProxyType({"as": "not used; the step's data is the outcome"})
"""Keys of one operation of a data_transform."""
