"""The command line in this process, in a folder of its own."""

import sys

import pytest

from elexirion_dagster.cli.main import main


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def pipeline(here):
    """Write a pipeline into ./pipelines_yaml; returns its file."""

    def write(text):
        folder = here / "pipelines_yaml"
        folder.mkdir(exist_ok=True)
        file = folder / f"{text.split('name:', 1)[1].split()[0]}.yaml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


@pytest.fixture
def elexirion_here(capfd, monkeypatch):
    """Run the command inside this process: exit code, standard output, standard error."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["elexirion", *map(str, words)])
        with pytest.raises(SystemExit) as exit_:
            main()
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return exit_.value.code, out, err

    return run
