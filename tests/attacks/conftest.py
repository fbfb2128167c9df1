"""Attacks are tried under every isolation that this machine can do."""

import pytest

from elexirion_dagster.sandbox import bubblewrap, isolation, landlock_rules
from elexirion_dagster.sandbox.isolation import Isolation


@pytest.fixture(params=["bubblewrap", "landlock"])
def isolated(request, monkeypatch):
    """One isolation, as if the machine had no better one; skipped where it has not even that."""
    program = bubblewrap.find() or ""
    if request.param == "bubblewrap" and isolation.available().kind != "bubblewrap":
        pytest.skip(isolation.available().detail)
    if request.param == "landlock" and not landlock_rules.version():
        pytest.skip("this kernel has no Landlock")
    monkeypatch.setattr(isolation, "available", lambda: Isolation(request.param, "chosen by the test", program))
    return request.param
