import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import pytest
from pydantic import SecretStr
from real_model import EXTRA

from elexirion_dagster.errors import InputError
from elexirion_dagster.providers.catalog import ModelRef, Providers, configured, parse_model, resolve
from elexirion_dagster.providers.fake import FakeProvider
from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer
from elexirion_dagster.settings import Settings

NONE = Settings()
KEYED = Settings(anthropic_api_key=SecretStr("sk-test"), anthropic_model="claude-opus-4-5")
LOCAL = Settings(local_base_url="http://127.0.0.1:9/v1", local_model="qwen")
GOOGLE = Settings(gemini_api_key=SecretStr("sk-test"))
EMBEDDED = find_spec("xllamacpp") is not None
LEGACY = find_spec("google.generativeai") is not None
BOTH = Settings(**{**KEYED.model_dump(), "local_base_url": "http://127.0.0.1:9/v1", "local_model": "qwen"})


def test_a_model_is_a_provider_and_a_name_that_may_hold_slashes():
    assert parse_model("local/org/qwen:7b") == ModelRef("local", "org/qwen:7b")
    assert str(parse_model("anthropic/claude-opus-4-5")) == "anthropic/claude-opus-4-5"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("antropic/claude", "Did you mean 'anthropic'"),
        ("Locale/qwen", "Did you mean 'local'"),
        ("claude-opus-4-5", "provider/model"),
        ("anthropic/", "anthropic/claude"),
        ("zzz/model", "anthropic, gemini, gemini-legacy, local, embedded, fake"),
    ],
)
def test_a_name_nobody_knows_is_refused_with_what_is_near(name, said):
    with pytest.raises(InputError) as caught:
        parse_model(name)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (NONE, ()),
        (KEYED, ("anthropic/claude-opus-4-5",)),
        (LOCAL, ("local/qwen",)),
        (GOOGLE, ("gemini/gemini-2.5-flash",)),
        (BOTH.model_copy(update={"gemini_api_key": SecretStr("sk-test")}), ("anthropic/claude-opus-4-5",)),
        (LOCAL.model_copy(update={"gemini_api_key": SecretStr("sk-test")}), ("gemini/gemini-2.5-flash",)),
        (BOTH, ("anthropic/claude-opus-4-5",)),
        (BOTH.model_copy(update={"model": "local"}), ("local/qwen",)),
        (NONE.model_copy(update={"model": "fake/x"}), ("fake/x",)),
        (KEYED.model_copy(update={"model": "auto"}), ("anthropic/claude-opus-4-5",)),
    ],
)
def test_auto_is_the_users_choice_or_the_first_that_is_configured(settings, expected):
    assert tuple(map(str, resolve("auto", settings))) == expected


def test_a_list_is_a_failover_order_without_repeats():
    names = ["local", "anthropic/claude-haiku-4-5", "auto", "local/qwen"]
    assert list(map(str, resolve(names, BOTH))) == [
        "local/qwen",
        "anthropic/claude-haiku-4-5",
        "anthropic/claude-opus-4-5",
    ]


@pytest.mark.parametrize("name", ["anthropic", "anthropic/claude-opus-4-5", ["fake", "local/x"]])
def test_a_provider_without_key_or_url_is_refused_with_what_to_set(name):
    with pytest.raises(InputError) as caught:
        resolve(name, NONE)
    assert "is not configured" in str(caught.value)
    assert ("ANTHROPIC_API_KEY" in str(caught.value)) or ("ELEXIRION_LOCAL_URL" in str(caught.value))


def test_plain_local_takes_the_servers_first_model():
    with RehearsalServer(Script(models=("llama", "qwen"))) as server:
        settings = Settings(local_base_url=f"{server.base_url}/v1")
        assert resolve("local", settings) == (ModelRef("local", "llama"),)


def test_every_provider_says_whether_it_is_configured_and_how_to_mend_it():
    assert [(name, ok) for name, ok, _ in configured(LOCAL)] == [
        ("anthropic", False),
        ("gemini", False),
        ("gemini-legacy", False),
        ("local", True),
        ("embedded", EMBEDDED),
        ("fake", True),
    ]
    ready = [name for name, ok, _ in configured(GOOGLE) if ok]
    assert ready == ["gemini", *["gemini-legacy"] * LEGACY, *["embedded"] * EMBEDDED, "fake"]
    assert all(mend for _, _, mend in configured(NONE))


def test_each_provider_is_opened_once_for_all_threads():
    providers = Providers(BOTH)
    start = threading.Barrier(16)

    def opened(_):
        start.wait()
        return providers.open("anthropic")

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(opened, range(16)))) == 1
    providers.close()


def test_every_configured_provider_opens_under_its_own_name():
    everything = BOTH.model_copy(update={"gemini_api_key": SecretStr("sk-test")})
    providers = Providers(everything)
    names = [name for name, ok, _ in configured(everything) if ok]
    missing = {name for name, there in (("gemini-legacy", LEGACY), ("embedded", EXTRA)) if not there}
    assert {*names} == {name for name, _, _ in configured(everything)} - missing
    for name in names:
        assert providers.open(name).name == name
    providers.close()


def test_the_older_sdk_is_named_when_it_is_absent():
    mends = {name: mend for name, _, mend in configured(GOOGLE)}
    assert "elexirion[gemini-legacy]" in mends["gemini-legacy"]


def test_a_provider_that_is_handed_in_goes_before_the_catalogue():
    fake = FakeProvider()
    assert Providers(NONE, {"anthropic": fake}).open("anthropic") is fake


def test_an_unconfigured_provider_does_not_open():
    with pytest.raises(InputError, match="ANTHROPIC_API_KEY"):
        Providers(NONE).open("anthropic")


def test_closing_closes_what_was_opened_and_twice_is_harmless():
    class Closing(FakeProvider):
        closed = 0

        def close(self):
            self.closed += 1

    provider = Closing()
    providers = Providers(NONE, {"fake": provider})
    providers.close()
    providers.close()
    assert provider.closed == 1
