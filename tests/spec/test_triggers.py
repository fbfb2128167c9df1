"""Schedules: what is refused before Dagster would refuse it."""

import dagster as dg
import pytest
from dagster._core.definitions.utils import DISALLOWED_NAMES
from dagster._utils.schedules import is_valid_cron_schedule
from pydantic import ValidationError

from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.errors import PipelineError
from elexirion_dagster.spec.triggers import Schedule

GOOD = ("0 2 * * *", "*/5 8-18 1,15 * 1-5", "0 0 31 1-12 *", "0 0 29 2 *", "0 0 30 4,2 *", "59 23 * 12 7")
BAD = ("0 2 * *", "60 * * * *", "* 24 * * *", "0 2 31 2 *", "0 2 30 2 *", "0 2 * 13 *", "a * * * *")


@pytest.mark.parametrize("cron", GOOD)
def test_a_cron_schedule_that_dagster_takes_is_taken(cron: str) -> None:
    assert Schedule(cron=cron).cron == cron
    assert is_valid_cron_schedule(cron)


@pytest.mark.parametrize("cron", BAD)
def test_a_cron_schedule_that_dagster_refuses_is_refused(cron: str) -> None:
    assert not is_valid_cron_schedule(cron)
    with pytest.raises(ValidationError):
        Schedule(cron=cron)


@pytest.mark.parametrize("cron", ["0 2 31 4,6,9,11 *", "5-1 * * * *"])
def test_a_date_that_never_comes_and_a_range_that_runs_backwards_are_refused(cron: str) -> None:
    with pytest.raises(ValidationError):
        Schedule(cron=cron)


@pytest.mark.parametrize("name", sorted(name for name in DISALLOWED_NAMES if name.islower()))
def test_a_name_that_dagster_keeps_is_refused_at_its_line(name: str) -> None:
    with pytest.raises(PipelineError, match="cannot be called") as refused:
        load_string(f"name: {name}\nsteps: [{{name: a, type: set, vars: {{x: 1}}}}]", file="p.yaml")
    assert refused.value.problems[0].line == 1


def test_an_ordinary_name_is_one_that_dagster_takes() -> None:
    loaded = load_string("name: nightly\nsteps: [{name: a, type: set, vars: {x: 1}}]")
    assert dg.GraphDefinition(name=loaded.pipeline.name).name == "nightly"
