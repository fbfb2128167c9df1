from pydantic import SecretStr

from elexirion_dagster.operations.doctor import examine
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
