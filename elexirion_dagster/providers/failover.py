"""Which causes are worth another try, and which are worth another model. Policy only: `calls` does the work."""

from typing import assert_never

from elexirion_dagster.errors import Cause


def retryable(cause: Cause) -> bool:
    """Say whether the same request to the same model may succeed a moment later."""
    return cause in {"overloaded", "rate_limited", "timeout", "connection"}


def moves_on(cause: Cause) -> bool:
    """Say whether the next model of a failover list should be asked.

    Yes where the fault lies with this provider or model: another one has its own servers, key, account, catalogue,
    policy, window and habits. No where every model would meet the same fault (the request itself, the budget, the
    tools), where someone said stop, and where nobody knows what happened.
    """
    match cause:
        case "overloaded" | "rate_limited" | "timeout" | "connection" | "auth" | "billing" | "model_not_found":
            return True
        case "refused" | "truncated" | "context_exceeded" | "malformed_output" | "max_turns":
            return True
        case "tool_denied" | "budget_exceeded" | "command_failed" | "check_failed" | "bad_input" | "bad_pipeline":
            return False
        case "storage" | "worker_lost" | "cancelled" | "unknown":
            return False
        case _:
            assert_never(cause)
