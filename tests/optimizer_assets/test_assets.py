import os

import dagster as dg
import pytest
from learnable import ADDRESS, BETTER, SETTINGS

from elexirion_dagster.settings import Settings
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.registry.promotions import pin
from elexirion_dagster.store.registry.prompts import pointer
from optimizer_assets.definitions import defs

KEY = ["prompts", "sorting", "sort"]
CANDIDATE = dg.AssetKey([*KEY, "candidate"])


@pytest.fixture
def run(learnable, tmp_path):
    """Runs the job of the slot as the UI would."""
    assert learnable.file.is_file()
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        yield lambda: (
            defs()
            .get_repository_def()
            .get_job("optimize_sorting__sort")
            .execute_in_process(instance=instance, raise_on_error=False),
            instance,
        )


def in_use():
    return pointer(open_home(Settings.from_env(os.environ).home), "sorting", "sort")


def test_the_job_goes_from_outcomes_over_the_gate_to_the_prompt_in_use(run):
    done, instance = run()
    assert done.success
    made = {event.asset_key: event.materialization for event in done.get_asset_materialization_events()}
    assert set(made) == {dg.AssetKey(["outcomes", "sorting"]), CANDIDATE, dg.AssetKey(KEY)}
    candidate = made[CANDIDATE].metadata
    assert (candidate["holdout_after"].value, candidate["outcome"].value) == (1.0, "promote")
    assert f"+{BETTER}" in candidate["instruction_diff"].value
    assert candidate["changed"].value == len(candidate["changed_answers"].records) or candidate["changed"].value > 20
    assert candidate["front"].records
    checks = done.get_asset_check_evaluations()
    assert {check.check_name for check in checks} >= {"quality", "leaks", "reloaded"}
    assert all(check.passed and check.blocking for check in checks)
    assert made[dg.AssetKey(KEY)].metadata["version"].value == in_use().hash == candidate["version"].value
    observed = instance.fetch_observations(CANDIDATE, limit=50).records
    scores = [one.asset_observation.metadata["score"].value for one in reversed(observed)]
    assert scores[0] < 0.7 < scores[1] == 1.0


def test_a_check_that_fails_keeps_the_prompt_in_use(run, learnable):
    learnable.write(optimize=f"{SETTINGS}, limits: {{p95_s: 0.000001}}, instructions: [{BETTER}]}}")
    done, _ = run()
    assert in_use().hash is None
    assert dg.AssetKey(KEY) not in {event.asset_key for event in done.get_asset_materialization_events()}


def test_without_anything_better_there_is_no_candidate_and_the_run_succeeds(run, learnable):
    learnable.write(optimize=f"{SETTINGS}, instructions: [Look once.]}}")
    done, instance = run()
    assert done.success
    assert instance.get_latest_materialization_event(CANDIDATE) is None
    assert in_use().hash is None


def test_a_pinned_slot_fails_in_words_before_anything_is_paid(run, learnable):
    pin(open_home(Settings.from_env(os.environ).home), "sorting", "sort", why="as it is", by="person")
    done, _ = run()
    assert not done.success
    (failure,) = [event for event in done.all_events if event.event_type_value == "STEP_FAILURE"]
    assert f"{ADDRESS} is pinned" in failure.step_failure_data.user_failure_data.description
    assert learnable.calls == 0
