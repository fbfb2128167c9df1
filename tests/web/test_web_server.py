import pytest

from elexirion_dagster.web.server import main


def test_names_that_cannot_be_hosts_end_it_with_the_variable(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("ELEXIRION_HOSTS", "https://ai.example.com")
    assert main(["--workspace", str(tmp_path / "workspace.yaml")]) == 2
    assert "ELEXIRION_HOSTS" in capsys.readouterr().err


def test_a_workspace_is_needed(capsys):
    with pytest.raises(SystemExit):
        main([])
    assert "--workspace" in capsys.readouterr().err
