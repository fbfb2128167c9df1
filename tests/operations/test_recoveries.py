import time

import pytest
from click.testing import CliRunner

from elexirion_dagster.cli.recoveries import recoveries
from elexirion_dagster.errors import InputError
from elexirion_dagster.operations.recoveries import adopt, listed, show
from elexirion_dagster.recovery.plan import Failed
from elexirion_dagster.recovery.recover import recover
from elexirion_dagster.settings import Settings

PLAIN = "name: plain\nsteps:\n- {name: a, type: llm, prompt: go, samples: 3}\n"


@pytest.fixture
def settings(home_path, tmp_path):
    (tmp_path / "mine").mkdir()
    return Settings(home=home_path, model="fake", pipelines=tmp_path / "mine")


@pytest.fixture
def fail(settings, tmp_path):
    file = tmp_path / "plain.yaml"
    file.write_text(PLAIN, encoding="utf-8")

    def failed(run, cause):
        return recover(Failed(run, run, "plain", cause, "broke", time.time(), {}, {}), settings, {"plain": file})

    return failed


def test_a_parked_run_is_listed_shown_and_taken_over_once(fail, settings):
    fail("r-parked", "command_failed")
    (row,) = listed(settings, limit=9).rows
    assert (row[0], row[3], row[6]) == ("r-parked", "park", "parked")
    shown = show("r-par", settings)
    assert shown.report.startswith("# Parked: plain")
    adopted = adopt("r-par", settings)
    assert (adopted.file, adopted.pipeline, adopted.cause) == (None, "plain", "command_failed")
    with pytest.raises(InputError, match="was adopted before"):
        adopt("r-par", settings)
    assert listed(settings, limit=9).rows[0][6] == "adopted"


def test_adopting_a_parked_run_says_what_can_be_done_and_that_nothing_was(fail, settings):
    fail("r-parked", "command_failed")
    said = CliRunner().invoke(recoveries, ["adopt", "r-parked"], env={"ELEXIRION_HOME": str(settings.home)}).output
    assert "nothing was started" in said
    assert str(settings.home / "reports" / "r-parked" / "parked.md") in said
    assert "command_failed" in said
    assert "re-execute it from failure" in said
    assert "elexirion run plain" in said


def test_a_derived_document_becomes_a_pipeline_of_ones_own_once(fail, settings):
    fail("r-derived", "context_exceeded")
    adopted = adopt("r-derived", settings)
    assert adopted.file.parent == settings.pipelines
    assert "samples: 1" in adopted.file.read_text(encoding="utf-8")
    assert adopted.rule == f'- {{"on": ["context_exceeded"], "run": "{adopted.file.stem}"}}'
    with pytest.raises(InputError, match="was adopted before"):
        adopt("r-derived", settings)


def test_a_file_that_is_in_the_way_is_not_overwritten_and_nothing_is_adopted(fail, settings):
    fail("r-derived", "context_exceeded")
    (settings.pipelines / "plain_rderived.yaml").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="is there already"):
        adopt("r-derived", settings)
    assert listed(settings, limit=9).rows[0][6] == "waits"


def test_what_went_on_by_itself_and_what_is_unknown_cannot_be_adopted(fail, settings):
    fail("r-continued", "timeout")
    with pytest.raises(InputError, match="nothing to adopt"):
        adopt("r-continued", settings)
    with pytest.raises(InputError, match="no failed run"):
        adopt("x", settings)
    fail("r-parked", "command_failed")
    with pytest.raises(InputError, match="2 failed runs begin"):
        show("r-", settings)
