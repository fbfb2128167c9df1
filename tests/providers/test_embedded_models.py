import importlib.util

import pytest

from elexirion_dagster.errors import InputError
from elexirion_dagster.providers.catalog import ModelRef, configured, resolve
from elexirion_dagster.settings import Settings

EXTRA = importlib.util.find_spec("xllamacpp") is not None
needs_extra = pytest.mark.skipif(not EXTRA, reason="the extra `embedded` (xllamacpp) is not installed")


@needs_extra
def test_the_name_alone_means_the_configured_model():
    assert resolve("embedded", Settings()) == (ModelRef("embedded", "smollm2-135m"),)
    chosen = Settings.from_env({"ELEXIRION_EMBEDDED_MODEL": "/models/big.gguf"})
    assert resolve("embedded", chosen) == (ModelRef("embedded", "/models/big.gguf"),)
    assert resolve("embedded//models/big.gguf", Settings()) == resolve("embedded", chosen)


def test_auto_never_takes_it(home_path):
    assert resolve("auto", Settings(home=home_path)) == ()


def test_without_the_extra_the_mend_names_it():
    row = next(row for row in configured(Settings()) if row[0] == "embedded")
    assert row[1] is EXTRA
    assert "elexirion[embedded]" in row[2]
    if not EXTRA:
        with pytest.raises(InputError, match="not configured"):
            resolve("embedded", Settings())
