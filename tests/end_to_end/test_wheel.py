"""The wheel holds everything that a run needs, and works where nothing else of ours is."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory, clean_environ: dict[str, str]) -> Path:
    """The built wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    words = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([sys.executable, *words, "-w", folder, REPOSITORY], check=True, cwd=folder, env=clean_environ)
    (found,) = folder.glob("elexirion-*.whl")
    return found


def test_everything_a_run_reads_is_inside(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "elexirion_dagster/pipelines_yaml/nightly_scan.yaml",
        "elexirion_dagster/reports/report.html.j2",
        "elexirion_dagster/codebase/analyzers/rules/sgconfig.yml",
        "elexirion_dagster/pipelines_yaml/security_review.yaml",
        "elexirion_dagster/pipelines_yaml/otp_audit.yaml",
        "elexirion_dagster/codebase/analyzers/rules/languages/javascript.yml",
        "elexirion_dagster/codebase/analyzers/rules/otp/servers.yml",
        "elexirion_dagster/providers/prices.json",
        "elexirion_dagster/rehearsal/tour.yaml",
        "elexirion_dagster/rehearsal/tour_script.yaml",
        "optimizer_assets/definitions.py",
    } <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


def test_it_scans_from_an_empty_folder(wheel, tmp_path, clean_environ):
    unpacked, empty = tmp_path / "unpacked", tmp_path / "empty"
    zipfile.ZipFile(wheel).extractall(unpacked)
    empty.mkdir()
    environ = {**clean_environ, "PYTHONPATH": str(unpacked), "ELEXIRION_HOME": str(tmp_path / "home")}

    def elexirion(*words: str) -> object:
        command = [sys.executable, "-m", "elexirion_dagster.cli.main", *words]
        done = subprocess.run(command, cwd=empty, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    rows = {row["name"]: row for row in elexirion("list", "--json")}
    assert Path(rows["nightly_scan"]["file"]).is_relative_to(unpacked)
    assert elexirion("scan", "--json")["outputs"]["files"] == 0
