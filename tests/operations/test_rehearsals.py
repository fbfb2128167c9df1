import uuid

import pytest

from elexirion_dagster.errors import PipelineError
from elexirion_dagster.operations.pipelines import choose
from elexirion_dagster.operations.rehearsal_server import rehearsed, sight, variables
from elexirion_dagster.operations.rehearsals import STAND_IN, rehearse
from elexirion_dagster.providers.catalog import parse_model, resolve
from elexirion_dagster.providers.pricing import cost_usd
from elexirion_dagster.records import Usage
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.database import ingest, query
from elexirion_dagster.store.home import open_home

SCRIPT = """
answers: [{match: Greet, text: Hello.}]
faults: [{kind: status, status: 529, match: Greet, times: 1}]
"""
GREETING = """
name: greeting
HEAD
retry: {max_attempts: 2, initial_s: 0.01}
steps:
  - {name: greet, type: llm, prompt: Greet me.}
outputs: {text: "{{ steps.greet.text }}"}
"""


@pytest.fixture
def play(tmp_path, home_path):
    """Rehearse the greeting with some root keys; returns how it went, what was said, the models by the table."""

    def run(head, script=SCRIPT, settings=None):
        file, playing = tmp_path / "greeting.yaml", tmp_path / "script.yaml"
        file.write_text(GREETING.replace("HEAD", head))
        playing.write_text(script)
        own, said = settings or Settings(home=home_path), []
        done = rehearse(choose(str(file), (), own), playing, own, run_id=str(uuid.uuid4()), say=said.append)
        rows = query(open_home(done.home), "SELECT provider || '/' || model FROM calls ORDER BY asked_at").rows
        return done, "\n".join(said), [model for (model,) in rows]

    return run


def test_a_model_keeps_its_name_and_faults_are_counted(play):
    done, said, models = play("model: local/qwen2.5-coder")
    assert models == ["local/qwen2.5-coder"] * 2
    assert (done.finished.status, done.finished.outputs) == ("succeeded", {"text": "Hello."})
    assert (done.calls, done.faults) == (2, {"status 529": 1})
    assert "stands in" not in said
    assert "overloaded" in said


def test_auto_is_anthropic_whatever_the_settings_say(play, home_path):
    settings = Settings(home=home_path, model="fake/parrot", local_base_url="http://127.0.0.1:9/v1")
    assert play("model: auto", settings=settings)[2] == ["anthropic/claude-sonnet-5-5"] * 2


@pytest.mark.parametrize(
    ("head", "why"),
    [
        ("model: [anthropic/claude-sonnet-5, fake/parrot]", "fake/parrot has no server that could be played"),
        (
            "model: anthropic/claude-unheard-of\nbudget: {usd: 1}",
            "the price of anthropic/claude-unheard-of is not known",
        ),
    ],
    ids=["no_wire", "no_price"],
)
def test_a_model_that_cannot_be_played_by_name_has_a_stand_in_and_that_is_said(play, head, why):
    done, said, models = play(head)
    assert done.finished.status == "succeeded"
    assert models == [STAND_IN] * 2
    assert f"{STAND_IN} stands in for its models: {why}" in said


def test_a_budget_is_rehearsed_too(play):
    done = play("budget: {usd: 0.0000001}")[0]
    assert (done.finished.status, done.finished.cause, done.calls) == ("failed", "budget_exceeded", 0)


def test_nothing_of_a_rehearsal_is_kept_where_outcomes_are_learned_from_and_no_day_pays_for_it(play, home_path):
    settings = Settings(home=home_path, budget_usd_per_day=0.0000001)
    done = play("model: auto", settings=settings)[0]
    assert done.finished.status == "succeeded"
    home = open_home(home_path)
    ingest(home)
    assert query(home, "SELECT count(*) FROM calls").rows == ((0,),)
    assert not list(home.journal.iterdir())


def test_promoted_prompts_are_rehearsed(play, home_path):
    done = play("model: auto")[0]
    assert open_home(done.home).prompts.resolve() == open_home(home_path).prompts.resolve()


def test_a_faulty_script_is_told_with_its_line_before_anything_runs(play, home_path):
    with pytest.raises(PipelineError, match="answerz"):
        play("model: auto", script="model: x\nanswerz: []\n")
    assert not home_path.exists()


def test_every_provider_is_at_the_server_and_no_key_of_the_user_goes_along(home_path):
    own = Settings(home=home_path, anthropic_api_key="sk-ant-own", local_api_key="own", model="local/x")
    played = rehearsed(own, "http://127.0.0.1:1")
    assert played.home == home_path
    assert (played.anthropic_base_url, played.local_base_url) == ("http://127.0.0.1:1", "http://127.0.0.1:1/v1")
    assert "own" not in played.anthropic_api_key.get_secret_value()
    assert played.local_api_key is None
    assert str(resolve("auto", played)[0]).startswith("anthropic/")


def test_the_variables_are_those_that_settings_read():
    told = variables("http://127.0.0.1:1")
    settings = Settings.from_env(told)
    assert settings.anthropic_base_url == told["ANTHROPIC_BASE_URL"]
    assert settings.local_base_url == told["ELEXIRION_LOCAL_URL"]


def test_the_price_of_the_stand_in_is_known():
    model = parse_model(STAND_IN)
    assert cost_usd(model.provider, model.model, Usage()) == 0.0


def test_what_a_server_saw_is_told_in_words():
    assert sight(1, {}) == "the server saw 1 model call and played no fault"
    assert sight(3, {"status 529": 2, "cut": 1}) == "the server saw 3 model calls and played cut x 1, status 529 x 2"
