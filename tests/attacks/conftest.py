"""Attacks are tried under every isolation that this machine can do."""

import pytest
from isolations import KINDS, choose


@pytest.fixture(params=KINDS)
def isolated(request, monkeypatch):
    """One isolation."""
    return choose(request.param, monkeypatch)
