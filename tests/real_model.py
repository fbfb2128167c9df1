"""The model that runs inside this process, for the tests that can use it; they say so where it is missing."""

import importlib.util
import os
from pathlib import Path

import platformdirs
import pytest

CACHED = platformdirs.user_cache_path("elexirion") / "tests" / "cache" / "models" / "smollm2-135m.gguf"
GGUF = Path(os.environ.get("ELEXIRION_TEST_GGUF") or CACHED)
EXTRA = importlib.util.find_spec("xllamacpp") is not None
MODEL_MISSING = f"needs xllamacpp and a model at {GGUF}, or named by ELEXIRION_TEST_GGUF"
HAS_MODEL = EXTRA and GGUF.is_file()
needs_extra = pytest.mark.skipif(not EXTRA, reason="the extra `embedded` (xllamacpp) is not installed")
needs_model = pytest.mark.skipif(not HAS_MODEL, reason=MODEL_MISSING)
ENDLESS = "Count: one, two, three,"
"""What the model answers for as long as it may."""
