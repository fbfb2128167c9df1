from pathlib import Path

import pytest

from elexirion_dagster.errors import InputError
from elexirion_dagster.settings import Settings


def test_variables_are_read_by_their_names():
    settings = Settings.from_env(
        {
            "ELEXIRION_HOME": "~/there",
            "ELEXIRION_MODEL": "fake",
            "ANTHROPIC_API_KEY": "not-a-key",
            "ELEXIRION_MAX_THREADS": "7",
            "ELEXIRION_BUDGET_USD_PER_DAY": "2.5",
        }
    )
    assert settings.home == Path("~/there").expanduser()
    assert (settings.model, settings.max_threads, settings.budget_usd_per_day) == ("fake", 7, 2.5)
    assert settings.anthropic_api_key.get_secret_value() == "not-a-key"


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
    settings = Settings.from_env({"ANTHROPIC_API_KEY": "not-a-key", "OTHER_TOKEN": "abcdefgh"})
    assert "not-a-key" not in repr(settings)
    assert "abcdefgh" not in repr(settings)
    assert "not-a-key" not in str(settings.model_dump(exclude={"environ"}))
