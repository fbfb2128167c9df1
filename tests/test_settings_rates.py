from pathlib import Path

import pytest

from elexirion_dagster.errors import InputError
from elexirion_dagster.settings import Rate, Settings


def test_rates_are_read_per_provider_and_model():
    text = " anthropic=50slots ; anthropic/claude-sonnet-5-5=1200rpm,600tpm; local/a=b=2.5rps;"
    assert Settings.from_env({"ELEXIRION_RATES": text}).rates == {
        "anthropic": Rate(slots=50),
        "anthropic/claude-sonnet-5-5": Rate(requests_per_s=20, tokens_per_s=10),
        "local/a=b": Rate(requests_per_s=2.5),
    }


@pytest.mark.parametrize(
    "text",
    ["20rps", "local", "local=", "local=20", "local=0rps", "local=-1rps", "local=1.5slots", "local=1rps;local=2rps"],
)
def test_rates_that_mean_nothing_are_refused_with_the_variable_and_what_was_expected(text):
    with pytest.raises(InputError, match=r"ELEXIRION_RATES=.* expected") as refused:
        Settings.from_env({"ELEXIRION_RATES": text})
    assert "ELEXIRION_RATES" in refused.value.mend


def test_the_file_of_own_prices_is_named():
    assert Settings.from_env({"ELEXIRION_PRICES": "~/p.json"}).prices == Path("~/p.json")
