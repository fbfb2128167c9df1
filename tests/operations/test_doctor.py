import pytest
from pydantic import SecretStr

from elexirion_dagster.operations.doctor import examine, examine_environment
from elexirion_dagster.settings import Settings


def rows(settings):
    return {row.subject: row for row in examine(settings)}


def test_without_a_key_models_are_optional_and_the_analyzers_are_there(home_path):
    found = rows(Settings(home=home_path))
    assert found["model: auto"].ok is None
    assert "analyzers still run" in found["model: auto"].detail
    assert found["model provider anthropic"].mend == "Set ANTHROPIC_API_KEY."
    for tool in ("ruff", "bandit", "vulture", "ast-grep"):
        assert found[f"analyzer {tool}"].ok


def test_with_a_key_the_model_is_named_and_the_key_is_not(home_path):
    found = rows(Settings(home=home_path, anthropic_api_key=SecretStr("sk-ant-secret")))
    assert found["model: auto"].ok
    assert "anthropic/" in found["model: auto"].detail
    assert "sk-ant-secret" not in str(found)


def test_a_broken_pipeline_and_an_unusable_home_are_named_with_their_mend(tmp_path, home_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines_yaml").mkdir()
    (tmp_path / "pipelines_yaml" / "torn.yaml").write_text("[")
    home_path.touch()
    found = rows(Settings(home=home_path))
    assert found["pipeline torn"].ok is False
    assert found["home"].ok is False
    assert "ELEXIRION_HOME" in found["home"].mend


OPENED = ("home", "Dagster instance", "journal", "ledger", "outcome tables")


def test_everything_in_the_home_is_opened(home_path):
    found = rows(Settings(home=home_path))
    assert all(found[subject].ok for subject in OPENED)
    assert "one machine" in found["home"].detail


def damage(home, subject):
    match subject:
        case "Dagster instance":
            (home / "dagster" / "history" / "runs.db").write_bytes(b"torn" * 5000)
        case "journal":
            (home / "journal" / "newer").mkdir()
            (home / "journal" / "newer" / "run.1.jsonl").write_text('{"v": 2}\n')
        case "ledger":
            (home / "ledger.sqlite").write_bytes(b"torn" * 5000)
        case "outcome tables":
            (home / "outcomes.duckdb").unlink()
            (home / "outcomes.duckdb").mkdir()


@pytest.mark.parametrize("subject", OPENED[1:])
def test_what_cannot_be_opened_is_not_vouched_for(home_path, subject):
    examine(Settings(home=home_path))
    damage(home_path, subject)
    found = rows(Settings(home=home_path))
    assert found[subject].ok is False
    assert found[subject].mend


@pytest.mark.parametrize(
    "config",
    [
        "[",
        "telemetry: maybe",
        "nonsense: {}",
        "storage: {custom: {module: no_such, class: X, config: {}}}",
        "run_coordinator: {module: no_such, class: X}",
        "run_launcher: {module: elexirion_dagster.execution.launcher, class: Nope}",
    ],
)
def test_a_configuration_that_dagster_refuses_is_named_with_its_file(home_path, config):
    examine(Settings(home=home_path))
    (home_path / "dagster" / "dagster.yaml").write_text(config)
    row = rows(Settings(home=home_path))["Dagster instance"]
    assert row.ok is False
    assert "dagster.yaml" in row.detail


def test_wrong_settings_are_rows_too(home_path, tmp_path):
    found = rows(Settings(home=home_path, prices=tmp_path / "nope.json"))
    assert found["ELEXIRION_PRICES"].ok is False
    (row,) = (row for row in examine_environment({"ELEXIRION_MAX_THREADS": "x", "ELEXIRION_RATES": "x"}) if not row.ok)
    assert row.subject == "settings"
    assert "ELEXIRION_MAX_THREADS" in row.detail
    assert "ELEXIRION_RATES" in row.detail
