import os
import sys
from contextlib import closing

import psutil
import pytest

from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.execution.told import told


def saying(code, tmp_path):
    return told([sys.executable, "-c", code], environment=os.environ, cwd=tmp_path)


def test_it_hands_on_json_objects_as_they_come_and_passes_over_the_rest(tmp_path):
    code = "import json\nprint('noise')\nprint(json.dumps({'a': 1}))\nprint('[1]')\nprint(json.dumps({'b': 2}))"
    assert list(saying(code, tmp_path)) == [{"a": 1}, {"b": 2}]


def test_a_program_that_dies_without_a_word_fails_with_what_it_wrote_on_standard_error(tmp_path):
    with pytest.raises(ElexirionError, match="exit code 7") as failed:
        list(saying("import sys\nprint('{\"a\": 1}')\nsys.stderr.write('out of luck')\nsys.exit(7)", tmp_path))
    assert failed.value.cause == "worker_lost"
    assert "out of luck" in failed.value.message


def test_one_that_told_its_error_is_believed(tmp_path):
    assert list(saying('import sys\nprint(\'{"error": "no"}\')\nsys.exit(1)', tmp_path)) == [{"error": "no"}]


def test_leaving_the_loop_ends_the_program(tmp_path):
    code = "import json, os, time\nprint(json.dumps({'pid': os.getpid()}), flush=True)\ntime.sleep(600)"
    with closing(saying(code, tmp_path)) as lines:
        pid = next(lines)["pid"]
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid)
