import json

import pytest

from elexirion_dagster.configuration import check_calls, check_settings, faults
from elexirion_dagster.errors import InputError
from elexirion_dagster.settings import Settings

PRICE = {"input": 1, "output": 2, "cache_read": 0.1, "cache_write": 1, "context_window": 1000, "max_output": 10}
KEY = {"ANTHROPIC_API_KEY": "no-key"}


@pytest.fixture
def found(home_path):
    def look(**environ):
        return faults(Settings.from_env({"ELEXIRION_HOME": str(home_path), **environ}))

    return look


@pytest.fixture
def prices(tmp_path):
    def write(content):
        file = tmp_path / "prices.json"
        file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return str(file)

    return write


def test_without_anything_set_nothing_is_wrong(found):
    assert found() == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "has no object 'models'"),
        ({"local/x": PRICE}, "has no object 'models'"),
        ({"models": []}, "has no object 'models'"),
        ({"models": {"local/x": {"input": 1}}}, "'local/x' in .*'output' is missing"),
        ({"models": {"local/x": None}}, "'local/x' in .*object of numbers"),
        ({"models": {"local/x": {**PRICE, "input": "dear"}}}, "'local/x' in .*dear"),
        ({"models": {"local/x": {**PRICE, "input": -1}}}, "'local/x' in .*at least 0"),
        ({"models": {"local/x": {**PRICE, "context_window": 0}}}, "'local/x' in .*number of tokens"),
        ({"models": {"x": PRICE}}, "'x' in .*provider/model"),
    ],
)
def test_a_wrong_file_of_prices_is_named_with_its_model_and_a_right_one_shown(found, prices, content, said):
    (fault,) = found(ELEXIRION_PRICES=prices(content))
    assert fault.variable == "ELEXIRION_PRICES"
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(fault.message)
    assert '"models"' in fault.mend


def test_a_file_of_prices_that_is_not_there_is_named(found, tmp_path):
    (fault,) = found(ELEXIRION_PRICES=str(tmp_path / "nope.json"))
    assert "nope.json cannot be read" in fault.message


@pytest.mark.parametrize(
    ("environ", "mend"),
    [
        ({"ELEXIRION_RATES": "antropic=5rps"}, "'anthropic'"),
        ({"ELEXIRION_MODEL": "claude"}, "provider/model"),
        ({"ELEXIRION_MODEL": "anthropic"}, "ANTHROPIC_API_KEY"),
        ({"ELEXIRION_MODEL": "gemini/x"}, "GEMINI_API_KEY"),
        ({"ELEXIRION_EMBEDDED_MODEL": "/no/such.gguf"}, "models pull"),
        ({"ELEXIRION_ALERT": "/no/such/program --now"}, "executable"),
        ({"ELEXIRION_ALERT": "https:///hook"}, "https://"),
        ({"ANTHROPIC_BASE_URL": "localhost"}, "http://"),
        ({"ELEXIRION_GEMINI_BASE_URL": "ftp://host"}, "http://"),
        ({"ELEXIRION_LOCAL_URL": "http://[bad"}, "http://"),
        (KEY | {"ELEXIRION_BUDGET_USD_PER_DAY": "5", "ELEXIRION_ANTHROPIC_MODEL": "new"}, "ELEXIRION_PRICES"),
    ],
)
def test_every_wrong_setting_is_named_with_how_to_fix_it(found, environ, mend):
    (fault,) = found(**environ)
    assert fault.variable == [name for name in environ if name != "ELEXIRION_ANTHROPIC_MODEL"][-1]
    assert mend in fault.mend


def test_right_settings_are_right(found, prices, tmp_path):
    assert not found(
        **KEY,
        ELEXIRION_PRICES=prices({"models": {"local/x": PRICE}}),
        ELEXIRION_RATES="anthropic=50slots; anthropic/claude-sonnet-5-5=1200rpm",
        ELEXIRION_MODEL="anthropic/claude-sonnet-5-5",
        ELEXIRION_ALERT="sh -c true",
        ELEXIRION_LOCAL_URL="http://127.0.0.1:11434/v1",
        ELEXIRION_BUDGET_USD_PER_DAY="5",
        ELEXIRION_PIPELINES=str(tmp_path),
    )


def test_a_budget_in_dollars_is_content_with_a_price_of_ones_own(found, prices):
    own = prices({"models": {"anthropic/new": PRICE}})
    environ = {"ELEXIRION_BUDGET_USD_PER_DAY": "5", "ELEXIRION_ANTHROPIC_MODEL": "new", "ELEXIRION_PRICES": own}
    assert found(**KEY, **environ) == []


def test_a_folder_of_pipelines_that_was_removed_is_named(tmp_path, home_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    settings = Settings.from_env({"ELEXIRION_HOME": str(home_path), "ELEXIRION_PIPELINES": str(folder)})
    folder.rmdir()
    assert [fault.variable for fault in faults(settings)] == ["ELEXIRION_PIPELINES"]


def test_all_faults_are_told_at_once(home_path, prices):
    environ = {"ELEXIRION_PRICES": prices("[]"), "ELEXIRION_RATES": "nobody=1rps", "ELEXIRION_ALERT": "/no/such"}
    settings = Settings.from_env({"ELEXIRION_HOME": str(home_path), **environ})
    with pytest.raises(InputError) as refused:
        check_settings(settings)
    assert all(name in refused.value.message for name in environ)
    with pytest.raises(InputError, match="ELEXIRION_PRICES"):
        check_calls(settings)
