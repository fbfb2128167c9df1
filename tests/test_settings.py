from pathlib import Path

import pytest
from pydantic import SecretStr

from elexirion_dagster.errors import InputError
from elexirion_dagster.settings import Settings

KEY = "shaped like nothing"


class More(Settings):
    """Our settings with the key of one more provider."""

    newco_api_key: SecretStr | None = None


def test_variables_are_read_by_their_names():
    settings = Settings.from_env(
        {
            "ELEXIRION_HOME": "~/there",
            "ELEXIRION_MODEL": "fake",
            "ANTHROPIC_API_KEY": "not-a-key",
            "ELEXIRION_GEMINI_BASE_URL": "http://127.0.0.1:9",
            "ELEXIRION_GEMINI_MODEL": "gemini-3.5-flash",
            "ELEXIRION_MAX_THREADS": "7",
            "ELEXIRION_BUDGET_USD_PER_DAY": "2.5",
        }
    )
    assert settings.home == Path("~/there").expanduser()
    assert (settings.model, settings.max_threads, settings.budget_usd_per_day) == ("fake", 7, 2.5)
    assert settings.anthropic_api_key.get_secret_value() == "not-a-key"
    assert (settings.gemini_base_url, settings.gemini_model) == ("http://127.0.0.1:9", "gemini-3.5-flash")


@pytest.mark.parametrize(
    ("environ", "key"),
    [
        ({"GEMINI_API_KEY": "a"}, "a"),
        ({"GOOGLE_API_KEY": "b"}, "b"),
        ({"GEMINI_API_KEY": "a", "GOOGLE_API_KEY": "b"}, "b"),
        ({"GEMINI_API_KEY": "a", "GOOGLE_API_KEY": ""}, "a"),
    ],
)
def test_googles_key_is_read_in_the_order_of_googles_sdk(environ, key):
    assert Settings.from_env(environ).gemini_api_key.get_secret_value() == key


def test_an_empty_variable_counts_as_unset():
    settings = Settings.from_env({"ELEXIRION_MODEL": "", "ANTHROPIC_API_KEY": ""})
    assert (settings.model, settings.anthropic_api_key) == (None, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ELEXIRION_MAX_THREADS", "many"),
        ("ELEXIRION_MAX_THREADS", "0"),
        ("ELEXIRION_BUDGET_USD_PER_DAY", "-1"),
        ("ELEXIRION_LOG_LEVEL", "LOUD"),
    ],
)
def test_an_unusable_value_is_refused_by_the_variable_s_name(name, value):
    with pytest.raises(InputError, match=f"{name}='{value}' cannot be used") as caught:
        Settings.from_env({name: value})
    assert name in caught.value.mend


def test_a_key_is_never_shown():
    settings = Settings.from_env(
        {"ANTHROPIC_API_KEY": "not-a-key", "GEMINI_API_KEY": "not-a-key", "OTHER_TOKEN": "abcdefgh"}
    )
    assert "not-a-key" not in repr(settings)
    assert "abcdefgh" not in repr(settings)
    assert "not-a-key" not in str(settings.model_dump(exclude={"environ"}))


@pytest.mark.parametrize("field", More.secret_fields())
def test_every_key_is_among_the_secrets(field):
    assert More(**{field: KEY}).secrets() == [KEY]


def test_every_field_that_is_named_like_a_key_is_of_the_type_that_is_not_shown():
    named = {name for name in Settings.model_fields if name.endswith(("_key", "_token", "_secret", "_password"))}
    assert named == set(Settings.secret_fields())


@pytest.mark.parametrize("word", ["ollama", "EMPTY", "none", "not-needed", "lm-studio"])
def test_a_word_that_stands_in_for_a_key_is_no_secret(word):
    assert Settings(local_api_key=word).secrets() == []


@pytest.mark.parametrize("field", [name for name in Settings.model_fields if name.endswith("_base_url")])
@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("https://me:pa55%2Fword@proxy.example.org/v1", {"pa55%2Fword", "pa55/word"}),
        ("https://abcdefgh@proxy.example.org/v1", {"abcdefgh"}),
        ("https://proxy.example.org/v1?api_key=abc&model=x", {"abc"}),
        ("http://127.0.0.1:11434/v1", set()),
        ("http://[::1/v1", set()),
    ],
)
def test_what_is_secret_inside_a_base_url_is_among_the_secrets(field, url, secrets):
    assert set(Settings(**{field: url}).secrets()) == secrets


@pytest.mark.parametrize(
    ("alert", "secrets"),
    [
        (
            "https://hooks.example.org/services/T000/a-long-part-of-the-path",
            {"https://hooks.example.org/services/T000/a-long-part-of-the-path", "a-long-part-of-the-path"},
        ),
        ("https://example.org/x?token=abc", {"https://example.org/x?token=abc", "abc"}),
        ("http://127.0.0.1:9", set()),
        ("notify-send Elexirion", set()),
        ("post --token abc --password=hunter2 --title news", {"abc", "hunter2"}),
        ("curl -H 'X-Api-Key: abc' --data @-", {"abc"}),
        ("curl -d @- https://me:pa55word@example.org/x", {"pa55word"}),
    ],
)
def test_what_is_secret_of_an_alert_is_among_the_secrets(alert, secrets):
    assert set(Settings(alert=alert).secrets()) == secrets


@pytest.mark.parametrize(
    ("name", "value", "secrets"),
    [
        *((name, "abcd", ["abcd"]) for name in ("DB_PASSWORD", "SERVICE_TOKEN", "x_api_key", "DB_PWD", "SENTRY_DSN")),
        *((name, "abcd", ["abcd"]) for name in ("HTTP_AUTHORIZATION", "BASIC_AUTH", "SLACK_WEBHOOK", "GH_PAT")),
        *((name, "abcd", []) for name in ("PWD", "OLDPWD", "HOME", "GIT_AUTHOR_NAME", "BRANCH")),
        ("SERVICE_URL", "https://me:pa55@example.org/x?sig=abc", ["pa55", "abc"]),
    ],
)
def test_variables_under_env_are_secret_by_their_name_or_their_url(name, value, secrets):
    settings = Settings(environ={name: value, "OTHER_TOKEN": "not listed"})
    assert settings.secrets([name], ["MISSING"]) == secrets
    assert settings.secrets() == []


def test_a_refused_alert_is_not_shown():
    with pytest.raises(InputError, match="ELEXIRION_ALERT cannot be used") as caught:
        Settings.from_env({"ELEXIRION_ALERT": "'https://hooks.example.org/services/secret"})
    assert "hooks.example.org" not in str(caught.value)


def test_hosts_are_names_and_ports_are_ignored():
    assert Settings.from_env({"ELEXIRION_HOSTS": "AI.example.com., box.lan:8080,[::1]:3000,"}).hosts == (
        "ai.example.com",
        "box.lan",
        "::1",
    )


@pytest.mark.parametrize("given", ["*", "*.example.com", "https://ai.example.com", "a b", "a/b", "user@a"])
def test_what_is_no_host_is_named(given):
    with pytest.raises(InputError, match="ELEXIRION_HOSTS"):
        Settings.from_env({"ELEXIRION_HOSTS": given})
