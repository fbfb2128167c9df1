"""What is wrong with the settings, found before a run fails because of it."""

import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import urlsplit

from elexirion_dagster.alerts import is_webhook
from elexirion_dagster.errors import ElexirionError, InputError
from elexirion_dagster.providers.catalog import check_model, check_provider, preferred
from elexirion_dagster.providers.embedded_models import model_file, models_folder
from elexirion_dagster.providers.pricing import cost_usd, own_prices
from elexirion_dagster.records import Usage
from elexirion_dagster.settings import Settings

_ADDRESSES = {
    "anthropic_base_url": "ANTHROPIC_BASE_URL",
    "gemini_base_url": "ELEXIRION_GEMINI_BASE_URL",
    "local_base_url": "ELEXIRION_LOCAL_URL",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One setting that cannot be used: its variable, what is wrong, how to fix it."""

    variable: str
    message: str
    mend: str | None

    @property
    def why(self) -> str:
        """What is wrong and how to fix it, in one line."""
        return f"{self.message}. {self.mend}" if self.mend else self.message


def faults(settings: Settings) -> list[Fault]:
    """Every setting that cannot be used, looked at without network."""
    checks: dict[str, Callable[[Settings], None]] = {
        **_OF_CALLS,
        "ELEXIRION_MODEL": lambda given: check_model(given.model, given) if given.model else None,
        "ELEXIRION_EMBEDDED_MODEL": _check_embedded,
        "ELEXIRION_PIPELINES": _check_pipelines,
        "ELEXIRION_ALERT": _check_alert,
        "ELEXIRION_BUDGET_USD_PER_DAY": _check_budget,
    }
    return [
        *(fault for variable, check in checks.items() for fault in _fault(variable, check, settings)),
        *_addresses(settings),
    ]


def check_calls(settings: Settings) -> None:
    """Raise InputError for what would make every run fail: the file of prices, the names among the rates."""
    for variable, check in _OF_CALLS.items():
        for fault in _fault(variable, check, settings):
            raise InputError(f"{variable}: {fault.message}", mend=fault.mend)


def check_settings(settings: Settings) -> None:
    """Raise InputError that names every setting which cannot be used."""
    if found := faults(settings):
        lines = [f"{fault.variable}: {fault.message}\n  {fault.mend or ''}".rstrip() for fault in found]
        raise InputError("\n".join(lines), mend="Nothing was started.")


def _fault(variable: str, check: Callable[[Settings], None], settings: Settings) -> Iterator[Fault]:
    try:
        check(settings)
    except ElexirionError as error:
        yield Fault(variable, error.message, error.mend)


def _check_prices(settings: Settings) -> None:
    own_prices(settings.prices)


def _check_rates(settings: Settings) -> None:
    for limited in settings.rates:
        check_provider(limited.partition("/")[0])


def _check_embedded(settings: Settings) -> None:
    if "embedded_model" in settings.model_fields_set:
        model_file(settings.embedded_model, models_folder(settings.home))


def _check_pipelines(settings: Settings) -> None:
    if settings.pipelines is not None and not settings.pipelines.is_dir():
        raise InputError(
            f"{str(settings.pipelines)!r} is not a folder", mend="Name a folder of pipelines, or unset it."
        )


def _check_alert(settings: Settings) -> None:
    if settings.alert is None:
        return
    if is_webhook(settings.alert):
        if not _is_address(settings.alert):
            raise InputError("the webhook's address has no host", mend="Write it like https://example.org/hook.")
        return
    program = shlex.split(settings.alert)[0]
    if shutil.which(program) is None:
        raise InputError(f"the command {program!r} does not exist", mend="Name an executable file, or a URL.")


def _check_budget(settings: Settings) -> None:
    """A ceiling in dollars refuses models whose price is not known; `model: auto` must not lead to one."""
    model = None if settings.budget_usd_per_day is None else preferred(settings)
    if model and cost_usd(model.provider, model.model, Usage(), own_prices(settings.prices)) is None:
        raise InputError(
            f"a budget in dollars needs the price of every model, and that of {model} is not known",
            mend="Put its price into a file and name that in ELEXIRION_PRICES, or set ELEXIRION_BUDGET_TOKENS_PER_DAY.",
        )


def _addresses(settings: Settings) -> Iterator[Fault]:
    for name, variable in _ADDRESSES.items():
        address = getattr(settings, name)
        if address is not None and not _is_address(address):
            yield Fault(variable, f"{address!r} is not an HTTP address", "Write it like http://127.0.0.1:8080.")


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


_OF_CALLS: Mapping[str, Callable[[Settings], None]] = MappingProxyType(
    {"ELEXIRION_PRICES": _check_prices, "ELEXIRION_RATES": _check_rates}
)
