import dagster as dg
import pytest

from elexirion_dagster.compiler.ends import root_of
from elexirion_dagster.errors import StorageError
from elexirion_dagster.tags import ROOT_RUN_TAG

SELF, PARENT, ROOT = (f"0a0a0a0a-0000-4000-8000-00000000000{number}" for number in (1, 2, 3))


def run_with(tags, *, parent=None):
    root = ROOT if parent else None
    return dg.DagsterRun(job_name="job", run_id=SELF, parent_run_id=parent, root_run_id=root, tags=tags)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (run_with({}), SELF),
        (run_with({"dagster/is_resume_retry": "true"}, parent=PARENT), ROOT),
        (run_with({"dagster/is_resume_retry": "false"}, parent=PARENT), SELF),
        (run_with({}, parent=PARENT), SELF),
        (run_with({ROOT_RUN_TAG: ROOT}), ROOT),
    ],
    ids=["first", "from_failure", "all_steps", "selected_steps", "recovery"],
)
def test_a_run_continues_another_only_when_it_resumes_or_recovers_it(run, expected):
    assert root_of(run) == expected


def test_a_run_whose_home_cannot_be_opened_fails_with_cause_and_mend(finished, instance, home_path):
    (home_path / "journal" / SELF).touch()
    with pytest.raises(StorageError):  # the end of the run cannot be written down there either
        finished("name: small\nsteps:\n- {name: a, type: set, vars: {x: 1}}\n", run_id=SELF)
    assert instance.get_run_by_id(SELF).status is dg.DagsterRunStatus.FAILURE
    failures = instance.all_logs(SELF, of_type=dg.DagsterEventType.STEP_FAILURE)
    shown = failures[0].dagster_event.step_failure_data.user_failure_data.metadata
    assert shown["cause"].value == "storage"
    assert shown["how_to_mend"].value
