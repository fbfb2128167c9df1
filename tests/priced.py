"""A provider that bills, and runs that ask it."""

from elexirion_dagster.providers.fake import FakeProvider

ASK = "model: fake\nretry: {max_attempts: 3, initial_s: 0}\nsteps: [{name: ask, type: llm, prompt: go}]"


PRICED = "model: anthropic/claude-sonnet-4-5\n%ssteps: [{name: ask, type: llm, prompt: go, max_tokens: 1000}]"


WITH_KEY = {"model": None, "anthropic_api_key": "not-a-key"}


class Priced(FakeProvider):
    """Bills like Anthropic's models."""

    name = "anthropic"


def priced(start, budget, rules=(), text=PRICED, **options):
    fake = Priced(rules)
    rehearsed = start(text % budget, settings=WITH_KEY, opened={"anthropic": fake}, **options)
    return rehearsed, fake
