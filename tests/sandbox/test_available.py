import pytest

from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.errors import InputError, PipelineError
from elexirion_dagster.operations.doctor import examine
from elexirion_dagster.operations.models import isolation_note
from elexirion_dagster.sandbox import isolation
from elexirion_dagster.sandbox.isolation import Isolation
from elexirion_dagster.sandbox.policy import Sandbox
from elexirion_dagster.settings import Settings

NONE = Isolation("none", "bubblewrap is not installed, and this kernel has no Landlock")


@pytest.fixture
def without(monkeypatch):
    """A machine that can isolate nothing."""
    monkeypatch.setattr(isolation, "available", lambda: NONE)
    monkeypatch.setattr("elexirion_dagster.operations.doctor.available", lambda: NONE)


def pipeline(*steps):
    return load_string("name: p\nbudget: {usd: 1}\nsteps:\n" + "".join(f"  - {step}\n" for step in steps)).pipeline


COMMAND = "{name: c, type: command, run: [ls]}"
OFF = "{name: o, type: command, run: [ls], sandbox: 'off'}"
TOOL = "{name: t, type: llm, prompt: x, tools: [{command: [ls]}]}"
ASKS = "{name: a, type: llm, prompt: x, tools: [read]}"


@pytest.mark.usefixtures("without")
def test_a_run_without_isolation_begins_with_a_line_that_says_so():
    for step in (COMMAND, TOOL):
        note = isolation_note(pipeline(step), {}, Settings())
        assert note.startswith("NOT ISOLATED")
        assert "elexirion[sandbox]" in note
    assert isolation_note(pipeline(OFF, ASKS), {}, Settings()) is None
    assert isolation_note(pipeline(COMMAND), {}, Settings(sandbox="off")) is None


def test_a_run_with_isolation_says_nothing():
    if isolation.available().kind == "none":
        pytest.skip(isolation.available().detail)
    assert isolation_note(pipeline(COMMAND, TOOL), {}, Settings()) is None


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize(("mode", "ok"), [("auto", None), ("required", False), ("off", None)])
def test_doctor_shows_what_is_missing_and_how_to_get_it(home_path, mode, ok):
    row = next(row for row in examine(Settings(home=home_path, sandbox=mode)) if row.subject == "isolation")
    assert row.ok is ok
    assert row.mend


def test_doctor_shows_what_is_in_force(home_path):
    row = next(row for row in examine(Settings(home=home_path)) if row.subject == "isolation")
    assert row.detail.startswith(isolation.available().kind)


def test_required_wins_over_whatever_a_step_says():
    assert Sandbox("required").under("off", network=False).mode == "required"
    assert Sandbox("auto").under("off", network=False).mode == "off"
    assert Sandbox("off").under("required", network=False).mode == "required"
    assert Sandbox("off").under(None, network=False).mode == "off"


def test_the_setting_is_one_of_three_words():
    assert Settings.from_env({"ELEXIRION_SANDBOX": "required"}).sandbox == "required"
    with pytest.raises(InputError, match="ELEXIRION_SANDBOX"):
        Settings.from_env({"ELEXIRION_SANDBOX": "maybe"})


@pytest.mark.parametrize(
    "step",
    [
        "{name: c, type: command, run: [ls], sandbox: maybe}",
        "{name: c, type: set, vars: {x: 1}, sandbox: auto}",
        "{name: c, type: llm, prompt: x, tools: [read], sandbox: auto}",
        "{name: c, type: analyze, paths: [], network: true}",
    ],
)
def test_the_keys_stand_where_they_mean_something(step):
    with pytest.raises(PipelineError):
        pipeline(step)


def test_a_step_without_the_keys_is_what_it_was_before_there_were_any():
    step = pipeline(COMMAND).steps[0]
    assert not {"sandbox", "network"} & step.model_dump().keys()
    assert pipeline(OFF).steps[0].model_dump()["sandbox"] == "off"
