"""Choosing one isolation for a test, as if the machine had no better one."""

import pytest

from elexirion_dagster.sandbox import isolation, landlock_rules
from elexirion_dagster.sandbox.isolation import Isolation

KINDS = ("bubblewrap", "landlock")


def choose(kind: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Use this isolation from now on; the test is skipped where the machine cannot do it."""
    if kind == "bubblewrap" and isolation.available().kind != "bubblewrap":
        pytest.skip(isolation.available().detail)
    if kind == "landlock" and not landlock_rules.version():
        pytest.skip("this kernel has no Landlock")
    found = Isolation(kind, "chosen by the test", isolation.available().program)
    monkeypatch.setattr(isolation, "available", lambda: found)
    return kind
