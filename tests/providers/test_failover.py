import pytest

from elexirion_dagster.errors import CAUSES
from elexirion_dagster.providers.failover import moves_on, retryable


@pytest.mark.parametrize("cause", CAUSES)
def test_what_is_worth_another_try_is_worth_another_model(cause):
    assert moves_on(cause) or not retryable(cause)


def test_only_passing_faults_are_tried_again():
    assert {cause for cause in CAUSES if retryable(cause)} == {"overloaded", "rate_limited", "timeout", "connection"}


def test_faults_that_every_model_would_meet_do_not_move_on():
    assert {cause for cause in CAUSES if not moves_on(cause)} == {
        "tool_denied",
        "budget_exceeded",
        "command_failed",
        "check_failed",
        "bad_input",
        "bad_pipeline",
        "storage",
        "worker_lost",
        "cancelled",
        "unknown",
    }
