import dagster as dg
import pytest

from elexirion_dagster.operations.instance import init
from elexirion_dagster.operations.launch import execute
from elexirion_dagster.settings import Settings


@pytest.fixture
def settings(home_path, environ):
    return Settings.from_env({**environ, "ELEXIRION_HOME": str(home_path)})


@pytest.fixture
def instance(settings):
    with dg.DagsterInstance.from_config(str(init(settings).home.dagster)) as instance:
        yield instance


@pytest.fixture
def finished(tmp_path, settings):
    """Run a pipeline's text in this process, as the command line does."""

    def run(text, /, *, run_id="0a0a0a0a-0000-4000-8000-000000000001", tags=None, **inputs):
        name = text.split("name:", 1)[1].split()[0]
        file = tmp_path / f"{name}.yaml"
        file.write_text(text, encoding="utf-8")
        return execute(file, inputs, run_id=run_id, tags=tags or {}, settings=settings)

    return run
