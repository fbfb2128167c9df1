import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_a_run_killed_after_any_journal_line_and_resumed_pays_each_call_once(environ):
    """`just soak` does it with twenty calls and a hundred random moments."""
    command = [sys.executable, "-m", "benchmarks.soak.kill_matrix", "6", "10"]
    done = subprocess.run(
        command, env=environ, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines, calls, shown = re.search(
        r"(\d+) journal lines, .*: (\d+) calls each, (\d+) possibly paid", done.stdout
    ).groups()
    assert int(lines) >= 6 * 3
    assert (calls, shown) == ("6", "6")  # the six that were announced and never sent
