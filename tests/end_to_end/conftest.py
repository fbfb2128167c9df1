"""One web server with its daemon and code servers for the tests of a module."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import BREAKS, FALLS_BACK, MENDS, NAPS, SHADOWED, SLOW, STANDS_IN, WHERE, Ui, up

REPOSITORY = Path(__file__).parents[2]
SHADOWS = ("yaml", "jinja2", "tomllib", "duckdb", "dagster", "click", "anthropic", "elexirion_dagster", "uvicorn")
"""Modules that lie in the folder where `elexirion up` is started, and that nothing may import."""


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory, clean_environ: dict[str, str]) -> Iterator[Ui]:
    folder = tmp_path_factory.mktemp("up")
    pipelines = folder / "pipelines_yaml"
    pipelines.mkdir()
    for name, text in {
        "slow": SLOW,
        "breaks": BREAKS,
        "mends": MENDS,
        "naps": NAPS,
        "where": WHERE,
        "falls_back": FALLS_BACK,
        "stands_in": STANDS_IN,
        "torn": "[",
    }.items():
        (pipelines / f"{name}.yaml").write_text(text, encoding="utf-8")
    for name in SHADOWS:
        (folder / f"{name}.py").write_text(
            f"open({str(folder / SHADOWED)!r}, 'a').write('{name} ')\nraise ImportError\n"
        )
    (folder / ".env").write_text("WHERE=elsewhere\n")
    home = folder / "home"
    environ = {**clean_environ, "ELEXIRION_HOME": str(home), "PYTHONPATH": str(REPOSITORY), "WHERE": "here"}
    with up(folder, environ) as running:
        yield running


@pytest.fixture(scope="session")
def small_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git working tree with findings of several severities."""
    folder = tmp_path_factory.mktemp("work") / "shop"
    (folder / "shop").mkdir(parents=True)
    (folder / "shop" / "orders.py").write_text(
        "import pickle\nimport subprocess\n\n\ndef load(path):\n    return pickle.load(open(path, 'rb'))\n\n\n"
        "def export(name):\n    subprocess.call(f'tar cf {name}.tar {name}', shell=True)\n"
    )
    (folder / "shop" / "prices.py").write_text(
        "def total(prices=[]):\n    try:\n        return sum(prices)\n    except:\n        pass\n"
    )
    (folder / "shop" / "main.js").write_text("export function run(code) {\n  return eval(code);\n}\n")
    (folder / "broken.py").write_text("def (:\n")
    git = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], cwd=folder, check=True, env={**os.environ, "HOME": str(folder.parent)})
    return folder
