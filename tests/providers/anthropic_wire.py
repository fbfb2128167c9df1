"""What the tests of the Anthropic client send."""

import pytest

from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.records import Message, Request, TextBlock


def request(text="hello", **fields):
    return Request(**{"model": "claude-opus-4-5", "messages": (Message("user", (TextBlock(text),)),), **fields})


def failure(provider, **fields):
    with pytest.raises(ProviderError) as caught:
        provider.send(request(**fields), timeout_s=30)
    return caught.value
