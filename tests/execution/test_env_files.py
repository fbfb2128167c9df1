"""What we need of Dagster: one function of `dagster._cli.utils` reads the files."""

import subprocess
import sys

import pytest

LOOK = """
import os
from dagster._cli.utils import get_instance_for_cli
{before}
with get_instance_for_cli():
    print(os.environ["ANTHROPIC_BASE_URL"])
"""


@pytest.fixture
def address(environ, tmp_path):
    """The address that a process of Dagster's sees, in a folder whose `.env` has another one."""
    (tmp_path / ".env").write_text("ANTHROPIC_BASE_URL=http://127.0.0.1:1/elsewhere\n")
    (tmp_path / "dagster").mkdir()
    env = {**environ, "DAGSTER_HOME": str(tmp_path / "dagster"), "ANTHROPIC_BASE_URL": "http://127.0.0.1:1/mine"}

    def look(before):
        words = [sys.executable, "-P", "-c", LOOK.format(before=before)]
        done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    return look


def test_a_file_in_the_current_folder_sets_nothing(address):
    ours = "from elexirion_dagster.execution.env_files import ignore_env_files\nignore_env_files()"
    assert address(ours) == "http://127.0.0.1:1/mine"


def test_dagster_by_itself_takes_what_the_file_says(address):
    assert address("") == "http://127.0.0.1:1/elsewhere"
