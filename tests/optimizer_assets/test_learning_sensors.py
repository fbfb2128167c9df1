import json
import os

import dagster as dg
import pytest

from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.learning import Begin, Optimize
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.registry.promotions import pin
from optimizer_assets.definitions import defs
from optimizer_assets.sensors import due


@pytest.mark.parametrize(
    ("new", "success", "said"),
    [
        (50, 1.0, "50 new outcomes"),
        (49, 1.0, None),
        (10, 0.5, "50% of the outcomes are good"),
        (9, 0.5, None),
        (10, 0.8, None),
        (10, None, None),
    ],
)
def test_an_optimisation_is_due_after_enough_outcomes_or_too_few_good_ones(new, success, said):
    assert due(Optimize(begin=Begin(rows=50, success_below=0.8)), new=new, success=success) == said


def test_sensor_and_schedule_are_there_and_stopped_as_they_spend_money(learnable):
    assert learnable.file.is_file()
    repository = defs().get_repository_def()
    (sensor,) = repository.sensor_defs
    schedule = repository.get_schedule_def("optimize_sorting__sort_weekly")
    assert (sensor.name, sensor.default_status) == ("learn_prompts", dg.DefaultSensorStatus.STOPPED)
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED


def test_a_slot_without_news_and_a_pinned_one_are_left_alone(learnable):
    assert learnable.file.is_file()
    sensor = defs().get_repository_def().get_sensor_def("learn_prompts")
    with dg.instance_for_test() as instance:
        context = dg.build_sensor_context(instance, cursor=json.dumps({}))
        skipped = sensor(context)
        assert "0 new outcomes" in skipped.skip_message
        pin(open_home(Settings.from_env(os.environ).home), "sorting", "sort", why="as it is", by="person")
        assert "sorting/sort is pinned" in sensor(context).skip_message
