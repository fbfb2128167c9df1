import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_eight_processes_on_one_daily_budget_use_all_of_it_and_never_more(environ):
    """`just soak` does it with fifty."""
    command = [sys.executable, "-m", "benchmarks.soak.budget_race", "8"]
    race = subprocess.run(
        command, env=environ, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False
    )
    assert race.returncode == 0, race.stdout + race.stderr
    assert "8 processes wanted 80 calls" in race.stdout
    assert "the server got 40 calls" in race.stdout
